"""Who labels: with the detector alone, nothing that the environment says of practice reaches a lesson, whatever way it episodes."""

import shutil
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.collect.jobs import practice_jobs
from agent.collect.stage import collect
from agent.config.config import Config
from agent.curate.stage import curate
from agent.improve import warm_start
from agent.label.base_detector import held_out
from agent.label.calibration import combine
from agent.label.detector import detect, proximity
from agent.label.stage import detector_examples, label
from agent.records import Episode, Label, TrainingData
from agent.rollout.session import Session
from agent.run.files import load
from agent.run.folder import Run
from agent.run.labels import labelled
from agent.run.tracking import Track

QUESTION, WAY = "is it done: {instruction} ?", "{instruction} : how far to the first ?"
ENVIRONMENT = """
import gymnasium
import numpy as np


class Easy(gymnasium.Env):
    '''Always solved at once; goes on all the same.'''

    action_space = gymnasium.spaces.Box(-1, 1, (2,))
    observation_space = gymnasium.spaces.Dict({"eye": gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)})

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.look(), {}

    def look(self):
        return {"eye": self.np_random.integers(0, 255, (16, 16, 3), dtype=np.uint8)}

    def __init__(self, sparse=False, wrong=False):
        self.sparse, self.wrong = sparse, wrong

    def step(self, action):
        seen, luck = self.look(), self.np_random.random()
        if self.sparse:
            return seen, float(luck < 0.15) - 1.0, False, False, {"success": luck < 0.15}
        return seen, float(luck), False, False, {"success": luck < 0.04 if self.wrong else True}

    def oracle(self, steps):
        return np.zeros(2)
"""


@pytest.fixture
def prepared(tmp_path: Path) -> Any:
    """Return a function that makes a run with one cycle practised, and what belongs to it."""
    (tmp_path / "easy.py").write_text(ENVIRONMENT)

    def make(name: str, kwargs: Any = None, **changes: Any) -> tuple[Session, Any, Any, Track]:
        config = Config(**{
            "cycles": 2, "threads": 1, "policy": {"batch_size": 8, "prompt": "{instruction}"}, "ground": {"steps": 0},
            "env": {"id": f"{tmp_path / 'easy.py'}:Easy", "cameras": ("eye",), "instruction": "be done", "max_episode_steps": 12, "action_repeat": 2,
                    "kwargs": kwargs or {}},
            "demonstrate": {"episodes": 4, "steps": 2}, "collect": {"num_seeds": 2, "episodes_per_seed": 3, "num_envs": 4},
            "tune": {"batch_size": 16, "epochs": 1}, "curate": {"hindsight_weight": 1.0}, "track": {"mode": "off", "videos": False}, **changes,
        })  # fmt: skip
        session = Session(Run(tmp_path / name, config).begin())
        track = Track(session.run.folder, config)
        champion, cycle = warm_start(session, track), session.run.cycle(1)
        collect(session, champion, cycle, track)
        return session, champion, cycle, track

    return make


