"""Curation: what becomes a lesson, and which way its credit points."""

from dataclasses import replace

import numpy as np
import pytest

from agent.config.keys import CurateConfig
from agent.curate.rules import best_takes, curate, fork_of, fork_pairs, relabel, replay, whole_pairs
from agent.records import Episode, Label, Lessons
from tests.agent.made import episode

RNG = np.random.default_rng


def teach(episodes: list[Episode], library: list[Episode] | None = None, **config: object):
    return curate(episodes, list(map(Label.of, episodes)), library or [], CurateConfig(**config), RNG(0))  # type: ignore[arg-type]


def test_only_mixed_seeds_make_demonstrations_and_pairs() -> None:
    same = [episode(1, 0, [0.1, 0.2], False), episode(1, 1, [0.1, 0.2], False), episode(2, 0, [1.0], True), episode(2, 1, [1.0], True)]
    lessons = teach(same, groups="mixed")
    assert not lessons and lessons.notes["mixed_seeds"] == 0
    mixed = [*same, episode(3, 0, [0.5, 1.0], True), episode(3, 1, [0.2, 0.1], False)]
    lessons = teach(mixed, groups="mixed")
    assert len(lessons.demonstrations) == 2 and len(lessons.pairs) == 1 and len(lessons.trials) == 4
    assert lessons.notes["pass_at_k"] == pytest.approx(2 / 3)


def test_guided_takes_are_shown_in_full_and_earlier_ones_through_replay() -> None:
    takes = [episode(1, 0, [0.1, 0.2], False), episode(1, 1, [0.1, 0.2], False)]
    failed = [episode(8, 0, [0.1, 0.5, 0.2], False), episode(9, 0, [0.1] * 4, False)]  # what is told in them is better than what was done
    led, library = [episode(7, 0, [0.5, 1.0], True), failed[0]], [episode(10, 0, [0.1] * 5 + [1.0], True), failed[1]]
    for count, earlier in ((2, 2), (100, 6 + 4)):
        lessons = curate(takes, list(map(Label.of, takes)), library, CurateConfig(replay=count), RNG(0), guided=led)
        assert len(lessons.demonstrations) == earlier + 5


def test_the_fastest_success_is_the_best_take_and_ends_at_its_success() -> None:
    slow, fast = episode(3, 0, [0.2, 0.5, 1.0], True), episode(3, 1, [0.5, 1.0], True)
    takes = [(each, Label.of(each)) for each in (slow, fast, episode(3, 2, [0.1], False))]
    shown = best_takes(takes, 1)
    assert [d.tokens[0] for d in shown] == [100, 101]


def test_pairs_stand_at_the_first_decision_that_differs_and_share_its_frames() -> None:
    good, bad = episode(3, 0, [0.5, 0.6, 1.0], True, [1, 2, 3]), episode(3, 1, [0.5, 0.2, 0.1], False, [1, 2, 9])
    assert fork_of(good, bad) == 2 and fork_of(good, good) is None
    (pair,) = fork_pairs([(each, Label.of(each)) for each in (bad, good)], 5, RNG(0))
    ((chosen,), (rejected,)) = pair.chosen, pair.rejected
    assert chosen.situation is rejected.situation and np.array_equal(chosen.situation.frames, bad.frames[2])
    assert (chosen.tokens[0], rejected.tokens[0], pair.provenance) == (3, 9, ("t/3/0", "t/3/1", 2))
    other_thought = replace(good, tokens=good.tokens + np.array([[0, 1]]))
    assert fork_of(good, other_thought) is None


def test_practice_is_told_how_it_turned_out_unless_it_was_as_expected() -> None:
    takes = [episode(1, 0, [0.5, 1.0], True), episode(1, 1, [0.2, 0.1], False), episode(2, 0, [1.0], True), episode(2, 1, [1.0], True)]
    plain, told = teach(takes), teach(takes, conditioned=0.5)
    more = told.demonstrations[len(plain.demonstrations) :]
    tried = [trial for trial in told.trials if abs(trial.advantage) > 1e-6]
    assert 2 <= len(tried) < len(told.trials) and [shown.situation.advantage for shown in more] == [trial.advantage > 0 for trial in tried]
    assert all(np.array_equal(shown.tokens, trial.tokens) for shown, trial in zip(more, tried, strict=True))
    assert {shown.situation.advantage for shown in more} == {True, False} and {shown.weight for shown in more} == {0.5}
    assert all(shown.situation.advantage for shown in plain.demonstrations)


def test_faulty_episodes_teach_nothing() -> None:
    from dataclasses import replace

    spoilt = replace(episode(3, 0, [0.5, 1.0], True), faults=("boom",))
    assert not teach([spoilt, episode(3, 1, [0.2], False)], groups="mixed")


