"""The reference of DPO on disk: the champion's log-probabilities of pairs, which a killed training need not compute again."""

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from agent.run.files import write
from policies.features import digest
from policies.policy import Situation
from policies.trained import fingerprint


def identity(policy: Any, situations: Sequence[Situation], tokens: Sequence[np.ndarray], lengths: str) -> str:
    """Return the SHA-256 of all that log-probabilities of N replies depend on: base model, trained weights, processor, config and data.

    Args:
        policy: the champion.
        situations: N, what is replied to.
        tokens: N times int64[L].
        lengths: how many replies each side of each pair has.
    """
    found = hashlib.sha256()
    processor = getattr(policy, "processor", None)
    model = getattr(policy, "base_name", ""), fingerprint(policy.weights()), processor.to_json_string() if processor else ""
    for part in (*model, policy.config.model_dump_json(), lengths):
        found.update(f"{len(part)}:{part}".encode())  # with its length: where a part ends must not be open to doubt
    for situation, reply in zip(situations, tokens, strict=True):
        state = b"" if situation.state is None else situation.state.tobytes()
        text = f"{situation.instruction!r}{situation.advantage!r}{len(state)}"
        found.update(digest(situation.frames) + text.encode() + state + np.asarray(reply, np.int64).tobytes())
    return found.hexdigest()


def kept(file: Path, key: str, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
    """Return the float32[P, 2] of `compute`, from the file where that is of this `key`; otherwise compute it and write the file, atomically."""
    try:
        with safe_open(file, "pt") as stored:
            if stored.metadata() == {"key": key}:
                return stored.get_tensor("logprobs")
    except (OSError, SafetensorError):  # missing or damaged: nothing is lost, since it can be computed
        pass
    logprobs_P2 = compute()
    write(file, functools.partial(save_file, {"logprobs": logprobs_P2.contiguous()}, metadata={"key": key}))
    return logprobs_P2
