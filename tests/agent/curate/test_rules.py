"""Curation: what becomes a lesson, and which way its credit points."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agent.config.keys import CurateConfig
from agent.curate.rules import best_episodes, decision_pairs, first_difference, relabel, replay, training_data_from, trajectory_pairs
from agent.records import Episode, Label, TrainingData
from tests.agent.made import episode

RNG = np.random.default_rng


def teach(episodes: list[Episode], library: list[Episode] | None = None, mixed_only: bool = False, **config: object):
    labels, rules = list(map(Label.of, episodes)), CurateConfig(**config)  # type: ignore[arg-type]
    return training_data_from(episodes, labels, library or [], rules, RNG(0), mixed_only=mixed_only)


def test_only_mixed_seeds_make_demonstrations_and_pairs() -> None:
    same = [episode(1, 0, [0.1, 0.2], False), episode(1, 1, [0.1, 0.2], False), episode(2, 0, [1.0], True), episode(2, 1, [1.0], True)]
    training_data = teach(same, mixed_only=True)
    assert not training_data and training_data.notes["mixed_seeds"] == 0
    mixed = [*same, episode(3, 0, [0.5, 1.0], True), episode(3, 1, [0.2, 0.1], False)]
    training_data = teach(mixed, mixed_only=True)
    assert len(training_data.demonstrations) == 2 and len(training_data.pairs) == 1 and len(training_data.samples) == 4
    assert training_data.notes["pass_at_k"] == pytest.approx(2 / 3)


def test_lookahead_episodes_are_shown_in_full_and_earlier_ones_through_replay() -> None:
    attempts = [episode(1, 0, [0.1, 0.2], False), episode(1, 1, [0.1, 0.2], False)]
    failed = [episode(8, 0, [0.1, 0.5, 0.2], False), episode(9, 0, [0.1] * 4, False)]  # what is told in them is better than what was done
    led, library = [episode(7, 0, [0.5, 1.0], True), failed[0]], [episode(10, 0, [0.1] * 5 + [1.0], True), failed[1]]
    for count, earlier in ((2, 2), (100, 6 + 4)):
        training_data = training_data_from(attempts, list(map(Label.of, attempts)), library, CurateConfig(replay=count), RNG(0), lookahead=led)
        assert len(training_data.demonstrations) == earlier + 5


def test_the_fastest_success_is_the_best_episode_and_ends_at_its_success() -> None:
    slow, fast = episode(3, 0, [0.2, 0.5, 1.0], True), episode(3, 1, [0.5, 1.0], True)
    attempts = [(each, Label.of(each)) for each in (slow, fast, episode(3, 2, [0.1], False))]
    shown = best_episodes(attempts, 1)
    assert [d.tokens[0] for d in shown] == [100, 101]


@pytest.mark.parametrize("make", [decision_pairs, trajectory_pairs])
def test_actions_that_differ_by_less_than_a_bin_make_no_pair(make: Any) -> None:
    """As in a dataset, whose actions are finer than the bins: both are the same reply."""
    good = episode(0, 0, [0.1, 0.9], True, tokens=[3, 4])
    bad = replace(episode(0, 1, [0.1, 0.2], False, tokens=[3, 5]), actions=good.actions + np.float32(0.001))
    attempts = [(each, Label.of(each)) for each in (good, bad)]
    assert make(attempts, 2, np.random.default_rng(0)) == []


def test_pairs_stand_at_the_first_decision_that_differs_and_share_its_frames() -> None:
    good, bad = episode(3, 0, [0.5, 0.6, 1.0], True, [1, 2, 3]), episode(3, 1, [0.5, 0.2, 0.1], False, [1, 2, 9])
    assert first_difference(good, bad) == 2 and first_difference(good, good) is None
    (pair,) = decision_pairs([(each, Label.of(each)) for each in (bad, good)], 5, RNG(0))
    ((chosen,), (rejected,)) = pair.chosen, pair.rejected
    assert chosen.situation is rejected.situation and np.array_equal(chosen.situation.frames, bad.frames[2])
    assert (chosen.tokens[0], rejected.tokens[0], pair.provenance) == (3, 9, ("t/3/0", "t/3/1", 2))
    other_thought = replace(good, tokens=good.tokens + np.array([[0, 1]]))
    assert first_difference(good, other_thought) is None


def test_practice_is_told_how_it_turned_out_unless_it_was_as_expected() -> None:
    attempts = [episode(1, 0, [0.5, 1.0], True), episode(1, 1, [0.2, 0.1], False), episode(2, 0, [1.0], True), episode(2, 1, [1.0], True)]
    plain, told = teach(attempts), teach(attempts, conditioned_weight=0.5)
    more = told.demonstrations[len(plain.demonstrations) :]
    tried = [sample for sample in told.samples if abs(sample.advantage) > 1e-6]
    assert 2 <= len(tried) < len(told.samples) and [shown.situation.advantage for shown in more] == [sample.advantage > 0 for sample in tried]
    assert all(np.array_equal(shown.tokens, sample.tokens) for shown, sample in zip(more, tried, strict=True))
    assert {shown.situation.advantage for shown in more} == {True, False} and {shown.weight for shown in more} == {0.5}
    assert all(shown.situation.advantage for shown in plain.demonstrations)


def test_faulty_episodes_teach_nothing() -> None:
    from dataclasses import replace

    spoilt = replace(episode(3, 0, [0.5, 1.0], True), faults=("boom",))
    assert not teach([spoilt, episode(3, 1, [0.2], False)], mixed_only=True)


def test_replay_shows_all_oracle_decisions_and_draws_the_rest_without_repeats() -> None:
    library = [episode(1, 0, [0.5, 1.0], True, policy="oracle"), *[episode(9, k, [0.5, 1.0], True) for k in range(10)]]
    shown = replay(library, 5, RNG(0))
    assert len(shown) == 7 and len({int(d.tokens[0]) for d in shown[2:]}) == 5
    assert len(replay(library, 0, RNG(0))) == 2


def test_label_finds_what_was_fulfilled_unasked() -> None:
    take = replace(episode(1, 0, [0.1], False), hindsight=("touch the blue ball", 0))
    assert Label.of(take).hindsight == "touch the blue ball"
    assert Label.of(episode(1, 0, [1.0], True)).hindsight is None


BLUE = ("touch the blue ball", 1)


def test_a_episode_is_told_as_what_it_did_up_to_there() -> None:
    failed, won = replace(episode(1, 0, [0.1, 0.4, 0.2], False), hindsight=BLUE), replace(episode(1, 1, [0.5, 1.0], True), hindsight=BLUE)
    spoilt = replace(failed, faults=("reset: OSError",))
    attempts = [failed, won, spoilt, episode(1, 2, [0.1], False)]
    (told,) = relabel(attempts, list(map(Label.of, attempts)))
    assert told.instruction == "touch the blue ball" and told.success and told.first_success == 1 and len(told) == 2
    np.testing.assert_array_equal(told.tokens, failed.tokens[:2])
    assert len(told.frames) == 3


def test_hindsight_shows_the_fastest_and_prefers_it_to_what_was_asked() -> None:
    fast, won = replace(episode(1, 0, [0.1, 0.2, 0.1], False), hindsight=BLUE), episode(1, 2, [0.5, 1.0], True)
    slow = replace(episode(1, 1, [0.1, 0.2, 0.1], False), hindsight=("touch the blue ball", 2))
    won = replace(won, tokens=np.array([[200, 9], [201, 9]]))  # a thought, then an action
    attempts, labels = [fast, slow, won], list(map(Label.of, [fast, slow, won]))
    without = training_data_from(attempts, labels, [], CurateConfig(), RNG(0), relabel(attempts, labels))
    assert {d.situation.instruction for d in without.demonstrations} == {"touch the red ball"}
    assert {pair.kind for pair in without.pairs} == {"decision"}
    training_data = training_data_from(attempts, labels, [], CurateConfig(hindsight_weight=0.5), RNG(0), relabel(attempts, labels), thought=1)
    hindsight = [d for d in training_data.demonstrations if d.situation.instruction == "touch the blue ball"]
    assert [(int(d.tokens[0]), d.weight) for d in hindsight] == [(0, 0.5), (1, 0.5)]
    sources = ("best", "replayed", "lookahead", "hindsight", "conditioned")
    assert sum(training_data.notes[name] for name in sources) == len(training_data.demonstrations)
    (pair,) = (each for each in training_data.pairs if each.kind == "hindsight")
    ((chosen,), (rejected,)) = pair.chosen, pair.rejected
    assert pair.kind == "hindsight" and chosen.situation.instruction == rejected.situation.instruction == "touch the blue ball"
    assert chosen.tokens.tolist() == fast.tokens[0].tolist()
    assert rejected.tokens.tolist() == [0, 9], "the thought is about what is asked here, the action about what was"


def test_what_a_lookahead_episode_found_is_preferred_to_what_the_policy_wanted() -> None:
    policy_tokens, lookahead_gains = np.array([[5, 7], [2, 7]]), np.array([0.5, 0.0], np.float32)
    lookahead = [replace(episode(1, 0, [0.1, 0.2], True, [1, 2]), policy_tokens=policy_tokens, lookahead_gains=lookahead_gains)]

    def target_actions(count: int) -> TrainingData:
        return training_data_from([], [], [], CurateConfig(lookahead_pairs=count), RNG(0), lookahead=lookahead)

    (pair,) = target_actions(4).pairs
    assert (pair.chosen[0].tokens.tolist(), pair.rejected[0].tokens.tolist()) == ([1, 7], [5, 7])
    assert not target_actions(0).pairs and len(target_actions(0).demonstrations) == len(target_actions(4).demonstrations) == 2


def test_whole_pairs_hold_all_that_two_episodes_did_from_where_they_part_to_the_success() -> None:
    won, lost = episode(3, 0, [0.5, 0.6, 1.0, 1.0], True, [1, 2, 3, 4]), episode(3, 1, [0.5, 0.2, 0.1, 0.1], False, [1, 9, 8, 7])
    won = replace(won, first_success=2)
    (pair,) = trajectory_pairs([(e, Label.of(e)) for e in (lost, won)], 3, RNG(0))
    assert [d.tokens[0] for d in pair.chosen] == [2, 3] and [d.tokens[0] for d in pair.rejected] == [9, 8, 7]
    assert all(np.array_equal(d.situation.frames, lost.frames[t]) for t, d in enumerate(pair.rejected, 1))
    assert pair.provenance == ("t/3/0", "t/3/1", 1) and {p.kind for p in teach([won, lost], pairs_by="trajectory").pairs} == {"trajectory"}