def test_replay_shows_all_oracle_decisions_and_draws_the_rest_without_repeats() -> None:
    library = [episode(1, 0, [0.5, 1.0], True, policy="oracle"), *[episode(9, k, [0.5, 1.0], True) for k in range(10)]]
    shown = replay(library, 5, RNG(0))
    assert len(shown) == 7 and len({int(d.tokens[0]) for d in shown[2:]}) == 5
    assert len(replay(library, 0, RNG(0))) == 2


def test_label_finds_what_was_fulfilled_unasked() -> None:
    take = replace(episode(1, 0, [0.1], False), unasked=("touch the blue ball", 0))
    assert Label.of(take).hindsight == "touch the blue ball"
    assert Label.of(episode(1, 0, [1.0], True)).hindsight is None


BLUE = ("touch the blue ball", 1)


def test_a_take_is_told_as_what_it_did_up_to_there() -> None:
    failed, won = replace(episode(1, 0, [0.1, 0.4, 0.2], False), unasked=BLUE), replace(episode(1, 1, [0.5, 1.0], True), unasked=BLUE)
    spoilt = replace(failed, faults=("reset: OSError",))
    takes = [failed, won, spoilt, episode(1, 2, [0.1], False)]
    (told,) = relabel(takes, list(map(Label.of, takes)))
    assert told.instruction == "touch the blue ball" and told.success and told.first_success == 1 and len(told) == 2
    np.testing.assert_array_equal(told.tokens, failed.tokens[:2])
    assert len(told.frames) == 3


def test_hindsight_shows_the_fastest_and_prefers_it_to_what_was_asked() -> None:
    fast, won = replace(episode(1, 0, [0.1, 0.2, 0.1], False), unasked=BLUE), episode(1, 2, [0.5, 1.0], True)
    slow = replace(episode(1, 1, [0.1, 0.2, 0.1], False), unasked=("touch the blue ball", 2))
    won = replace(won, tokens=np.array([[200, 9], [201, 9]]))  # a thought, then an action
    takes, labels = [fast, slow, won], list(map(Label.of, [fast, slow, won]))
    without = curate(takes, labels, [], CurateConfig(pairs_per_seed=0), RNG(0), relabel(takes, labels))
    assert {d.situation.instruction for d in without.demonstrations} == {"touch the red ball"} and not without.pairs
    lessons = curate(takes, labels, [], CurateConfig(pairs_per_seed=0, hindsight=0.5), RNG(0), relabel(takes, labels), thought=1)
    unasked = [d for d in lessons.demonstrations if d.situation.instruction == "touch the blue ball"]
    assert [(int(d.tokens[0]), d.weight) for d in unasked] == [(0, 0.5), (1, 0.5)]
    (pair,) = lessons.pairs
    ((chosen,), (rejected,)) = pair.chosen, pair.rejected
    assert pair.kind == "hindsight" and chosen.situation.instruction == rejected.situation.instruction == "touch the blue ball"
    assert chosen.tokens.tolist() == fast.tokens[0].tolist()
    assert rejected.tokens.tolist() == [0, 9], "the thought is about what is asked here, the action about what was"


def test_what_a_guided_take_found_is_preferred_to_what_the_policy_wanted() -> None:
    rivals, margins = np.array([[5, 7], [2, 7]]), np.array([0.5, 0.0], np.float32)
    guided = [replace(episode(1, 0, [0.1, 0.2], True, [1, 2]), rivals=rivals, margins=margins)]

    def taught(count: int) -> Lessons:
        return curate([], [], [], CurateConfig(contrast=count), RNG(0), guided=guided)

    (pair,) = taught(4).pairs
    assert (pair.chosen[0].tokens.tolist(), pair.rejected[0].tokens.tolist()) == ([1, 7], [5, 7])
    assert not taught(0).pairs and len(taught(0).demonstrations) == len(taught(4).demonstrations) == 2


def test_whole_pairs_hold_all_that_two_takes_did_from_where_they_part_to_the_success() -> None:
    won, lost = episode(3, 0, [0.5, 0.6, 1.0, 1.0], True, [1, 2, 3, 4]), episode(3, 1, [0.5, 0.2, 0.1, 0.1], False, [1, 9, 8, 7])
    won = replace(won, first_success=2)
    (pair,) = whole_pairs([(e, Label.of(e)) for e in (lost, won)], 3, RNG(0))
    assert [d.tokens[0] for d in pair.chosen] == [2, 3] and [d.tokens[0] for d in pair.rejected] == [9, 8, 7]
    assert all(np.array_equal(d.situation.frames, lost.frames[t]) for t, d in enumerate(pair.rejected, 1))
    assert pair.provenance == ("t/3/0", "t/3/1", 1) and {p.kind for p in teach([won, lost], pairs_by="trajectory").pairs} == {"trajectory"}
