"""Grounding: the answers are true, by the pictures themselves."""

import itertools
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from agent.config.keys import Kind
from agent.config.read import read
from agent.ground import questions, unaided
from agent.ground.questions import look, scenes
from envs import EnvConfig
from envs.adapt import Adapter
from policies import load


def test_each_kind_of_the_config_belongs_to_a_source() -> None:
    assert {*questions.KINDS, *unaided.KINDS, *unaided.KINDS_OF_ENTRIES} == {*get_args(Kind)}


def test_questions_are_answered_consistently_with_the_state() -> None:
    adapter = Adapter(EnvConfig())
    stream = scenes(adapter, itertools.count(49_600_000), np.random.default_rng(0))
    kinds, done = set(), set()
    for scene in itertools.islice(stream, 150):
        assert len(scene.questions) >= 1 and scene.frames.shape == (2, 64, 64, 3)
        kinds |= {question.kind for question in scene.questions}
        done |= {question.answer for question in scene.questions if question.kind == "done"}
    assert (
        kinds <= {*questions.KINDS}
        and kinds == {"where", "offset", "way", "instruction", "relation", "colour", "count", "done"}
        and done == {"yes", "no"}
    )


def test_an_expert_that_fails_is_named_with_its_seed() -> None:
    def tired(adapter: Adapter) -> np.ndarray:
        raise TypeError("one argument is missing")

    with pytest.raises(ValueError, match=r"etude/Reach-v0: 5 of 5 seeds .*; the last was \d+, TypeError: one argument is missing\."):
        list(itertools.islice(scenes(Adapter(EnvConfig()), itertools.count(49_600_000), np.random.default_rng(0), tired), 30))


def test_a_seed_that_is_spoilt_costs_its_scenes_alone() -> None:
    def tired(adapter: Adapter) -> np.ndarray:
        tried.add(adapter.seed)
        if adapter.seed == 49_600_003:
            raise SystemExit
        return adapter.oracle()

    tried: set[int] = set()
    drawn = list(itertools.islice(scenes(Adapter(EnvConfig()), itertools.count(49_600_000), np.random.default_rng(0), tired), 30))
    assert len(drawn) == 30 and 49_600_003 in tried and max(tried) > 49_600_003


def test_done_follows_the_environment() -> None:
    adapter = Adapter(EnvConfig())
    adapter.reset(49_700_000)
    rng = np.random.default_rng(0)
    assert [q.answer for q in look(adapter, rng).questions if q.kind == "done"] == ["no"]
    while not adapter.achieved:
        adapter.step(adapter.oracle()[None], look=False)
    assert [q.answer for q in look(adapter, rng).questions if q.kind == "done"] == ["yes"]


@pytest.mark.parametrize("ends", [True, False])
def test_done_follows_the_success_of_an_environment_that_lists_no_instructions(ends: bool) -> None:
    """By this rule every move succeeds."""
    adapter = Adapter(
        EnvConfig(
            id="Reacher-v5",
            kwargs={"width": 48, "height": 48},
            size=32,
            action_repeat=1,
            instruction="touch the red ball",
            max_episode_steps=9,
            success="reward < 1",
            terminate_on_success=ends,
        )
    )
    drawn = list(itertools.islice(scenes(adapter, itertools.count(49_700_000), np.random.default_rng(0), None), 40))
    answers = {question.answer for scene in drawn for question in scene.questions if question.kind == "done"}
    assert answers == {"yes", "no"}, "no at the beginning, where nothing was reported yet, and yes after any move"


def test_offsets_of_a_pair_add_up() -> None:
    """From the tool to the first and on to the second is from the tool to the second; the far side is 5 cm behind, on the same line."""
    adapter, asked = Adapter(EnvConfig(id="etude/Push-v0")), 0
    for scene in itertools.islice(scenes(adapter, itertools.count(49_650_000), np.random.default_rng(0)), 40):
        qa_examples = {question.question: question.answer for question in scene.questions if question.kind != "plan"}
        plans = {question.question.split(" : ")[0]: question.answer for question in scene.questions if question.kind == "plan"}
        for text in {question.question.split(" : ")[0] for question in scene.questions if question.kind == "pair"}:
            asks = ("to the first", "to the second", "from the first to the second", "to the far side of the first")
            first, second, between, side = (_metres(qa_examples[f"{text} : how far {ask} ?"]) for ask in asks)
            np.testing.assert_allclose(first + between, second, atol=0.02)  # three roundings of at most 6 mm
            np.testing.assert_allclose(side - first, -0.05 * between / np.linalg.norm(between), atol=0.02)
            steps = [qa_examples[f"{text} : how far {asks[i]} ?"] for i in (0, 1, 2, 3)]
            assert re.findall(r"<n\d+>", plans[text]) == re.findall(r"<n\d+>", "".join(steps)), "a plan is the four answers in a row"
            asked += 1
    assert asked > 30


def _metres(answer: str) -> np.ndarray:
    return np.array([(int(number) / 32 - 1) * 0.4 for number in re.findall(r"<n(\d+)>", answer)])


def test_the_thought_of_push_is_written_as_a_plan_is() -> None:
    """Token by token: where the action stands, the model has learnt to write the answer to the last question."""
    run = read(Path("configs/push.yaml"))
    adapter = Adapter(run.envs[0])
    policy = load(run.policy, adapter.actions.low, adapter.actions.high)
    stream = scenes(adapter, itertools.count(49_660_000), np.random.default_rng(0))
    plan = next(q for scene in stream for q in scene.questions if q.kind == "plan")
    target_actions = policy.processor.tokenizer.encode(plan.answer, add_special_tokens=False)
    chosen = policy.processor.tokenizer.convert_tokens_to_ids(re.findall(r"<n\d+>", plan.answer))
    said, _ = policy._full_reply(torch.tensor([chosen]))
    assert said[0].tolist() == target_actions
