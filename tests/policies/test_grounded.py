"""What a composed model was taught survives in a small file: the connector, and low-rank changes of its first layers."""

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Idefics3ForConditionalGeneration

from agent.ground import questions
from agent.ground.pretrain import frames_of_tasks
from agent.ground.wording import wording_of
from agent.run.base import write_model
from envs import EnvConfig
from envs.adapt import Adapter
from policies import PolicyConfig, grounded, load
from policies.compose import compose
from policies.loading import NANO
from policies.scoring import score
from tests.policies.test_compose import needs_weights


@pytest.fixture
def base() -> Any:
    return Idefics3ForConditionalGeneration.from_pretrained(NANO)


@pytest.fixture
def taught() -> Any:
    """Return the model with two of its layers, a new connector, and changes of rank three in two matrices."""
    model = Idefics3ForConditionalGeneration.from_pretrained(NANO)
    model.model.text_model.layers = model.model.text_model.layers[:2]
    model.config.text_config.num_hidden_layers = model.model.text_model.config.num_hidden_layers = 2
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        model.model.connector.modality_projection.proj.weight.normal_(generator=draw)
        for layer in model.model.text_model.layers:
            weight = layer.mlp.up_proj.weight
            weight += torch.randn(len(weight), 3, generator=draw) @ torch.randn(3, weight.shape[1], generator=draw) / 50
    return model


def test_the_file_makes_the_taught_model_from_the_base(base: Any, taught: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grounded, "SHIPPED", tmp_path)
    lost = grounded.write(tmp_path / "door.safetensors", base, taught, rank=3)
    assert lost < 0.01 and (tmp_path / "door.safetensors").stat().st_size < 200_000
    assert grounded.names() == ["door"]
    grounded.add(base, "door")
    assert base.config.text_config.num_hidden_layers == len(base.model.text_model.layers) == 2
    found, meant = base.state_dict(), taught.state_dict()
    assert found.keys() == meant.keys()
    for name, weight in meant.items():
        torch.testing.assert_close(found[name], weight, atol=0.02, rtol=0.01)
    ids = torch.arange(20)[None]
    with torch.no_grad():
        torch.testing.assert_close(base.eval()(input_ids=ids).logits, taught.eval()(input_ids=ids).logits, atol=0.1, rtol=0.05)


def test_a_rank_too_small_is_told_by_what_is_lost(base: Any, taught: Any, tmp_path: Path) -> None:
    assert grounded.write(tmp_path / "door.safetensors", base, taught, rank=1) > 0.3


def test_what_no_adapter_changes_is_refused(base: Any, taught: Any, tmp_path: Path) -> None:
    with torch.no_grad():
        taught.model.text_model.norm.weight += 1
    with pytest.raises(ValueError, match=r"^model\.text_model\.norm\.weight changed, and is no matrix\.$"):
        grounded.write(tmp_path / "door.safetensors", base, taught, rank=3)


def test_a_task_that_is_not_in_the_package_is_refused(base: Any) -> None:
    with pytest.raises(ValueError, match=r"No grounded model of 'push' is in the package; there is: "):
        grounded.add(base, "push")


@needs_weights
@pytest.mark.slow
def test_the_shipped_model_answers_questions_about_scenes_that_it_never_saw(tmp_path: Path) -> None:
    """It knows far more of what stands beside the frames of its task than the composed model alone."""
    config = PolicyConfig(model=str(tmp_path), codec="digits", batch_size=4, precision="float32")
    plain, low = compose(frames_of_tasks(4)), -np.ones(3, np.float32)
    adapter, nats = Adapter(EnvConfig(id="etude/Slide-v0")), []
    for taught in (False, True):
        if taught:
            grounded.add(plain[0], "slide")
        write_model(tmp_path / "model", *plain)
        policy = load(config.model_copy(update={"model": str(tmp_path / "model"), "layers": 8}), low, -low)
        assert policy.base.config.text_config.num_hidden_layers == 8
        scenes = list(
            itertools.islice(questions.scenes(adapter, itertools.count(49_500_000), np.random.default_rng(0), wording=wording_of(policy)), 8)
        )
        asked = [[(each.question, each.answer) for each in scene.questions if each.kind in ("where", "offset")] for scene in scenes]
        with torch.inference_mode():
            frames = [scene.frames for scene in scenes]
            nats.append(-float(score(policy, policy.features(frames), frames, asked).logprobs.mean()))
        shutil.rmtree(tmp_path / "model")  # half a gigabyte, and pytest would keep three of it
    assert nats[1] < 1.2 and nats[1] < nats[0] - 1, nats
