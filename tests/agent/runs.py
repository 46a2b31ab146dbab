"""Runs with a champion, made without training: the base model with other weights."""

from pathlib import Path
from typing import Any

import torch

import etude
from agent.learning.training import keep_weights
from agent.records import Checkpoint
from agent.rollout.session import Session
from agent.run.files import save
from agent.run.folder import Run
from tests.test_api import TINY


def make(folder: Path, scale: float = 0.02, **changes: Any) -> str:
    """Make a run in a folder, and return the fingerprint of its champion, which is its warm start; `changes` are sections of the config."""
    config = {**TINY, **changes, "policy": {"batch_size": 8, **changes.get("policy", {})}}
    session = Session(Run(folder, etude.Config(**config)).begin())
    try:
        torch.manual_seed(1)
        session.policy.put({name: value + scale * torch.randn_like(value) for name, value in session.policy.weights().items()})
        file = folder / "start" / "policy.safetensors"
        name = keep_weights(session.policy, file)
        save(file.with_name("tune.json"), {"policy": name})
        session.record_champion(Checkpoint(file, name))
    finally:
        session.close()
    return name
