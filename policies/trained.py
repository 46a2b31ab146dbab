"""What every policy that is trained with torch has in common: its weights on disk under a name, and what its replies are worth."""

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
    """Base of policies. A subclass sets the attributes below in its constructor, and says `distribution` and `features`.

    A policy of one's own (`policy.model: file.py:Class`) is made as `Class(config, low, high, counts)`: its `PolicyConfig`, float[A] bounds of an
    action, and int[A] how many values a discrete action has. Its replies are tokens of a `Codec`, so that they have log-probabilities.
    """

    config: Any
    """A `PolicyConfig`."""
    model: Any
    """A `torch.nn.Module`; what in it requires a gradient is trained."""
    codec: Codec
    chunk: int
    """H, actions a decision."""
    reply_length: int
    """L, tokens of a reply: `codec.length`."""
    temperature: float
    base_name: str
    """`fingerprint` of the untrained model: a run does not go on with another."""
    name: str
    """`fingerprint(self.weights())`, kept up by `load`."""

    def distribution(self, situations: Sequence[Situation], tokens_BL: np.ndarray, features: torch.Tensor | None = None) -> torch.Tensor:
        """Return float32[B, L, U] log-probabilities, nats, at `temperature`, of every action token in every place; -inf where it is not allowed.

        Args:
            situations: B of them.
            tokens_BL: int64[B, L], whole replies; place j may depend on those before it.
            features: what `features` gave for their frames, if it is at hand.
        """
        raise NotImplementedError

    def features(self, frames: Sequence[np.ndarray]) -> torch.Tensor:
        """Return a tensor [B, ...]: what is computed once for each uint8[F, h, w, 3] and does not change in training (`policy.train` but `all`)."""
        raise NotImplementedError

    def act(self, situations: Sequence[Situation], noise: np.ndarray | None) -> list[Decision]:
        """Decide for each situation, token by token; see `policies.policy.Policy`."""
        tokens_BL = np.tile(self.codec.encode(np.tile((self.codec.low + self.codec.high) / 2, (self.chunk, 1))), (len(situations), 1))
        logprobs_BL = np.zeros(tokens_BL.shape, np.float32)
        with torch.inference_mode():
            for j in range(self.reply_length):
                logprobs_BU = self.distribution(situations, tokens_BL)[:, j]
                column_B = pick(logprobs_BU, None if noise is None else noise[:, j])
                logprobs_BL[:, j] = logprobs_BU.gather(1, column_B[:, None])[:, 0].cpu()
                tokens_BL[:, j] = self.codec.vocabulary_U[column_B.cpu().numpy()]
        return [Decision(self.codec.decode(row), row, told) for row, told in zip(tokens_BL, logprobs_BL, strict=True)]

    def logprobs(self, situations: Sequence[Situation], tokens_BL: np.ndarray, features: torch.Tensor | None = None) -> torch.Tensor:
        """Return float32[B, L] log-probabilities, nats, of replies; same temperature and masks as when acting.

        Args:
            situations: B of them.
            tokens_BL: int64[B, L], whole replies.
            features: what `features()` gave for their frames, if it is at hand.
        """
        return self.picked(self.distribution(situations, tokens_BL, features), tokens_BL)

    def picked(self, logprobs_BLU: torch.Tensor, tokens_BL: np.ndarray) -> torch.Tensor:
        """Return float32[B, L]: of all log-probabilities those of the replies."""
        return logprobs_BLU.gather(-1, torch.as_tensor(self.codec.columns(tokens_BL), device=logprobs_BLU.device)[..., None])[..., 0]

    def parameters(self) -> list[torch.nn.Parameter]:
        """Return what is trained."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def weights(self) -> dict[str, torch.Tensor]:
        """Return copies of the trained tensors by name: a whole text model, or LoRA adapters."""
        return {name: p.detach().clone() for name, p in self.model.named_parameters() if p.requires_grad}

    def put(self, weights: dict[str, torch.Tensor]) -> None:
        """Take trained tensors, and keep the name.

        Raises:
            ValueError: they belong to another model.
        """
        own = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        if own.keys() != weights.keys() or any(own[name].shape != value.shape for name, value in weights.items()):
            raise ValueError("these weights belong to another model or another policy.train")
        with torch.no_grad():
            for name, value in weights.items():
                own[name].copy_(value)

    def load(self, file: Path | dict[str, torch.Tensor]) -> None:
        """Take weights from a safetensors file or from `weights()`, and a name by them.

        Raises:
            ValueError: they belong to another model, or the file is damaged or gone.
        """
        try:
            weights = load_file(file) if isinstance(file, Path) else file
        except (OSError, SafetensorError) as error:
            cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error).split("\n")[0]
            raise ValueError(f"no weights can be read there ({cause})") from error
        self.put(weights)
        self.name = fingerprint(self.weights())

    def save(self, file: Path) -> None:
        """Write the trained tensors as safetensors."""
        save_file({name: value.cpu().contiguous() for name, value in self.weights().items()}, file)


def fingerprint(weights: dict[str, torch.Tensor]) -> str:
    """Return the first 12 hex digits of the SHA-256 of tensors and their names."""
    digest = hashlib.sha256()
    for key, value in sorted(weights.items()):
        digest.update(key.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def pick(logprobs_BU: torch.Tensor, noise_B: np.ndarray | None) -> torch.Tensor:
    """Return int64[B]: the most probable column, or the one that uniform noise picks on the cumulative distribution."""
    if noise_B is None:
        return logprobs_BU.argmax(-1)
    cumulative_BU = logprobs_BU.double().exp().cumsum(-1)
    threshold = torch.as_tensor(noise_B, device=logprobs_BU.device)[:, None] * cumulative_BU[:, -1:]
    last = (logprobs_BU > -torch.inf).double().cumsum(-1).argmax(-1)  # never a forbidden token at the far end
    return torch.minimum((cumulative_BU <= threshold).sum(-1), last)
