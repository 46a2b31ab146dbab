"""The base class of policies that are trained with torch: decoding, log-probabilities of replies, and weights on disk under a name."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from policies.codec import Codec
from policies.policy import Decision, Situation


class Trained:
    """Base class of policies. A subclass sets the attributes below in its constructor, and implements `distribution` and `features`.

    A custom policy (`policy.model: file.py:Class`) is made as `Class(config, low, high, counts)`: the `PolicyConfig`, the float[A] bounds of an
    action, and int[A] numbers of values of a discrete action (0: continuous). Its replies are tokens of a `Codec`, so every reply has a
    log-probability.

    Shape suffixes: B batch, L tokens of a reply, U tokens of the codec.
    """

    config: Any
    """A `PolicyConfig`."""
    model: Any
    """A `torch.nn.Module`; the parameters that require a gradient are trained."""
    codec: Codec
    chunk: int
    """H, actions a decision."""
    reply_length: int
    """L, tokens of a reply: `codec.length`."""
    temperature: float
    """Divides the logits, when acting and when training."""
    base_name: str
    """`fingerprint` of the untrained model; a run cannot be resumed with another one."""
    base_parts: dict[str, str]
    """Further hashes of the untrained model, by the names of its parts, which a run compares; a class of your own may leave them out."""
    name: str
    """`fingerprint(self.weights())`; `load` updates it."""

    def distribution(self, situations: Sequence[Situation], tokens_BL: np.ndarray, features: torch.Tensor | None = None) -> torch.Tensor:
        """Return float32[B, L, U]: log-probabilities, nats, at `temperature`, of every token at each position; -inf where it is not allowed.

        Args:
            situations: B of them.
            tokens_BL: int64[B, L], complete replies; the distribution at position j may depend on the tokens before j only.
            features: the result of `features` for their frames; None: computed here.
        """
        raise NotImplementedError

    def features(self, frames: Sequence[np.ndarray]) -> torch.Tensor:
        """Return a tensor [B, ...]: what is computed once from the frames of each observation, uint8[F, h, w, 3].

        Training computes it once and reuses it, so nothing that is trained may enter. An exception is `trains_features`, where it is never reused.
        """
        raise NotImplementedError

    def cached_features(self, frames: Sequence[np.ndarray]) -> dict[bytes, np.ndarray]:
        """Return those `features` that are at hand, for `add_features` in another process; here none."""
        return {}

    def add_features(self, features: dict[bytes, np.ndarray]) -> None:
        """Keep `features` that the same model computed in another process (`cached_features`); here they are dropped."""

    def num_tokens(self, situation: Situation) -> tuple[int, int]:
        """Return the tokens of a forward pass over replies to one situation: once, and for each reply. `tune.micro_batch_tokens` limits their sum.

        Here the tokens before a reply do not count.
        """
        return 0, self.reply_length

    def act(self, situations: Sequence[Situation], noise: np.ndarray | None) -> list[Decision]:
        """Decide for each situation, token by token; see `policies.policy.Policy`."""
        # Any valid reply will do to start with: position j is filled before anything behind it is used.
        tokens_BL = np.tile(self.codec.encode(np.tile((self.codec.low + self.codec.high) / 2, (self.chunk, 1))), (len(situations), 1))
        logprobs_BL = np.zeros(tokens_BL.shape, np.float32)
        with torch.inference_mode():
            for j in range(self.reply_length):
                logprobs_BU = self.distribution(situations, tokens_BL)[:, j]  # L forward passes; a subclass may be faster, as `Vlm` is
                column_B = pick(logprobs_BU, None if noise is None else noise[:, j])
                logprobs_BL[:, j] = logprobs_BU.gather(1, column_B[:, None])[:, 0].cpu()
                tokens_BL[:, j] = self.codec.vocabulary_U[column_B.cpu().numpy()]
        return [Decision(self.codec.decode(row), row, logprobs) for row, logprobs in zip(tokens_BL, logprobs_BL, strict=True)]

    def logprobs(self, situations: Sequence[Situation], tokens_BL: np.ndarray, features: torch.Tensor | None = None) -> torch.Tensor:
        """Return float32[B, L]: log-probabilities, nats, of replies, with the same temperature and masks as when acting.

        Args:
            situations: B of them.
            tokens_BL: int64[B, L], complete replies.
            features: the result of `features` for their frames; None: computed here.
        """
        return self.picked(self.distribution(situations, tokens_BL, features), tokens_BL)

    def picked(self, logprobs_BLU: torch.Tensor, tokens_BL: np.ndarray) -> torch.Tensor:
        """Return float32[B, L]: the entries of a `distribution` that belong to the tokens of the replies."""
        return logprobs_BLU.gather(-1, torch.as_tensor(self.codec.columns(tokens_BL), device=logprobs_BLU.device)[..., None])[..., 0]

    def parameters(self) -> list[torch.nn.Parameter]:
        """Return the parameters that are trained."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def weights(self) -> dict[str, torch.Tensor]:
        """Return copies of the trained tensors by name: those of a whole text model, or of LoRA adapters."""
        return {name: p.detach().clone() for name, p in self.model.named_parameters() if p.requires_grad}

    def put(self, weights: dict[str, torch.Tensor]) -> None:
        """Copy tensors into the trained parameters, without changing `name`.

        Raises:
            ValueError: names or shapes are those of another model.
        """
        own = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        if own.keys() != weights.keys() or any(own[name].shape != value.shape for name, value in weights.items()):
            raise ValueError("these weights belong to another model or another policy.train")
        with torch.no_grad():
            for name, value in weights.items():
                own[name].copy_(value)

    def load(self, file: Path | dict[str, torch.Tensor]) -> None:
        """Copy weights from a safetensors file, or from a result of `weights()`, and set `name` by them.

        Raises:
            ValueError: they belong to another model, or the file is damaged or does not exist.
        """
        try:
            weights = load_file(file) if isinstance(file, Path) else file
        except (OSError, SafetensorError) as error:
            cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error).split("\n")[0]
            raise ValueError(f"its weights cannot be read ({cause})") from error
        self.put(weights)
        self.name = fingerprint(self.weights())

    def save(self, file: Path) -> None:
        """Write the trained tensors as safetensors."""
        save_file({name: value.cpu().contiguous() for name, value in self.weights().items()}, file)


