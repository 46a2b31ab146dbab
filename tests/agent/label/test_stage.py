"""Who labels: with the critic alone, nothing that the environment says of practice reaches a lesson, whatever way it takes."""

import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.collect.jobs import practice_jobs
from agent.collect.stage import practise
from agent.config.config import Config
from agent.curate.stage import study
from agent.improve import warm_start
from agent.label.calibration import sight
from agent.label.detector import nearness, opine
from agent.label.referee import held_out
from agent.label.stage import critic_lessons, judge
from agent.records import Episode, Label, Lessons
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
            "cycles": 2, "threads": 1, "policy": {"rows": 8, "prompt": "{instruction}"}, "ground": {"steps": 0},
            "env": {"id": f"{tmp_path / 'easy.py'}:Easy", "cameras": ("eye",), "instruction": "be done", "horizon": 12, "action_repeat": 2,
                    "kwargs": kwargs or {}},
            "demonstrate": {"episodes": 4, "steps": 2, "batch": 8}, "collect": {"seeds": 2, "takes": 3, "num_envs": 4},
            "tune": {"batch": 16, "epochs": 1}, "curate": {"hindsight": 1.0}, "track": {"mode": "off", "films": False}, **changes,
        })  # fmt: skip
        session = Session(Run(tmp_path / name, config).begin())
        track = Track(session.run.folder, config)
        champion, cycle = warm_start(session, track), session.run.cycle(1)
        practise(session, champion, cycle, track)
        return session, champion, cycle, track

    return make


def told_by(session: Session, champion: Any, cycle: Any, track: Track) -> tuple[list[Episode], list[Label], list[str]]:
    """Return the episodes as stage `label` labels them, their labels, and its alarms."""
    alarms = judge(session, champion, cycle, track)
    episodes = labelled(session.run, cycle)
    return episodes, [Label.of(episode) for episode in episodes], alarms


def lessons_of(session: Session, champion: Any, cycle: Any, track: Track) -> Lessons:
    return study(session, champion, cycle, track, partial(critic_lessons, session.run))


@pytest.mark.parametrize("credit", ["progress", "steps"])
def test_labels_are_held_against_the_environments_rewards_whoever_gives_credit(credit: str, prepared: Any) -> None:
    collect = {"seeds": 8, "takes": 3, "num_envs": 4}
    session, champion, cycle, track = prepared(credit, {"wrong": True}, collect=collect, curate={"credit": credit})
    _, labels, alarms = told_by(session, champion, cycle, track)
    assert 5 <= sum(each.success for each in labels) <= 19 and len(alarms) == 1 and "labels contradict rewards" in alarms[0]
    session.close()


def test_where_the_critic_labels_practice_does_not_end_at_a_success(prepared: Any) -> None:
    for by, length in (("env", 1), ("critic", 6)):
        session, _, cycle, _ = prepared(by, label={"by": by})
        assert {len(episode) for episode in session.run.episodes(cycle.folder)} == {length}
        session.close()


def test_where_the_reward_says_nothing_the_critic_tells_how_a_take_went(prepared: Any) -> None:
    for sparse in (True, False):
        session, champion, cycle, track = prepared(f"sparse-{sparse}", label={"by": "both", "lessons": 8}, kwargs={"sparse": sparse})
        seen, labels, _ = told_by(session, champion, cycle, track)
        told = session.run.episodes(cycle.folder)
        assert [label.success for label in labels] == [episode.success for episode in told] == [episode.success for episode in seen]
        opinions = load(cycle.folder / "critic.json")["opinions"]
        for before, after, opinion in zip(told, seen, opinions, strict=True):
            if sparse:
                assert len(opinion) == len(before) + 1 == len(after) + 1
                rises, told = np.diff(after.closing), np.diff(opinion[1:])
                assert (rises * told >= 0).all() and ((after.rewards > 0) & (after.rewards < 1)).all(), "calibrated opinions instead of -1 and 0"
            else:
                np.testing.assert_array_equal(before.rewards, after.rewards)
        session.close()


def test_the_referee_learns_from_demonstrations_alone_and_the_champion_from_every_cycle(prepared: Any) -> None:
    """Without study its opinions are those of a model that was never trained, whoever acts; the champion's are not, and it is taught to judge."""
    far, taught = {}, {}
    for name, label in (("as it is", {"judge": "referee", "study": 0}), ("studied", {"judge": "referee", "study": 3}), ("champion", {})):
        session, champion, cycle, track = prepared(name, label={"by": "critic", "lessons": 8, **label})
        policy, takes = session._load({}), session.run.episodes(cycle.folder)
        untrained = opine(policy, takes, session.run.config.label.question)
        judge(session, champion, cycle, track)
        told = load(cycle.folder / "critic.json")["opinions"]
        far[name] = max(float(np.abs(np.array(a) - b).max()) for a, b in zip(told, untrained, strict=True))
        lessons = lessons_of(session, champion, cycle, track)
        taught[name] = lessons and len(lessons.answers)
        assert session.play(champion).name == champion.name, "who judged does not act"
        if name == "studied":
            assert load(session.run.folder / "start" / "referee.json")["figures"]["steps"] == 3
        session.close()
    assert far["as it is"] < 1e-4 < min(far["studied"], far["champion"])
    assert taught["champion"] and taught["as it is"] == taught["studied"] == 0, "lessons, but none in judging"


