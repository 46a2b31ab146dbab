"""The base model of a run: what of it may not change between the run and its use."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

import policies
from agent.config.config import Config
from agent.run.files import load, save
from agent.run.folder import Run
from policies import PolicyConfig
from policies.files import digests
from policies.loading import NANO


def loaded(folder: Path) -> Any:
    return policies.load(PolicyConfig(model=str(folder)), -np.ones(2), np.ones(2))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("tokenizer_config.json", lambda raw: json.dumps({**json.loads(raw), "model_max_length": 7})),
        ("chat_template.jinja", lambda raw: "Be brief. " + raw),
        ("config.json", lambda raw: json.dumps({**json.loads(raw), "scale_factor": 3})),
        ("weights", None),
    ],
)
def test_a_part_of_the_base_model_that_changed_is_named(name: str, change: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(NANO, tmp_path / "base")
    policy = loaded(folder)
    run = Run(tmp_path / "run", Config(policy=PolicyConfig(model=str(folder)))).begin()
    run.began_from(policy.base_name, policy.base_parts)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**dict(reversed(config.items())), "transformers_version": "9"}))  # as a later version writes it
    run.began_from(policy.base_name, loaded(folder).base_parts)
    if not change:
        weights = load_file(file := folder / "model.safetensors")
        for each in weights.values():
            each.view(-1)[1000:] *= -1
        save_file(weights, file, metadata={"format": "pt"})
    else:
        (folder / name).write_text(change((folder / name).read_text()))
    parts = {**policy.base_parts, **digests(str(folder))} if change else loaded(folder).base_parts
    with pytest.raises(ValueError, match=f"began from .* with other {name}; put back what was there, or name a new folder"):
        run.began_from(policy.base_name, parts)
    file = run.folder / "base.json"
    save(file, {name: value for name, value in load(file).items() if name != "parts"})  # as of an earlier version
    run.began_from(policy.base_name, parts)