def misfit(policy: Any, situation: Situation) -> str:
    """Return what is wrong with the results of a policy's `features` and `distribution`, as the end of a sentence; empty if nothing is.

    Args:
        policy: of a class of the user's. What its methods raise is not caught.
        situation: of the environments in which it will act.
    """
    length, tokens = policy.reply_length, len(policy.codec.vocabulary_U)
    if length != policy.codec.length:
        return f"has reply_length {length}, and its codec writes {policy.codec.length} tokens; set it to codec.length"
    middle = np.tile((policy.codec.low + policy.codec.high) / 2, (policy.chunk, 1))
    tokens_BL = np.tile(policy.codec.encode(middle), (2, 1))
    with torch.no_grad():
        features = policy.features([situation.frames] * 2)
        if not isinstance(features, torch.Tensor) or features.ndim < 1 or len(features) != 2:
            return f"returned {_kind(features)} from features, for 2 observations; return a tensor [2, ...]"
        for given in (features, None):
            logprobs_BLU = policy.distribution([situation] * 2, tokens_BL, given)
            wanted = (
                f"from distribution, for 2 replies of {length} tokens; return float32[2, {length}, {tokens}], the last for the tokens of the codec"
            )
            if not isinstance(logprobs_BLU, torch.Tensor) or logprobs_BLU.shape != (2, length, tokens) or logprobs_BLU.dtype != torch.float32:
                return f"returned {_kind(logprobs_BLU)} {wanted}"
            if not torch.allclose(sums := logprobs_BLU.exp().sum(-1), torch.ones(()), atol=1e-3):
                return f"returned probabilities from distribution that add up to {float(sums.flatten()[0]):g}; return the result of log_softmax"
    return ""


def _kind(value: Any) -> str:
    """Return 'float32[2, 3]' for a tensor, and the name of the type for anything else."""
    return f"{value.dtype}{list(value.shape)}".removeprefix("torch.") if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"


def fingerprint(weights: dict[str, torch.Tensor]) -> str:
    """Return the first 12 hex digits of the SHA-256 of the tensors and their names."""
    digest = hashlib.sha256()
    for key, value in sorted(weights.items()):  # by name, so that the order of the dict does not matter
        digest.update(key.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def pick(logprobs_BU: torch.Tensor, noise_B: np.ndarray | None) -> torch.Tensor:
    """Return int64[B]: the index of a token in each row, by inverse transform sampling.

    Args:
        logprobs_BU: float32[B, U], nats; -inf where a token is not allowed.
        noise_B: float64[B], uniform in [0, 1); None: the most probable token.
    """
    if noise_B is None:
        return logprobs_BU.argmax(-1)
    cumulative_BU = logprobs_BU.double().exp().cumsum(-1)
    # The sum of rounded probabilities may miss 1, so the noise is scaled to it.
    threshold = torch.as_tensor(noise_B, device=logprobs_BU.device)[:, None] * cumulative_BU[:, -1:]
    last = (logprobs_BU > -torch.inf).double().cumsum(-1).argmax(-1)  # the last allowed token: noise near 1 must not choose a forbidden one behind it
    return torch.minimum((cumulative_BU <= threshold).sum(-1), last)