def test_what_is_drawn_before_the_first_cycle_is_drawn_apart(prepared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No generator begins as another does: neither as the noise of a demonstration, nor as the order of the warm start's training data."""
    begun: list[tuple[Any, int]] = []  # seed, and the state of its generator
    real = np.random.default_rng

    def watched(seed: Any = None) -> np.random.Generator:
        rng = real(seed)
        if isinstance(seed, list | tuple) and len(seed) > 1:
            begun.append((tuple(seed), rng.bit_generator.state["state"]["state"]))
        return rng

    monkeypatch.setattr(np.random, "default_rng", watched)
    monkeypatch.setattr("agent.label.base_detector.STEPS", 2)
    label_by, credit = {"by": "detector", "detector": "base"}, {"credit": "steps_to_go"}
    prepared("apart", {"wrong": True}, label=label_by, curate=credit, demonstrate={"episodes": 12, "steps": 2, "noise": 0.1})[0].close()
    rare = {seed for seed, _ in begun if len(seed) >= 5}
    assert {seed[4] for seed in rare} == {1, 2, 3}, "those of steps to go, of the base-model detector, and of pairs of demonstrations"
    assert {(0, 0, i) for i in range(12)} < {seed for seed, _ in begun}, "the noise of twelve demonstrations"
    states = dict(begun)
    of_rare = [states[seed] for seed in rare]
    assert len(set(of_rare)) == len(rare) and not set(of_rare) & {state for seed, state in states.items() if seed not in rare}


def told_by(session: Session, champion: Any, cycle: Any, track: Track) -> tuple[list[Episode], list[Label], list[str]]:
    """Return the episodes as stage `label` labels them, their labels, and its alarms."""
    alarms = label(session, champion, cycle, track)
    episodes = labelled(session.run, cycle)
    return episodes, [Label.of(episode) for episode in episodes], alarms


def training_data_of(session: Session, champion: Any, cycle: Any, track: Track) -> TrainingData:
    return curate(session, champion, cycle, track, partial(detector_examples, session.run))


@pytest.mark.parametrize("credit", ["progress", "steps_to_go"])
def test_labels_are_held_against_the_environments_rewards_whoever_gives_credit(credit: str, prepared: Any) -> None:
    practice = {"num_seeds": 8, "episodes_per_seed": 3, "num_envs": 4}
    session, champion, cycle, track = prepared(credit, {"wrong": True}, collect=practice, curate={"credit": credit})
    _, labels, alarms = told_by(session, champion, cycle, track)
    assert 5 <= sum(each.success for each in labels) <= 19 and len(alarms) == 1 and "labels contradict rewards" in alarms[0]
    session.close()


def test_where_the_detector_labels_practice_does_not_end_at_a_success(prepared: Any) -> None:
    for by, length in (("env", 1), ("detector", 6)):
        session, _, cycle, _ = prepared(by, label={"by": by})
        assert {len(episode) for episode in session.run.episodes(cycle.folder)} == {length}
        session.close()


def test_where_the_reward_says_nothing_the_detector_tells_how_a_episode_went(prepared: Any) -> None:
    for sparse in (True, False):
        session, champion, cycle, track = prepared(f"sparse-{sparse}", label={"by": "both"}, kwargs={"sparse": sparse})
        seen, labels, _ = told_by(session, champion, cycle, track)
        told = session.run.episodes(cycle.folder)
        assert [label.success for label in labels] == [episode.success for episode in told] == [episode.success for episode in seen]
        scores = load(cycle.folder / "detector.json")["scores"]
        for before, after, score in zip(told, seen, scores, strict=True):
            if sparse:
                assert len(score) == len(before) + 1 == len(after) + 1
                rises, told = np.diff(after.last_rewards), np.diff(score[1:])
                assert (rises * told >= 0).all() and ((after.rewards > 0) & (after.rewards < 1)).all(), "calibrated scores instead of -1 and 0"
            else:
                np.testing.assert_array_equal(before.rewards, after.rewards)
        session.close()


def test_the_base_detector_learns_from_demonstrations_alone_and_the_champion_from_every_cycle(prepared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without study its scores are those of a model that was never trained, whoever acts; the champion's are not, and it is taught to judge."""
    far, taught = {}, {}
    for name, (steps, detector) in {"as it is": (0, "base"), "studied": (3, "base"), "champion": (3, "champion")}.items():
        monkeypatch.setattr("agent.label.base_detector.STEPS", steps)
        session, champion, cycle, track = prepared(name, label={"by": "detector", "detector": detector})
        policy, attempts = session._load({}), session.run.episodes(cycle.folder)
        untrained = detect(policy, attempts, session.run.config.label.question)
        label(session, champion, cycle, track)
        told = load(cycle.folder / "detector.json")["scores"]
        far[name] = max(float(np.abs(np.array(a) - b).max()) for a, b in zip(told, untrained, strict=True))
        training_data = training_data_of(session, champion, cycle, track)
        taught[name] = training_data and len(training_data.qa_examples)
        assert session.load_checkpoint(champion).name == champion.name, "who judged does not act"
        if name == "studied":
            assert load(session.run.folder / "start" / "base_detector.json")["figures"]["steps"] == 3
        session.close()
    assert far["as it is"] < 1e-4 < min(far["studied"], far["champion"])
    assert taught["champion"] and taught["as it is"] == taught["studied"] == 0, "training data, but none in judging"


def test_how_far_it_is_counts_beside_the_yes(prepared: Any) -> None:
    told = {}
    for way in ("", WAY):
        session, champion, cycle, track = prepared(f"way {bool(way)}", {"sparse": True}, label={"by": "detector", "distance_question": way})
        cut_at_detected_success, _, _ = told_by(session, champion, cycle, track)
        told[way] = np.concatenate(load(cycle.folder / "detector.json")["scores"])
        if way:
            policy, attempts, shown = (
                session.load_checkpoint(champion),
                session.run.episodes(cycle.folder),
                held_out(session.run.episodes(session.run.folder / "start")),
            )
            (words, seen), (others, far) = ((detect(policy, some, QUESTION), proximity(policy, some, WAY)) for some in (shown, attempts))
            expected = combine(words, seen, shown)(np.concatenate(others), np.concatenate(far))
            np.testing.assert_allclose(told[way], expected, atol=1e-4)
            for episode, near in zip(cut_at_detected_success, far, strict=True):  # what is progress: to be nearer, not to be surer
                np.testing.assert_allclose(episode.last_rewards, near[1 : len(episode) + 1], atol=1e-4)
        session.close()
    assert told[""].shape == told[WAY].shape and np.abs(told[""] - told[WAY]).max() > 1e-3


def test_a_base_detector_changes_nothing_for_the_actor(prepared: Any) -> None:
    """What is imitated ends at a success, whether or not the demonstrations go on after it; and imitation begins at the base model."""
    names = []
    for settings in ({"detector": "champion"}, {"by": "detector", "detector": "base"}):
        session, champion, _, _ = prepared(str(settings), label=settings)
        names.append(champion.name)
        session.close()
    assert names[0] == names[1]


@pytest.mark.slow
@pytest.mark.parametrize(("credit", "way"), [("progress", WAY), ("steps_to_go", "")])
def test_an_environment_that_lies_changes_no_training_data_and_no_next_practice(
    credit: str, way: str, prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "label": {"by": "detector", "distance_question": way},
        "collect": {"num_seeds": 4, "episodes_per_seed": 4, "num_envs": 4},
        "curate": {"hindsight_weight": 1.0, "credit": credit},
    }
    session, champion, cycle, track = prepared("run", **settings)
    monkeypatch.setattr("agent.label.calibration.Calibration.__call__", lambda self, scores: _yes_to_some(scores))
    truth, made = Run.episodes, []

    def lying(self: Run, folder: Path) -> list[Episode]:
        return truth(self, folder) if folder.name == "start" else [lie(episode) for episode in truth(self, folder)]

    for read in (truth, lying):
        monkeypatch.setattr(Run, "episodes", read)
        for stage in ("detector", "steps_to_go", "label", "curate"):
            (cycle.folder / f"{stage}.json").unlink(missing_ok=True)
        _, labels, _ = told_by(session, champion, cycle, track)
        training_data = training_data_of(session, champion, cycle, track)
        made.append((training_data, labels, practice_jobs(session.run, session.run.cycle(2))))
    (one, labels, jobs), (other, labels_of_lies, other_jobs) = made
    assert len({label.success for label in labels}) == 2, "episodes of both kinds, by the detector"
    assert one.samples and one.qa_examples and jobs == other_jobs and labels == labels_of_lies
    assert [t.advantage for t in one.samples] == [t.advantage for t in other.samples]
    for kind in ("demonstrations", "samples", "qa_examples"):
        for a, b in zip(getattr(one, kind), getattr(other, kind), strict=True):
            for name, value in vars(a).items():
                np.testing.assert_equal(vars(value) if hasattr(value, "frames") else value, _plain(vars(b)[name]))
    session.close()


def _yes_to_some(scores: np.ndarray) -> np.ndarray:
    """Be sure of the last moment of about every second take, whatever the model says of it."""
    last = np.arange(len(scores)) == len(scores) - 1
    return np.where(last & (zlib.crc32(np.asarray(scores, np.float64).tobytes()) % 2 == 0), 0.9, 0.1)


def _plain(value: Any) -> Any:
    return vars(value) if hasattr(value, "frames") else value


def lie(episode: Episode) -> Episode:
    """The same episode, as an environment would tell of it that means to mislead."""
    return replace(
        episode,
        rewards=-3 * episode.rewards[::-1],
        success=False,
        first_success=None,
        success_at_end=False,
        terminated=True,
        truncated=False,
        achieved=("do something else",),
        hindsight=("do something else", 0),
    )


def test_a_faulty_episode_is_no_failure_of_the_policy(prepared: Any) -> None:
    """Every episode of this environment succeeds, and so does every one that no fault ended."""
    session, champion, cycle, track = prepared("faulty")
    first, *others = session.run.episodes(cycle.folder)
    arrays = {name: getattr(first, name)[:0] for name in ("actions", "tokens", "logprobs", "rewards")}
    blank = replace(first, frames=first.frames[:1], success=False, first_success=None, faults=("reset: it broke",), **arrays)
    shutil.rmtree(cycle.folder / "episodes")
    session.close()
    again = Session(Run(session.run.folder, session.config).begin())
    again.run.store(cycle.folder, [blank, *others], {first.task: 1.0})
    label(again, champion, cycle, track)
    assert load(cycle.folder / "label.json")["figures"] == {"episodes": 6, "success": 1.0}
    again.close()
