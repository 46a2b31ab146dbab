"""Failed demonstrations are used: in pairs with successes of the same beginning, and as bad decisions for prompts that ask for them."""

from dataclasses import replace

import numpy as np

from agent.config.keys import CurateConfig, DemonstrateConfig, TuneConfig
from agent.curate.warm_start import warm_start_data
from agent.label.detector import qa_examples
from agent.records import Episode, TrainingData
from agent.tune.stage import recipe
from tests.agent.made import episode


def data(*shown: Episode, **config: object) -> TrainingData:
    return warm_start_data(shown, CurateConfig(**config), np.random.default_rng(0))  # type: ignore[arg-type]


def won(seed: int, number: int = 0) -> Episode:
    return replace(episode(seed, number, [0.1, 0.5, 1.0], True, [1, 2, 3]), policy="oracle")


def lost(seed: int, number: int = 1, tokens: tuple[int, ...] = (1, 9, 8)) -> Episode:
    return replace(episode(seed, number, [0.1] * len(tokens), False, list(tokens)), policy="oracle")


def test_without_failures_it_is_the_decisions_of_the_successes() -> None:
    made = data(won(0), won(1), conditioned_weight=0.5)
    assert len(made.demonstrations) == 6 and not made.pairs and all(each.situation.advantage for each in made.demonstrations)


def test_a_failure_of_the_same_seed_makes_a_pair_where_it_parts() -> None:
    made = data(won(0), lost(0), lost(1))
    assert len(made.demonstrations) == 3 and len(made.pairs) == 1
    (pair,) = made.pairs
    assert pair.provenance == ("t/0/0", "t/0/1", 1) and pair.chosen[0].tokens[0] == 2 and pair.rejected[0].tokens[0] == 9
    (pair,) = data(won(0), lost(0), pairs_by="trajectory").pairs
    assert [len(side) for side in (pair.chosen, pair.rejected)] == [2, 2]


def test_without_seeds_a_beginning_is_what_is_seen() -> None:
    def unseeded(one: Episode, shade: int, words: str = "touch the red ball") -> Episode:
        return replace(one, seed=-1, frames=np.full_like(one.frames, shade), instruction=words)

    assert len(data(unseeded(won(0), 3), unseeded(lost(0), 3)).pairs) == 1
    assert not data(unseeded(won(0), 3), unseeded(lost(0), 4)).pairs, "another picture is another beginning"
    assert not data(unseeded(won(0), 3), unseeded(lost(0), 3, "touch the blue ball")).pairs
    states = [np.full((4, 2), value, np.float32) for value in (0, 1)]
    hidden = [replace(unseeded(each, 3), states=state) for each, state in zip((won(0), lost(0)), states, strict=True)]
    assert not data(*hidden).pairs, "so is another state"


def test_decisions_of_failures_are_bad_where_the_prompt_says_so() -> None:
    made = data(won(0), lost(1), conditioned_weight=0.5)
    assert [(each.situation.advantage, each.weight) for each in made.demonstrations] == [(True, 1.0)] * 3 + [(False, 0.5)] * 3
    assert data(lost(1), conditioned_weight=0.5) == TrainingData(), "bad replies alone show nobody how to act"


def test_a_failure_is_an_example_for_the_detector() -> None:
    failed = replace(lost(1), frames=np.full_like(lost(1).frames, 7))
    answers = {(each.answer, int(each.frames.max())) for each in qa_examples([won(0), failed], "done: {instruction} ?", 64, np.random.default_rng(0))}
    assert ("no", 7) in answers and ("yes", 7) not in answers


def test_pairs_bring_dpo_into_the_warm_start() -> None:
    tune = TuneConfig(dpo_coef=0.3, dpo_beta=0.7)
    assert (recipe(DemonstrateConfig()).dpo_coef, recipe(DemonstrateConfig(), tune).dpo_coef) == (0, 0.3)
    assert recipe(DemonstrateConfig(), tune).dpo_beta == 0.7 and recipe(DemonstrateConfig(), tune).bc_coef == 1
