"""A Hugging Face image-text-to-text model as a policy: one code path for all families to act, answer questions and be trained.

Shape suffixes: B batch, L tokens of a reply, J tokens of a reply with the fixed words of its thought, P tokens of a prompt, U tokens of the codec,
V vocabulary, N image tokens of a prompt, D width of the text model.

Sequences are never padded: a batch holds prompts of one length. When acting, batches are filled up to `policy.batch_size` rows, or to a smaller size
that gives the same bits (`policies.rows`): a decision must not depend on the other situations in its batch.
"""

import functools
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from policies import adapters, codec, families, files, loading
from policies.features import AT_A_TIME, FeatureCache
from policies.keys import PolicyConfig
from policies.last_layer import last_tokens
from policies.pixels import Pixels
from policies.policy import Decision, Situation
from policies.precision import autocast, check_device, frozen_dtype
from policies.prompts import Prompts
from policies.rows import Rows
from policies.sharing import can_share, reply_places, shared_inputs
from policies.trained import Trained, fingerprint, pick


class Vlm(Trained):
    """A policy that also answers questions about frames, in words or as probabilities of two answers.

    Args:
        config: the section `policy`.
        low, high: float[A], finite bounds of the environment's actions.
        counts: int[A], number of values of a discrete action, 0 where it is continuous; None: all are continuous.

    Raises:
        ValueError: the device does not exist, or the model cannot be loaded.
    """

    def __init__(self, config: PolicyConfig, low: np.ndarray, high: np.ndarray, counts: np.ndarray | None = None) -> None:
        self.config, self.chunk, self.temperature = config, config.chunk_size, config.temperature
        check_device("policy.device", config.device)
        self.processor, model = loading.load(config)
        self.family = families.family_of(model.config)
        tokenizer = self.processor.tokenizer
        thoughts = codec.numerals(tokenizer, config.codec)  # a thought may use all numbers, and actions only `num_bins` of the number tokens
        numerals = codec.bins(tokenizer, config.num_bins) if config.codec == "bins" else thoughts
        self.codec = codec.Codec(numerals, low, high, config.chunk_size, counts, config.thought.count(codec.NUMBER), thoughts, config.scale)
        self._fixed = codec.fixed_tokens(tokenizer, config.thought, self.codec)
        self.reply_length = self.codec.length
        # The first numbers of every weight tell one base model from another; hashing all of them would take long for large models.
        self.base_name = fingerprint({name: value.flatten()[:1000] for name, value in model.state_dict().items()})
        # Those first numbers stand in older runs. The second fingerprint has numbers from all over each weight; an odd step meets every column.
        spread = {name: value.flatten()[:: value.numel() // 1000 | 1] for name, value in model.state_dict().items()}
        self.base_parts = {"weights": fingerprint(spread), **files.digests(loading.source(config))}
        self.model: Any = self._halve_frozen(self._choose_trainable(model)).to(config.device).eval()
        self._image_encoder, self._pixel_keys = families.image_encoder(self.base)
        self.levels, self._levels_are_lists = 1, True  # the form in which the forward pass takes image tokens; `encode` sets it
        self._columns = torch.as_tensor(self.codec.vocabulary_U, device=config.device)  # column of the logits -> token id
        self._rows = Rows(config.batch_size)
        self._feature_cache = FeatureCache(self._encode, min(AT_A_TIME, config.batch_size))
        self.prompts = Prompts(config, self.processor, len(thoughts), self.family)
        self.pixels = Pixels(self.processor.image_processor, config.device, self.prompts.image_settings())
        self.name = fingerprint(self.weights())

    # --- acting ----------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def act(self, situations: Sequence[Situation], noise: np.ndarray | None) -> list[Decision]:
        """Decide for each situation; see `policies.policy.Policy`."""
        replies = self._in_batches(situations, noise, self.reply_length)
        return [Decision(self.codec.decode(tokens_L), tokens_L, logprobs_L) for tokens_L, logprobs_L in replies]

    @torch.inference_mode()
    def think(self, situations: Sequence[Situation]) -> list[np.ndarray]:
        """Return the greedy thought of each situation: the number tokens before the actions of a reply, int64[T x K]."""
        return [tokens for tokens, _ in self._in_batches(situations, None, self.codec.thought_length)]

    def _in_batches(self, situations: Sequence[Situation], noise: np.ndarray | None, length: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the first `length` tokens of a reply to each situation, and their log-probabilities."""
        replies: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for group in self.prompts.by_length(situations):
            prompt = self.prompts.of(situations[group[0]])["input_ids"].shape[1]
            for start in range(0, len(group), self.config.batch_size):
                index = group[start : start + self.config.batch_size]
                filled = index + [index[-1]] * (self.config.batch_size - len(index))  # the last row again; its copies are dropped
                compute = functools.partial(self._reply, [situations[i] for i in filled], None if noise is None else noise[filled], length)
                columns_BL, logprobs_BLU = self._rows.compute(compute, len(index), (prompt, length))
                logprobs_BL = logprobs_BLU.gather(-1, columns_BL[..., None])[..., 0].cpu().numpy()
                replies.update(zip(index, zip(self._columns[columns_BL].cpu().numpy(), logprobs_BL, strict=True), strict=False))
        return [replies[i] for i in range(len(situations))]

    def _reply(self, situations: list[Situation], noise: np.ndarray | None, length: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return replies to the first `size` situations, decoded with a KV cache.

        Returns:
            int64[size, length], the codec's columns of their tokens, and float32[size, length, U], log-probabilities of all tokens at each position.
        """
        prompts, features = [self.prompts.of(s) for s in situations[:size]], self.features([s.frames for s in situations[:size]])
        fixed = [self._columns.new_tensor(each).expand(size, -1) for each in self._fixed[:length]]
        out, unread_BJ = None, fixed[0]  # the words before the first number
        columns, distributions = [], []
        for j in range(length):
            allowed_BU = self.codec.allowed(self._columns[torch.stack(columns, dim=1)].cpu().numpy() if columns else np.empty((size, 0), np.int64))
            if not self.codec.forced(j):
                if out is None:
                    out = self._forward(self._inputs(prompts, features, unread_BJ), 1, use_cache=True)
                else:
                    out = self.model(input_ids=unread_BJ, past_key_values=out.past_key_values, use_cache=True, logits_to_keep=1)
                unread_BJ = unread_BJ[:, :0]
            # A forced token has probability 1 whatever the logits are. It is read with those behind it, in one pass.
            logits_BV = out.logits[:, -1] if out is not None else torch.zeros(size, int(self._columns.max()) + 1, device=self._columns.device)
            distributions.append(self._log_softmax(logits_BV, allowed_BU))
            sampled = j >= self.codec.thought_length or self.config.sample == "reply"  # else the thought is greedy
            columns.append(pick(distributions[-1], noise[:size, j] if noise is not None and sampled else None))
            if j + 1 < length:  # the chosen token, and the fixed words before the next one
                unread_BJ = torch.cat([unread_BJ, self._columns[columns[-1]][:, None], fixed[j + 1]], dim=1)
        return torch.stack(columns, dim=1), torch.stack(distributions, dim=1)

    def _log_softmax(self, logits_xV: torch.Tensor, allowed_xU: np.ndarray | None) -> torch.Tensor:
        """Return log-probabilities over the allowed tokens of the codec, at the sampling temperature; the leading shape stays."""
        logits_xU = logits_xV.index_select(-1, self._columns).float() / self.temperature
        if allowed_xU is not None:
            logits_xU = logits_xU.masked_fill(~torch.as_tensor(allowed_xU, device=logits_xU.device), -torch.inf)
        return logits_xU.log_softmax(-1)

    # --- training --------------------------------------------------------------------------------------------------

    def distribution(self, situations: Sequence[Situation], tokens_BL: np.ndarray, features: torch.Tensor | None = None) -> torch.Tensor:
        """Return float32[B, L, U]: log-probabilities, nats, of every token at each position; see `Trained.distribution`."""
        if features is None:
            features = self.features([s.frames for s in situations])
        parts, order = [], []
        for group_GR in self._together(situations):
            order += group_GR.flatten().tolist()
            parts.append(self._shared(situations, tokens_BL, features, group_GR))
        return torch.cat(parts)[np.argsort(order)]  # back in the order of the situations

    def _together(self, situations: Sequence[Situation]) -> Iterator[np.ndarray]:
        """Yield groups of indices, int64[G, R]: G situations with prompts of one length and R replies to each, if they can share a forward pass."""
        shares = can_share(self.base, self.prompts.of(situations[0]))
        for group in self.prompts.by_length(situations):
            same: dict[int, list[int]] = {}
            for i in group:
                same.setdefault(id(situations[i]) if shares else i, []).append(i)  # in training, equal situations are one object
            for count in sorted({len(each) for each in same.values()}):
                yield np.array([each for each in same.values() if len(each) == count])

    def _shared(self, situations: Sequence[Situation], tokens_BL: np.ndarray, features: torch.Tensor, group_GR: np.ndarray) -> torch.Tensor:
        """Return float32[G x R, L, U]: the `distribution` of R replies to each of G situations, in one forward pass with G rows."""
        own, (first, replies) = tokens_BL[group_GR.flatten()], (group_GR[:, 0].tolist(), group_GR.shape[1])
        reply_BJ, positions_L = self._full_reply(torch.as_tensor(own, device=self.config.device))
        # Without the last token: the logits at the last token of the prompt and at all but the last of the reply predict the reply.
        tokens_BJ, prompts = reply_BJ[:, :-1], [self.prompts.of(situations[i]) for i in first]
        if replies == 1:
            inputs = self._inputs(prompts, features[first], tokens_BJ)
        else:
            joined = {key: torch.cat([prompt[key] for prompt in prompts]) for key in prompts[0]}
            inputs = shared_inputs(self.base, joined, tokens_BJ.unflatten(0, group_GR.shape)) | self.image_inputs(features[first])
        logits_GSV = self._forward(inputs, 1 + replies * tokens_BJ.shape[1], use_cache=False).logits
        logits_BLV = logits_GSV[:, reply_places(replies, tokens_BJ.shape[1])[:, positions_L]].flatten(0, 1)
        return self._log_softmax(logits_BLV, self.codec.masks(own))

    def num_tokens(self, situation: Situation) -> tuple[int, int]:
        """Return the tokens of a forward pass; see `Trained.num_tokens`."""
        reply = self.reply_length + sum(map(len, self._fixed))
        prompt = self.prompts.of(situation)
        length = prompt["input_ids"].shape[1]
        return (length, reply) if can_share(self.base, prompt) else (0, length + reply)

    def _full_reply(self, tokens_BL: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
        """Return int64[B, J], the reply with the fixed words of its thought, and the positions of its L own tokens in it."""
        parts, positions = [], []
        for j, fixed in enumerate(self._fixed):
            parts += [tokens_BL.new_tensor(fixed).expand(len(tokens_BL), -1), tokens_BL[:, j : j + 1]]
            positions.append(sum(part.shape[1] for part in parts) - 1)
        return torch.cat(parts, dim=1), positions

    def features(self, frames: Sequence[np.ndarray]) -> torch.Tensor:
        """Return float32[B, N, D]: the image tokens of the frames of each observation, uint8[F, h, w, 3], as the text model receives them.

        If it receives them at several of its layers (Qwen3-VL), D holds those of all layers side by side.
        """
        return self._encode(frames) if self.config.trains_features else self._feature_cache.lookup(frames)

    def cached_features(self, frames: Sequence[np.ndarray]) -> dict[bytes, np.ndarray]:
        """Return image tokens that are at hand, by the hash of their frames; see `Trained.cached_features`."""
        return self._feature_cache.cached(frames)

    def add_features(self, features: dict[bytes, np.ndarray]) -> None:
        """Keep image tokens that another process computed; see `Trained.add_features`."""
        self._feature_cache.add({key: torch.from_numpy(each).to(self.config.device) for key, each in features.items()})

    def _encode(self, frames: Sequence[np.ndarray]) -> torch.Tensor:
        return self.encode(self.pixels(frames), len(frames))

    def encode(self, pixels: dict[str, torch.Tensor], moments: int) -> torch.Tensor:
        """Return float32[moments, N, D]: the image tokens of so many observations, from the result of `pixels`."""
        grad = torch.enable_grad if self.config.trains_features and torch.is_grad_enabled() else torch.no_grad
        with grad(), autocast(self.config.precision, self.config.device):
            encoded = self._image_encoder(**{key: value.to(self.config.device) for key, value in pixels.items() if key in self._pixel_keys})
        levels = [encoded.pooler_output, *(getattr(encoded, "deepstack_features", None) or [])]
        self.levels, self._levels_are_lists = len(levels), not isinstance(levels[0], torch.Tensor)  # a list has a tensor for each image
        flat = torch.cat([each.flatten(0, -2) if isinstance(each, torch.Tensor) else torch.cat(list(each)) for each in levels], dim=-1)
        return flat.float().reshape(moments, -1, flat.shape[-1])  # all frames of an observation in one row

    def image_inputs(self, features_BND: torch.Tensor) -> dict[str, Any]:
        """Return the result of `features()` in the form in which the forward pass of this family takes it."""
        first, *deeper = features_BND.flatten(0, 1).chunk(self.levels, dim=-1)
        encoded = SimpleNamespace(pooler_output=[first] if self._levels_are_lists else first, deepstack_features=[[each] for each in deeper])
        return {"mm_encoder_outputs": {"image": encoded}}

    def head(self, hidden_xD: torch.Tensor) -> torch.Tensor:
        """Return float32[..., V]: the logits of the text model's last hidden states, as its whole forward pass has them."""
        logits_xV = self.base.lm_head(hidden_xD).float()
        cap = getattr(self.base.config.get_text_config(), "final_logit_softcapping", None) if self.family.caps_logits else None
        return logits_xV if cap is None else cap * torch.tanh(logits_xV / cap)

    # --- questions -------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def answer(self, question: str, frames: np.ndarray) -> str:
        """Return the greedy reply to `question` about uint8[F, h, w, 3] frames, at most 32 tokens."""
        inputs = self.prompts.whole(self.prompts.chat(question, len(frames)), frames).to(self.config.device)
        tokens = self.model.generate(**inputs, max_new_tokens=32, do_sample=False)
        return self.processor.tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()

    @torch.inference_mode()
    def probability(self, question: str, frames: np.ndarray, yes: str = "yes", no: str = "no") -> float:
        """Return P(yes) / (P(yes) + P(no)) for the first token of the reply."""
        logits_V = self.first_logits(question, frames)
        first = [self.processor.tokenizer.encode(word, add_special_tokens=False)[0] for word in (yes, no)]  # ids of their first tokens
        return float(logits_V[first].softmax(0)[0])

    def first_logits(self, text: str, frames: np.ndarray) -> torch.Tensor:
        """Return float32[V]: the logits of the first token of the reply to `text` about uint8[F, h, w, 3] frames."""
        inputs = self._inputs([self.prompts.tokenised(self.prompts.chat(text, len(frames)), frames)], self.features([frames]))
        return self._forward(inputs, 1).logits[0, -1]

    def _inputs(self, prompts: Sequence[dict[str, torch.Tensor]], features_BND: torch.Tensor, reply_BJ: torch.Tensor | None = None) -> dict[str, Any]:
        """Return the model's inputs for prompts of one length, each followed by the first tokens of a reply."""
        inputs: dict[str, Any] = {key: torch.cat([prompt[key] for prompt in prompts]) for key in prompts[0]}
        if reply_BJ is not None:
            # Families differ in which of these they take. Of `mm_token_type_ids` 0 is text.
            for key, extension in (
                ("input_ids", reply_BJ),
                ("attention_mask", torch.ones_like(reply_BJ)),
                ("mm_token_type_ids", torch.zeros_like(reply_BJ)),
                ("token_type_ids", torch.full_like(reply_BJ, self.family.reply_type)),
            ):
                if key in inputs:
                    inputs[key] = torch.cat([inputs[key], extension], dim=1)
        return inputs | self.image_inputs(features_BND)

    def _forward(self, inputs: dict[str, Any], keep: int, **more: Any) -> Any:
        """Return the output of a forward pass, with the logits of the last `keep` tokens."""
        with last_tokens(self.base, keep):
            return self.model(**inputs, logits_to_keep=keep, **more)

    def _choose_trainable(self, model: Any) -> Any:
        """Freeze all parameters but those of `policy.train`; return the model, wrapped with LoRA adapters where the config asks for them."""
        self.base = model
        model.requires_grad_(self.config.train == "all")
        if self.config.train.startswith("lora"):
            return adapters.add(model, self.config)
        if self.config.train in ("text", "auto"):  # a run has settled `auto`; everything was frozen above
            families.text_model(model).requires_grad_(True)
            model.lm_head.requires_grad_(True)
        return model

    def _halve_frozen(self, model: Any) -> Any:
        """Return the model, with all weights that are not trained in the type that `policy.precision` gives them."""
        dtype = frozen_dtype(self.config.precision, self.config.device)
        for parameter in model.parameters():
            if not parameter.requires_grad and parameter.is_floating_point():  # four-bit weights stand in bytes
                parameter.data = parameter.data.to(dtype)
        return model

    def merged(self) -> Any:
        """Return the Hugging Face model with LoRA adapters added to its weights; from then on it can no longer be trained here."""
        return adapters.merged(self.model) if self.config.train.startswith("lora") else self.base
