"""Variations: each changes what it names, by the seed, and nothing else."""

import itertools
from typing import Any

import gymnasium
import numpy as np
import pytest

import envs
from envs.adapt import Adapter
from envs.tasks.base import COLOURS
from envs.tasks.reach import Reach
from envs.tasks.variation import Variation


def opening(task: str, seed: int, **variation: object) -> tuple[np.ndarray, np.ndarray, str, list[float]]:
    env = gymnasium.make(task, variation=variation)
    seen, info = env.reset(seed=seed)
    state, rewards = seen["state"], []
    for action in np.random.default_rng(seed).uniform(-1, 1, (4, *env.action_space.shape)).astype(np.float32):  # type: ignore[misc]
        rewards.append(float(env.step(action)[1]))
    return seen["front"], state, info["instruction"], rewards


@pytest.mark.parametrize("task", envs.TASKS)
@pytest.mark.parametrize("change", [{"camera": 0.05}, {"light": 0.4}, {"distractors": 3}], ids=str)
def test_what_is_seen_changes_and_what_happens_does_not(task: str, change: dict) -> None:
    usual, variation_environments, again = opening(task, 3), opening(task, 3, **change), opening(task, 3, **change)
    assert np.abs(usual[0].astype(int) - variation_environments[0]).mean() > 0.3
    np.testing.assert_array_equal(variation_environments[0], again[0])
    np.testing.assert_allclose(usual[1], variation_environments[1], atol=1e-6)
    np.testing.assert_allclose(usual[3], variation_environments[3], atol=1e-5)
    assert usual[2] == variation_environments[2]


@pytest.mark.parametrize("task", envs.TASKS)
def test_other_words_say_the_same_and_success_follows_the_task(task: str) -> None:
    env = gymnasium.make(task, cameras=(), variation={"wording": "other"})
    own = {opening(task, seed)[2] for seed in range(6)}
    for seed in range(6):
        _, info = env.reset(seed=seed)
        said, usual = info["instruction"], opening(task, seed)[2]
        assert said not in own and [w for w in said.split() if w in COLOURS] == [w for w in usual.split() if w in COLOURS]
        over = False
        while not over:
            _, _, terminated, truncated, info = env.step(env.unwrapped.oracle())  # type: ignore[attr-defined]
            over = terminated or truncated
        assert info["is_success"] == (said in info["achieved"])


@pytest.mark.parametrize("task", envs.TASKS)
def test_seen_and_unseen_pairs_share_nothing(task: str) -> None:
    named = {}
    for pairs in ("seen", "unseen"):
        env = gymnasium.make(task, cameras=(), variation={"pairs": pairs})
        said = [env.reset(seed=seed)[1]["instruction"].split() for seed in range(40)]
        named[pairs] = [{(a, b) for a, b in itertools.pairwise(words) if a in COLOURS} for words in said]
    practised = set().union(*named["seen"])
    assert len(practised) >= 4 and all(each - practised for each in named["unseen"]), "every unseen instruction names a pair that was never practised"


def test_distractors_stand_apart() -> None:
    env = gymnasium.make("etude/Reach-v0", cameras=(), variation={"distractors": 4})
    for seed in range(20):
        env.reset(seed=seed)
        inner: Any = env.unwrapped
        places = np.array([inner.position(body)[:2] for body in inner.colours])
        assert len(places) == 8
        assert (np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(8)).min() > 0.06


@pytest.mark.parametrize(("given", "says"), [({"kamera": 1}, "Unknown variation 'kamera'"), ({"pairs": "none"}, "it is one of all, seen, unseen")])
def test_a_wrong_variation_is_one_sentence(given: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        gymnasium.make("etude/Reach-v0", variation=given)


def test_by_default_nothing_differs() -> None:
    assert Variation() == Variation(camera=0, light=0, wording="own", distractors=0, pairs="all")


class Plain(Reach):
    """A task that says its instruction in no other words, and names no colour in it."""

    wordings = ()

    def arrange(self, rng: np.random.Generator) -> None:
        super().arrange(rng)
        self.instruction = "touch it"


@pytest.mark.parametrize(
    ("variation", "says"), [({"wording": "other"}, "has no paraphrases"), ({"pairs": "unseen"}, "none of 1000 scenes .* set it to 'all'")]
)
def test_a_new_task_without_other_words_or_colours_is_one_sentence(variation: dict, says: str) -> None:
    """A class is all that a new task needs; what it does not say is asked for in a sentence."""
    usual = Adapter(envs.EnvConfig(id=f"{__name__}:Plain", cameras=("front",)))
    assert usual.reset(0).instruction == "touch it"
    with pytest.raises(ValueError, match=says):
        Adapter(envs.EnvConfig(id=f"{__name__}:Plain", cameras=("front",), kwargs={"variation": variation})).reset(0)
