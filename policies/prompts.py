"""What a model is asked: a situation -> the tokens of a chat. Nothing is padded, so prompts of one length go together."""

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from policies import codec
from policies.keys import PolicyConfig
from policies.policy import Situation

if TYPE_CHECKING:
    import torch

KEPT = 20_000  # prompts, some kilobytes each


class Prompts:
    """Writes prompts, and remembers their tokens.

    Args:
        config: what is asked, and where the tokens shall lie.
        processor: of the model.
        numbers: how many numbers its codec can write, for what prompts tell of the state.
    """

    def __init__(self, config: PolicyConfig, processor: Any, numbers: int) -> None:
        self._config, self._processor, self._numbers = config, processor, numbers
        # Every decision asks for both, twice; where prompts tell the state there is no end of them.
        self.chat = functools.lru_cache(KEPT)(self._chat)
        self._tokens = functools.lru_cache(KEPT)(self._tokenise)

    def _chat(self, text: str, num_images: int) -> str:
        """Return the chat that shows `num_images` images and says `text`, up to where the reply begins."""
        content = [{"type": "image"}] * num_images + [{"type": "text", "text": text}]
        return self._processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False)

    def tokenised(self, text: str, frames: np.ndarray) -> dict[str, "torch.Tensor"]:
        """Return the tokens of a chat, int64[1, P] a key, with room for the frames; they depend on the frames' shape only, and are kept."""
        return self._tokens(text, frames.shape)

    def whole(self, text: str, frames: np.ndarray) -> Any:
        """Return all that the processor makes of a chat and its frames: tokens, and what the vision tower takes."""
        bos = self._processor.tokenizer.bos_token  # once: some templates write it, some tokenizers add it, some do both
        begun = {"add_special_tokens": False} if bos and text.startswith(bos) else {}
        return self._processor(text=[text], images=list(frames), return_tensors="pt", **begun)

    def _tokenise(self, text: str, shape: tuple[int, ...]) -> dict[str, "torch.Tensor"]:
        made = self.whole(text, np.zeros(shape, np.uint8))
        pixels = set(self._processor.image_processor.model_input_names) - {"image_grid_thw"}
        return {name: made[name].to(self._config.device) for name in made if name not in pixels}

    def of(self, situation: Situation) -> dict[str, "torch.Tensor"]:
        """Return the tokens of what is asked in a situation, int64[1, P] a key.

        Raises:
            ValueError: the prompt tells numbers of the state that the environment does not give.
        """
        asked = self._config.ask(situation.instruction, situation.advantage, self._felt(situation.state))
        return self.tokenised(self.chat(asked, len(situation.frames)), situation.frames)

    def alike(self, situations: Sequence[Situation]) -> Iterator[list[int]]:
        """Yield the indices of the situations whose prompts have one length."""
        lengths = [self.of(s)["input_ids"].shape[1] for s in situations]
        for length in sorted(set(lengths)):
            yield [i for i, own in enumerate(lengths) if own == length]

    def _felt(self, state: np.ndarray | None) -> str:
        """Return the numbers of the state that the prompt tells, in the words of the codec."""
        if not self._config.state:
            return ""
        if state is None or max(self._config.state) >= len(state):
            has = "no state" if state is None else f"{len(state)} numbers in its state"
            raise ValueError(f"policy.state names place {max(self._config.state)}, and the environment has {has}; see env.state.")
        low, high = np.array(list(self._config.state.values())).T
        shares = (np.nan_to_num(state[list(self._config.state)]) - low) / (high - low)  # what a broken environment gives must not break a prompt
        return codec.told(shares, self._config.codec, self._numbers)
