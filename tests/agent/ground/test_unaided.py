"""Questions that need no simulator: measured against the example's own positions, which only the test may look at."""

import itertools
import re
from collections import defaultdict
from typing import Any

import gymnasium
import numpy as np
import pytest

from agent.ground import unaided
from agent.ground.chance import constant_answers, no_better
from agent.ground.clips import Clip, play, read
from agent.ground.entries import entries, ranges
from agent.ground.pictures import change, colour_spots, movers, vivid
from agent.ground.scenes import Question, Scene
from agent.ground.wording import OWN, Wording
from envs import EnvConfig
from envs.adapt import Adapter
from policies import PolicyConfig, load

POINT_GOAL = EnvConfig(id="examples/point_goal.py:PointGoal", cameras=("pixels",), action_repeat=2, max_episode_steps=48)
SOURCES = {"dot": "info.dot_xy", "goal": "info.goal_xy"}


class Passing(gymnasium.Env):
    """A red block goes to the right, and is at the goal for two steps in the middle of its way. Every third seed reports three coordinates."""

    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Dict({"eye": gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)})

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.x, self.count = 0, 3 if (seed or 0) % 3 == 0 else 2
        return self._look(), self._info()

    def step(self, action: Any) -> Any:
        self.x += int(action)
        return self._look(), 0.0, False, False, self._info()

    def oracle(self, steps: int) -> int:
        return 1

    def _info(self) -> dict[str, Any]:
        return {"success": self.x in (3, 4), "place": np.full(self.count, self.x, np.float64), "growing": np.zeros(1 + (self.x > 2))}

    def _look(self) -> dict[str, np.ndarray]:
        frame = np.full((16, 16, 3), 128, np.uint8)
        frame[4:8, self.x : self.x + 3] = (220, 20, 20)
        return {"eye": frame}


PASSING = EnvConfig(
    id=f"{__name__}:Passing", cameras=("eye",), size=16, instruction="go right", max_episode_steps=10, action_repeat=1, terminate_on_success=False
)


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    """Ten of the expert and ten of random motion."""
    adapter, rng, found = Adapter(POINT_GOAL), np.random.default_rng(0), []
    for seed in itertools.count(49_800_000):
        clip = play(adapter, seed, rng.spawn(1)[0], Adapter.oracle, SOURCES)
        if sum(each.shown == clip.shown for each in found) < 10:
            found.append(clip)
        if len(found) == 20:
            return found
    raise AssertionError


def asked(clips: list[Clip], wording: Wording = OWN) -> dict[str, list[Question]]:
    """Return the questions about all these episodes, by kind."""
    rng, spans, found = np.random.default_rng(0), ranges([clip.values for clip in clips]), defaultdict(list)
    for clip, before in zip(clips, clips[1:] + clips[:1], strict=True):
        scenes = [*unaided._moments(clip, rng, spans, wording), *unaided._pairs(clip, before, rng, lambda actions: actions / 4, wording)]
        for question in (question for scene in scenes for question in scene.questions):
            found[question.kind].append(question)
    return found


def test_the_goal_is_where_its_colour_is_and_the_dot_is_what_moves(clips: list[Clip]) -> None:
    """Within three and six pixels of 64: neither was told."""
    for clip in clips:
        colour, seen = clip.instruction.split()[3], 0
        for t, (frames, moving) in enumerate(zip(clip.frames, movers(clip.frames[:, 0]), strict=True)):
            spots = colour_spots(frames[0])
            if colour in spots:  # the dot may lie over the disc, and cut it in two
                assert np.abs(np.subtract(spots[colour], clip.values["goal"][t])).max() < 0.05
            if moving is not None:
                seen += 1
                assert np.abs(np.subtract(moving, clip.values["dot"][t])).max() < 0.1
        assert seen or not clip.shown


def test_a_grey_frame_has_no_colours_and_a_still_one_no_movers() -> None:
    still = np.full((5, 16, 16, 3), 128, np.uint8)
    assert colour_spots(still[0]) == {} and vivid(still[0], 3, np.random.default_rng(0)) == []
    assert list(movers(still)) == [None] * 5 and change(still[0], still[1]) is None
    two = still[0].copy()
    two[2:5, 2:5] = two[10:13, 10:13] = (220, 20, 20)
    assert colour_spots(two) == {}, "which of two red things is meant would be unknown"


def test_answers_follow_from_actions_and_time(clips: list[Clip]) -> None:
    found = asked(clips)
    assert {"where", "way", "instruction", "colour", "left", "done", "action", "apart", "same", "moved", "position"} <= found.keys()
    assert {question.answer for question in found["apart"]} <= set("123456")
    assert {question.answer for question in found["same"]} == {question.answer for question in found["done"]} == {"yes", "no"}
    assert {question.answer for question in found["action"]} <= {OWN.write(k / 4) for k in range(5)}


def test_the_experts_actions_are_no_answers(clips: list[Clip]) -> None:
    """They are taught by the demonstrations, of which a run has as many as its config says."""
    shown, random = (asked([clip for clip in clips if clip.shown is of]) for of in (True, False))
    assert "action" not in shown and "action" in random
    assert "left" in shown and "left" not in random


