"""Teaching to see: the pointer's targets are where the things are, and a short lesson lowers all three losses."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agent.ground import train as teach
from agent.ground.questions import scenes
from agent.ground.scenes import Question, Scene
from agent.ground.train import Pointer, Pupil, quiz, read, see
from envs import EnvConfig
from envs.adapt import Adapter
from policies import PolicyConfig, load
from policies.scoring import score
from tests.families import FAMILIES
from tests.policies.test_vlm import make


@pytest.fixture(scope="module")
def drawn() -> list[Any]:
    stream = scenes(Adapter(EnvConfig()), itertools.count(49_900_000), np.random.default_rng(0))
    return list(itertools.islice(stream, 100))


@pytest.fixture
def fresh() -> Any:
    """The nano's architecture with first weights."""
    policy = load(PolicyConfig(train="all"), -np.ones(3), np.ones(3))
    torch.manual_seed(0)
    for parameter in policy.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.05)
    return policy


def test_a_perfect_feature_has_no_pointing_loss(drawn: list[Any]) -> None:
    """Write each thing's phrase into the token that holds it; the pointer must then find it there, and nowhere else."""
    policy = load(PolicyConfig(train="all"), -np.ones(3), np.ones(3))
    lone = [type(scene)(scene.frames, scene.questions, scene.places[:1]) for scene in drawn[:8]]
    features = torch.zeros(8, 32, 128)
    embed = policy.base.get_input_embeddings()
    for row, scene in enumerate(lone):
        name, view, x, y = scene.places[0]
        ids = policy.processor.tokenizer.encode(" " + name, add_special_tokens=False)
        cell = min(int(y * 4), 3) * 4 + min(int(x * 4), 3)
        features[row] = -embed(torch.tensor(ids)).mean(0).detach()
        features[row, view * 16 + cell] *= -1
    pointing, _ = Pointer(128).loss(policy, features, lone)
    assert float(pointing.detach()) < 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_taught_to_point(family: str, request: Any, drawn: list[Any]) -> None:
    """Also where a token that ends a row or a frame stands behind the grid of image tokens."""
    policy = make(family, request)
    features = policy.features([scene.frames for scene in drawn[:4]])
    width = policy.base.get_input_embeddings().weight.shape[1]
    losses = Pointer(width).loss(policy, features, drawn[:4])
    assert all(bool(torch.isfinite(each)) for each in losses)


def test_a_short_training_data_lowers_every_loss(fresh: Any, drawn: list[Any]) -> None:
    rows: list[dict[str, float]] = []
    see(fresh, drawn, steps=12, batch=8, learning_rate=2e-3, watch=lambda step, figures: rows.append(dict(figures)))
    for name in ("answering", "pointing", "reading"):
        assert np.mean([r[name] for r in rows[-3:]]) < np.mean([r[name] for r in rows[:3]])


def test_batches_laid_out_in_other_processes_teach_the_same(fresh: Any, drawn: list[Any]) -> None:
    start, target_actions = {name: value.clone() for name, value in fresh.weights().items()}, []
    for workers in (0, 2):
        fresh.put(start)
        rows: list[dict[str, float]] = []
        see(fresh, drawn, steps=3, batch=4, questions=3, workers=workers, watch=lambda step, figures, rows=rows: rows.append(dict(figures)))
        target_actions.append((rows, fresh.weights()))
    assert target_actions[0][0] == target_actions[1][0]
    assert all(torch.equal(value, target_actions[1][1][name]) for name, value in target_actions[0][1].items())


def test_a_training_example_that_goes_on_sees_the_batches_that_are_left(fresh: Any, drawn: list[Any]) -> None:
    batches = teach.Batches(fresh, drawn, steps=4, batch=4, questions=3, seed=0)
    ((chosen, spelt),) = batches[3]  # one group: all scenes have as many frames
    assert len(batches) == 4 and len(set(chosen)) == 4 and spelt.owner[:, 0].tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    left = list(torch.utils.data.DataLoader(batches, batch_size=None, sampler=range(2, 4)))
    assert len(left) == 2 and left[1][0][0] == chosen and left[1][0][1].tails == spelt.tails


def test_reading_trains_the_text_model_alone(drawn: list[Any]) -> None:
    policy = load(PolicyConfig(train="text"), -np.ones(3), np.ones(3))
    vision = {name: p.clone() for name, p in policy.base.named_parameters() if not p.requires_grad}
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))  # so that there is something to learn
    features = policy.features([scene.frames for scene in drawn])

    def answering() -> float:
        asked = [[(q.question, q.answer) for q in scene.questions] for scene in drawn]
        with torch.no_grad():
            return float(-score(policy, features, [scene.frames for scene in drawn], asked).logprobs.mean())

    before = answering()
    read(policy, drawn, steps=12, batch=8)
    assert answering() < before - 0.05
    assert vision and all(torch.equal(vision[name], p) for name, p in policy.base.named_parameters() if name in vision)


def test_a_pupil_goes_on_from_its_own_weights(fresh: Any) -> None:
    pupil = Pupil(fresh)
    saved = pupil.weights()
    with torch.no_grad():
        for parameter in pupil.parameters():
            parameter.add_(1)
    pupil.put(saved)
    again = pupil.weights()
    assert all(torch.equal(saved[part][name], again[part][name]) for part in saved for name in saved[part])


def test_the_shipped_model_sees(drawn: list[Any]) -> None:
    """Accuracy on held-out scenes is far from chance; the model card has the exact figures."""
    right = quiz(load(PolicyConfig(train="all"), -np.ones(3), np.ones(3)), drawn)
    assert right["where"][0] > 0.85 and right["relation"][0] > 0.65 and right["done"][0] > 0.9


def test_the_shipped_model_is_small_and_plain() -> None:
    folder = Path("policies/nano")
    weights = folder / "model.safetensors"
    assert weights.stat().st_size < 10_000_000
    assert not list(folder.glob("*.bin")) + list(folder.glob("*.pt"))
    policy = load(PolicyConfig(train="all"), -np.ones(3), np.ones(3))
    assert sum(p.numel() for p in policy.parameters()) < 5_000_000


def test_of_a_scene_with_plans_two_are_asked_and_no_question_twice() -> None:
    questions = [Question("plan", f"plan {i}", "a") for i in range(4)] + [Question("where", f"where {i}", "b") for i in range(9)]
    scenes = [Scene(np.zeros((1, 8, 8, 3), np.uint8), tuple(questions)), Scene(np.zeros((1, 8, 8, 3), np.uint8), tuple(questions[4:]))]
    seen = [[[q for q, _ in row] for row in teach._ask(scenes, 6, (0, step))] for step in range(20)]
    for rich, plain in seen:
        assert len(set(rich)) == len(set(plain)) == 6 and [q[:4] for q in rich[:2]] == ["plan", "plan"]
    assert len({q for rich, _ in seen for q in rich}) == 13, "every question has its turn"
