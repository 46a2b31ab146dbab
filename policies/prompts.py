"""Writes prompts: from a situation to the tokens of a chat. Prompts are never padded, so a batch holds prompts of one length only."""

import contextlib
import functools
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from policies import codec
from policies.keys import PolicyConfig
from policies.policy import Situation

if TYPE_CHECKING:
    import torch

    from policies.families import Family

# Inputs of the text model. Those of the vision tower are dropped; Qwen's image grid stays, as the text model computes positions from it.
TOKEN_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids", "image_grid_thw")
KEPT = 20_000  # prompts in the cache, a few kilobytes each
PROBE = "touch it"  # an instruction, to try a chat template
THOUGHTS = {
    **{f"<{name}>": f"</{name}>" for name in ("think", "thinking", "thought", "reasoning", "seed:think")},
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|channel|>analysis<|message|>": "<|end|><|start|>assistant<|channel|>final<|message|>",
}
SEEN = re.compile(r"image|img|video|vision|audio", re.IGNORECASE)  # in the names of tokens that stand for what is no text


@contextlib.contextmanager
def noted(part: Any) -> Iterator[list[tuple[tuple[Any, ...], dict[str, Any]]]]:
    """Yield a list that gets the arguments of every call of a part of a processor."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    kind = type(part)

    def noting(own: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        return kind.__call__(own, *args, **kwargs)

    part.__class__ = type(kind.__name__, (kind,), {"__call__": noting})
    try:
        yield calls
    finally:
        part.__class__ = kind


class Prompts:
    """Writes prompts, and caches their tokens.

    Args:
        config: the prompt, and the device of the tokens.
        processor: of the model.
        numbers: how many different numbers the codec can write; the state is written in these.
        family: of the model.
    """

    def __init__(self, config: PolicyConfig, processor: Any, numbers: int, family: "Family") -> None:
        self._config, self._processor, self._numbers, self._family = config, processor, numbers, family
        # Each decision needs both twice, so they are cached. Prompts with a state are all different, so the caches are bounded.
        self.chat = functools.lru_cache(KEPT)(self._chat)
        self._tokens = functools.lru_cache(KEPT)(self._tokenise)

    def known(self, text: str) -> str:
        """Return a text as the model can read it: the embedded model's tokenizer has words in lower case alone, and spells all others."""
        return text.lower() if codec.has_numbers(self._processor.tokenizer) else text

    def _chat(self, text: str, num_images: int) -> str:
        """Return a chat with one user message, `num_images` images and then `text`, up to the beginning of the reply.

        Raises:
            ValueError: the text names an image itself.
        """
        if mark := self._mark_in(text):
            raise ValueError(f"The words {text!r} hold {mark}, which stands for a frame in this model's prompts; leave it out of the instruction.")
        content = [{"type": "image"}] * num_images + [{"type": "text", "text": self.known(text)}]
        plain = {"enable_thinking": False} if "enable_thinking" in self._processor.chat_template else {}
        chat = self._processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False, **plain)
        words = content[-1]["text"]
        reply = chat.rpartition(words)[2] if words else chat  # the words may hold such a tag themselves; a template may have changed them
        for begin, end in THOUGHTS.items():
            if reply.rfind(begin) > reply.rfind(end):  # some templates always open a thought; an action must not stand inside
                chat += f"\n{end}\n\n"
        spaced = self._family.spaced
        return self._begin(re.sub(rf"{re.escape(spaced)}(?=[^\s<])", f"{spaced} ", chat) if spaced else chat)

    def _mark_in(self, text: str) -> str:
        """Return a token for images or videos that a text holds; empty: it holds none."""
        tokenizer = self._processor.tokenizer
        named = [getattr(part, f"{name}_token", None) for part in (self._processor, tokenizer) for name in ("image", "video", "boi", "eoi")]
        special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special and SEEN.search(str(token))]
        marks = [str(mark) for mark in named if mark] or ["<image>"]
        return next((mark for mark in marks + special if mark in text), "")

    def tokenised(self, text: str, frames: np.ndarray) -> dict[str, "torch.Tensor"]:
        """Return the tokens of a chat, int64[1, P] a key, with placeholders for image tokens; they depend on the shape of the frames only."""
        return self._tokens(text, frames.shape)

    def whole(self, text: str, frames: np.ndarray) -> Any:
        """Return the processor's whole output for a chat and its frames: the tokens, and the inputs of the vision tower."""
        begun = {} if self.adds_special_tokens(text) else {"add_special_tokens": False}
        images = [Image.fromarray(frame) for frame in frames]  # Idefics2 takes no arrays
        inputs = self._processor(text=[text], images=images, return_tensors="pt", **begun)
        inputs.pop("labels", None)  # PaliGemma's processor makes some, for a loss of its own
        return inputs

    def adds_special_tokens(self, text: str) -> bool:
        """Return whether the tokenizer must add its special tokens to a chat.

        The beginning of a sequence must occur once: some templates write it, some tokenizers add it, and some models do both (Gemma 3). No end of a
        sequence may stand before the reply.
        """
        begin, end = self._added()
        return not (end or (begin and begin in text))

    def _added(self) -> tuple[str, str]:
        """Return what the tokenizer adds before and behind a text: it may add tokens that its `bos_token` and `eos_token` do not name."""
        tokenizer = self._processor.tokenizer
        full, plain = tokenizer.encode("a"), tokenizer.encode("a", add_special_tokens=False)
        at = next((i for i in range(len(full)) if plain and full[i : i + len(plain)] == plain), 0)
        begin, end = (tokenizer.convert_ids_to_tokens(part) for part in (full[:at], full[at + len(plain) :]))
        return "".join(begin), "".join(end)

    def _begin(self, chat: str) -> str:
        """Return a chat with the beginning of a sequence, where the tokenizer may not add it, as it would add an end too."""
        begin, end = self._added()
        return begin + chat if end and begin not in chat else chat

    def image_settings(self) -> dict[str, Any]:
        """Return what the processor tells its image processor at each call beside the images: Pixtral that patches are merged, so wider ones.

        Raises:
            ValueError: a prompt about frames cannot be written, leaves out the words, or names an image itself.
        """
        for key in ("prompt", "thought"):
            if mark := self._mark_in(getattr(self._config, key)):
                raise ValueError(f"policy.{key} holds {mark}, which stands for a frame in this model's prompts; leave it out.")
        try:
            with noted(self._processor.image_processor) as calls:
                chat = self.chat(PROBE, 2)
                self.whole(chat, np.zeros((2, 64, 64, 3), np.uint8))
        except Exception as error:  # of any processor
            first = str(error).strip().split("\n")[0].rstrip(".")
            raise ValueError(
                f"{self._config.model!r} cannot write and read a chat about two frames ({first}); see its chat template and processor_config.json."
            ) from error
        if PROBE not in chat:
            raise ValueError(f"The chat template of {self._config.model!r} leaves out the words of a prompt; put another chat_template.jinja there.")
        return {name: value for _, told in calls for name, value in told.items() if name != "images" and not name.startswith("return_")}

    def _tokenise(self, text: str, shape: tuple[int, ...]) -> dict[str, "torch.Tensor"]:
        inputs = self.whole(text, np.zeros(shape, np.uint8))
        return {name: inputs[name].to(self._config.device) for name in inputs if name in TOKEN_INPUTS}

    def of(self, situation: Situation) -> dict[str, "torch.Tensor"]:
        """Return the tokens of the prompt for a situation, int64[1, P] a key.

        Raises:
            ValueError: the prompt needs numbers of the state that the environment does not give.
        """
        text = self._config.ask(situation.instruction, situation.advantage, self._state_text(situation.state))
        return self.tokenised(self.chat(text, len(situation.frames)), situation.frames)

    def by_length(self, situations: Sequence[Situation]) -> Iterator[list[int]]:
        """Yield groups of indices: the situations of a group have prompts of equal length."""
        lengths = [self.of(s)["input_ids"].shape[1] for s in situations]
        for length in sorted(set(lengths)):
            yield [i for i, own in enumerate(lengths) if own == length]

    def _state_text(self, state: np.ndarray | None) -> str:
        """Return the numbers of the state that are part of the prompt, written as the codec writes actions; empty where there are none."""
        if not self._config.state:
            return ""
        if state is None or max(self._config.state) >= len(state):
            given = "no state" if state is None else f"{len(state)} numbers in its state"
            raise ValueError(f"policy.state names place {max(self._config.state)}, and the environment has {given}; see env.state.")
        low, high = np.array(list(self._config.state.values())).T
        # NaN becomes 0, infinity the end of the range: a faulty environment must not stop a prompt.
        shares = (np.nan_to_num(state[list(self._config.state)]) - low) / (high - low)
        return codec.write_numbers(shares, self._config.codec, self._numbers)