def test_a_success_in_the_middle_of_an_episode_is_one() -> None:
    """Where episodes go on after it (`env.terminate_on_success`): it is asked about as it is at each moment."""
    adapter, rng = Adapter(PASSING), np.random.default_rng(0)
    played = (play(adapter, seed, rng, Adapter.oracle, {}) for seed in itertools.count(49_700_000))
    clip = next(each for each in played if each.shown)
    assert len(clip.actions) == 10
    answers = [[question.answer for question in unaided.done(clip, t, OWN)] for t in range(11)]
    assert answers == [["no"]] * 3 + [["yes"]] * 2 + [["no"]] * 6
    assert [[question.answer for question in unaided.left(clip, t, OWN)] for t in range(11)] == [["3"], ["2"], ["1"], ["0"], *[[]] * 7]
    done = [q.answer for scene in unaided._moments(clip, rng, {}, OWN) for q in scene.questions if q.kind == "done"]
    assert "yes" in done, "its first success is among the moments"


def test_a_scene_keeps_no_other_frames_of_its_episode(clips: list[Clip]) -> None:
    scenes = list(unaided._moments(clips[0], np.random.default_rng(0), ranges([clips[0].values]), OWN))
    assert scenes and all(scene.frames.base is None for scene in scenes)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("info.place", "'it' is 'info.place', which is 2 numbers at one moment and 3 at another; name a position"),
        ("info.growing", "1 numbers at one"),
    ],
)
def test_a_position_of_another_size_is_one_sentence(source: str, says: str) -> None:
    stream = unaided.scenes(
        Adapter(PASSING), itertools.count(49_700_000), np.random.default_rng(0), Adapter.oracle, lambda action: action, {"it": source}
    )
    with pytest.raises(ValueError, match=says):
        list(itertools.islice(stream, 1000))


def test_every_question_has_plain_english_words(clips: list[Clip]) -> None:
    found = asked(clips, Wording(english=True, numbers="digits"))
    own = asked(clips)
    assert found.keys() == own.keys()
    texts = [question.question for kind, questions in found.items() if kind != "done" for question in questions]
    asked_texts = [re.sub(r" Task: go to the \w+ disc\.$", "", text) for text in texts]
    assert all(text[0].isupper() and text.endswith("?") and " ?" not in text for text in asked_texts)


def test_instructions_are_asked_with_each_colour_that_is_seen() -> None:
    spots = [{"red": (0.25, 0.5), "blue": (0.75, 0.5)}]
    found = {question.question: question.answer for question in unaided.instructed("go to the red disc", spots, [(0.5, 0.5)], OWN)}
    assert found["go to the blue disc : where is the first in view 1 ?"] == OWN.write(0.75, 0.5)
    assert found["go to the red disc : how far to the first ?"] == OWN.write(0.375, 0.5)
    assert not list(unaided.instructed("go to the disc", spots, [None], OWN))


def test_positions_are_asked_in_the_entrys_own_axes() -> None:
    values = {"ball": np.array([0.0, 0.0]), "goal": np.array([4.0, 0.0]), "hand": np.array([1.0, 2.0])}
    found = {question.question: question.answer for question in entries(values, ranges([{k: v[None] for k, v in values.items()}]), OWN)}
    assert found["where is the goal ?"] == OWN.write(1, 0) and found["is the ball left of the goal ?"] == "yes"
    assert found["is the hand nearer to the ball than the goal is ?"] == "yes"
    assert found["how far is it from the goal to the ball ?"] == OWN.write(0, 0.5)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("info.bal_xy", "info holds 'success', 'instruction', 'dot_xy', 'goal_xy'; name numbers that it holds"),
        ("observation.pixels", "name one to three finite numbers"),
        ("info.instruction", "name numbers that it holds"),
        ("state.ball", "begin it with info. or observation."),
    ],
)
def test_a_position_that_is_not_there_is_one_sentence(source: str, says: str) -> None:
    adapter = Adapter(POINT_GOAL)
    adapter.reset(0, look=False)
    with pytest.raises(ValueError, match=r"ground\.from says that 'ball' is") as error:
        read(adapter, "ball", source)
    assert says in str(error.value) and len(str(error.value)) < 300


def test_scenes_of_one_and_of_two_moments_are_taught_together() -> None:
    """A batch holds both, whose frames differ in number; every kind is asked again on scenes that were held out."""
    from agent.ground import train as teach

    adapter = Adapter(POINT_GOAL)
    policy: Any = load(PolicyConfig(train="all"), adapter.actions.low, adapter.actions.high, adapter.actions.counts)
    stream = unaided.scenes(adapter, itertools.count(49_900_000), np.random.default_rng(0), Adapter.oracle, policy.codec.shares, {})
    scenes, rows = list(itertools.islice(stream, 40)), []
    assert {len(scene.frames) for scene in scenes} == {1, 2}
    teach.see(policy, scenes, steps=3, batch=8, watch=lambda step, figures: rows.append(figures["answering"]))
    right, constant = teach.quiz(policy, scenes), constant_answers(policy, scenes)
    assert len(rows) == 3 and np.isfinite(rows).all() and right.keys() == constant.keys()


def test_a_kind_that_is_not_seen_is_told_from_one_that_is() -> None:
    adapter = Adapter(POINT_GOAL)
    policy: Any = load(PolicyConfig(), adapter.actions.low, adapter.actions.high, adapter.actions.counts)
    answers = ["yes"] * 6 + ["no"] * 4
    asked = [(Question("done", "?", each), Question("where", "?", f"<n{6 * i}>")) for i, each in enumerate(answers)]
    scenes = [Scene(np.zeros((1, 8, 8, 3), np.uint8), questions) for questions in asked]
    constant = constant_answers(policy, scenes)
    assert constant == {"done": 0.6, "where": 0.1}
    assert no_better({"done": (0.62, 100), "where": (0.9, 100)}, constant) == ["done"]