def test_how_far_it_is_counts_beside_the_yes(prepared: Any) -> None:
    told = {}
    for way in ("", WAY):
        session, champion, cycle, track = prepared(f"way {bool(way)}", {"sparse": True}, label={"by": "critic", "way": way})
        judged, _, _ = told_by(session, champion, cycle, track)
        told[way] = np.concatenate(load(cycle.folder / "critic.json")["opinions"])
        if way:
            policy, takes, shown = (
                session.play(champion),
                session.run.episodes(cycle.folder),
                held_out(session.run.episodes(session.run.folder / "start")),
            )
            (words, seen), (others, far) = ((opine(policy, some, QUESTION), nearness(policy, some, WAY)) for some in (shown, takes))
            expected = sight(words, seen, shown)(np.concatenate(others), np.concatenate(far))
            np.testing.assert_allclose(told[way], expected, atol=1e-4)
            for episode, near in zip(judged, far, strict=True):  # what is progress: to be nearer, not to be surer
                np.testing.assert_allclose(episode.closing, near[1 : len(episode) + 1], atol=1e-4)
        session.close()
    assert told[""].shape == told[WAY].shape and np.abs(told[""] - told[WAY]).max() > 1e-3


def test_a_referee_changes_nothing_for_the_actor(prepared: Any) -> None:
    """What is imitated ends at a success, whether or not the demonstrations go on after it; and imitation begins at the base model."""
    names = []
    for label in ({"judge": "champion"}, {"by": "critic", "judge": "referee", "study": 3}):
        session, champion, _, _ = prepared(str(label), label=label)
        names.append(champion.name)
        session.close()
    assert names[0] == names[1]


@pytest.mark.slow
@pytest.mark.parametrize(("credit", "way"), [("progress", WAY), ("steps", "")])
def test_an_environment_that_lies_changes_no_lesson_and_no_next_practice(
    credit: str, way: str, prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    label, collect, curate = {"by": "critic", "lessons": 8, "way": way}, {"seeds": 4, "takes": 4, "num_envs": 4}, {"hindsight": 1.0, "credit": credit}
    session, champion, cycle, track = prepared("run", label=label, collect=collect, curate=curate)
    monkeypatch.setattr("agent.label.calibration.Calibration.__call__", lambda self, opinions: _yes_to_some(opinions))
    truth, made = Run.episodes, []

    def lying(self: Run, folder: Path) -> list[Episode]:
        return truth(self, folder) if folder.name == "start" else [lie(episode) for episode in truth(self, folder)]

    for read in (truth, lying):
        monkeypatch.setattr(Run, "episodes", read)
        for stage in ("critic", "countdown", "label", "curate"):
            (cycle.folder / f"{stage}.json").unlink(missing_ok=True)
        _, labels, _ = told_by(session, champion, cycle, track)
        lessons = lessons_of(session, champion, cycle, track)
        made.append((lessons, labels, practice_jobs(session.run, session.run.cycle(2))))
    (one, labels, jobs), (other, labels_of_lies, other_jobs) = made
    assert len({label.success for label in labels}) == 2, "takes of both kinds, by the critic"
    assert one.trials and one.answers and jobs == other_jobs and labels == labels_of_lies
    assert [t.advantage for t in one.trials] == [t.advantage for t in other.trials]
    for kind in ("demonstrations", "trials", "answers"):
        for a, b in zip(getattr(one, kind), getattr(other, kind), strict=True):
            for name, value in vars(a).items():
                np.testing.assert_equal(vars(value) if hasattr(value, "frames") else value, _plain(vars(b)[name]))
    session.close()


def _yes_to_some(opinions: np.ndarray) -> np.ndarray:
    """Be sure of the last moment of about every second take, whatever the model says of it."""
    last = np.arange(len(opinions)) == len(opinions) - 1
    return np.where(last & (zlib.crc32(np.asarray(opinions, np.float64).tobytes()) % 2 == 0), 0.9, 0.1)


def _plain(value: Any) -> Any:
    return vars(value) if hasattr(value, "frames") else value


def lie(episode: Episode) -> Episode:
    """The same take, as an environment would tell of it that means to mislead."""
    return replace(
        episode,
        rewards=-3 * episode.rewards[::-1],
        success=False,
        first_success=None,
        success_at_end=False,
        terminated=True,
        truncated=False,
        achieved=("do something else",),
        unasked=("do something else", 0),
    )
