"""Curation rules: from episodes and labels to training data, which are demonstrations, preference pairs and policy samples.

A seed is mixed where some of its episodes are labelled successful and some failed.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any, Protocol

import numpy as np

from agent.config.keys import CurateConfig
from agent.config.plugins import plugin
from agent.curate.credit import LabelledEpisode, Start, advantages, start_of
from agent.records import Demonstration, Episode, Label, PolicySample, PreferencePair, QAExample, TrainingData, decisions
from envs.faults import in_words

PAIRS_PER_SEED = 2  # preference pairs drawn from each mixed seed
TIE = 1e-6  # advantages of at most this size are neither better nor worse than expected


def training_data_from(
    episodes: Sequence[Episode],
    labels: Sequence[Label],
    library: Sequence[Episode],
    config: CurateConfig,
    rng: np.random.Generator,
    relabelled: Sequence[Episode] = (),
    thought: int = 0,
    lookahead: Sequence[Episode] = (),
    mixed_only: bool = False,
) -> TrainingData:
    """Return the training data of a cycle by the built-in rules.

    Args:
        episodes: sampled episodes of the present champion.
        labels: one an episode.
        library: demonstrations of an expert, earlier successes and earlier look-ahead episodes, of which some are replayed.
        config: which rules apply.
        rng: of the draws. They are made in a fixed order: pairs, look-ahead pairs, replay.
        relabelled: episodes as `relabel` returns them.
        thought: tokens of a reply that stand before its actions.
        lookahead: this cycle's look-ahead episodes; their decisions become demonstrations, up to a success.
        mixed_only: whether policy samples come from mixed seeds alone (`collect.dynamic_sampling`).
    """
    groups = by_start(episodes, labels)
    # Only mixed seeds show what made the difference: their episodes begin in the same state and end differently.
    mixed = {key: attempts for key, attempts in groups.items() if len({label.success for _, label in attempts}) == 2}
    # Likewise best episodes: where all succeed there is little to learn by imitation.
    best = [demonstration for attempts in mixed.values() for demonstration in best_episodes(attempts, config.best_episodes)]
    relabelled = fastest(relabelled) if config.hindsight_weight else []
    hindsight = [replace(each, weight=config.hindsight_weight) for episode in relabelled for each in decisions(episode)]
    # Also of failed look-ahead episodes: each target is at least as good as the policy's own decision, one decision ahead.
    from_lookahead = [demonstration for episode in lookahead for demonstration in decisions(episode)]
    make = {"decision": decision_pairs, "trajectory": trajectory_pairs}[config.pairs_by]
    pairs = [pair for attempts in mixed.values() for pair in make(attempts, PAIRS_PER_SEED, rng)]
    pairs += lookahead_pairs(lookahead, config.lookahead_pairs, rng) if config.lookahead_pairs else []
    pairs += [pair for episode in relabelled if (pair := hindsight_pair(episode, groups[start_of(episode)], thought))]
    chosen = mixed if mixed_only else groups
    samples = tuple(advantages([attempt for attempts in chosen.values() for attempt in attempts], config))
    conditioned = (
        [advantage_conditioned(sample, config.conditioned_weight) for sample in samples if abs(sample.advantage) > TIE]
        if config.conditioned_weight
        else []
    )
    # The trainer draws rows by their place, so another order of the kinds would be another training.
    sources = {"best": best, "replayed": replay(library, config.replay, rng), "lookahead": from_lookahead, "hindsight": hindsight}
    sources["conditioned"] = conditioned
    demonstrations = tuple(each for source in sources.values() for each in source)
    return TrainingData(demonstrations, tuple(pairs), samples, notes={**notes(groups), **{name: float(len(own)) for name, own in sources.items()}})


class Rule(Protocol):
    """A user's own curation rule (`curate.rule`)."""

    def __call__(self, episodes: Sequence[Episode], labels: Sequence[Label]) -> TrainingData:
        """Return the training data of a cycle: demonstrations, preference pairs, policy samples.

        Args:
            episodes: sampled episodes of the champion. A rule should leave out those with `faults` and those without a decision.
            labels: one an episode.
        """
        ...


def own(name: str, episodes: Sequence[Episode], labels: Sequence[Label]) -> TrainingData:
    """Return the training data that a user's own rule makes of a cycle, with the usual figures about the episodes (`notes`).

    Args:
        name: `curate.rule`.
        episodes: as for `training_data_from`.
        labels: one an episode.

    Raises:
        ValueError: the rule fails, or returns no `TrainingData`, or one with objects of wrong types in it.
    """
    rule: Any = plugin("curate.rule", name)
    try:
        # Lists and views of its own: what a rule changes must not change the run's episodes, which a resumed run reads from disk.
        made = rule([_read_only(episode) for episode in episodes], list(labels))
    except (Exception, SystemExit) as error:  # a user's function may raise anything
        raise ValueError(f"curate.rule {name!r} failed: {in_words(error)}.") from error
    if not isinstance(made, TrainingData):
        raise ValueError(f"curate.rule {name!r} returned a {type(made).__name__}; return an agent.records.TrainingData.")
    # Found here, a wrong type is one sentence; found in the trainer it would be a traceback.
    kinds = {"demonstrations": Demonstration, "pairs": PreferencePair, "samples": PolicySample, "qa_examples": QAExample}
    for kind, wanted in kinds.items():
        if strange := next((each for each in getattr(made, kind) if not isinstance(each, wanted)), None):
            raise ValueError(
                f"curate.rule {name!r} has a {type(strange).__name__} among its {kind}; each must be an agent.records.{wanted.__name__}."
            )
    # Figures of the rule itself come last, so that they win.
    return replace(made, notes={**notes(by_start(episodes, labels)), **made.notes})


def _read_only(episode: Episode) -> Episode:
    """Return an episode whose arrays cannot be written to."""
    views = {each.name: value.view() for each in fields(episode) if isinstance(value := getattr(episode, each.name), np.ndarray)}
    for view in views.values():
        view.flags.writeable = False
    return replace(episode, **views)


def by_start(episodes: Sequence[Episode], labels: Sequence[Label]) -> dict[Start, list[LabelledEpisode]]:
    """Return the episodes with their labels, grouped by task and seed; without episodes that have faults or no decision."""
    groups: dict[Start, list[LabelledEpisode]] = defaultdict(list)
    for episode, label in zip(episodes, labels, strict=True):
        if not episode.faults and len(episode):
            groups[start_of(episode)].append((episode, label))
    return groups  # in the order in which the seeds first occur, on which random draws depend


def notes(groups: dict[Start, list[LabelledEpisode]]) -> dict[str, float]:
    """Return figures about a cycle's episodes, by their labels: numbers of seeds and of mixed seeds, success rate, pass@k."""
    mixed = sum(len({label.success for _, label in attempts}) == 2 for attempts in groups.values())
    return {"seeds": float(len(groups)), "mixed_seeds": float(mixed), "practice_success": _rate(groups), "pass_at_k": _pass(groups)}


def relabel(episodes: Sequence[Episode], labels: Sequence[Label]) -> list[Episode]:
    """Return failed episodes that fulfilled another instruction, as successful episodes of that instruction, cut at the decision that fulfilled it.

    Hindsight experience replay (arXiv 1707.01495), with instructions as goals. The replies stay as they were: a thought in them is still about the
    instruction that was given.
    """
    relabelled = []
    for episode, label in zip(episodes, labels, strict=True):
        # Labels by a detector have no hindsight: which instruction was fulfilled is the environment's knowledge.
        if label.success or label.hindsight is None or episode.hindsight is None or episode.faults:
            continue
        instruction, hit = episode.hindsight
        cut = {name: getattr(episode, name)[: hit + 1] for name in ("actions", "tokens", "logprobs", "rewards")}
        states = None if episode.states is None else episode.states[: hit + 2]  # observations: one more than decisions
        ends = {"success": True, "first_success": hit, "success_at_end": True, "terminated": False, "truncated": True, "achieved": (instruction,)}
        gone = dict.fromkeys(("hindsight", "policy_tokens", "lookahead_gains"))  # None: these refer to the instruction that was given
        relabelled.append(replace(episode, instruction=instruction, frames=episode.frames[: hit + 2], states=states, **cut, **ends, **gone))
    return relabelled


def fastest(relabelled: Sequence[Episode]) -> list[Episode]:
    """Return the shortest of the relabelled episodes with the same task, seed and instruction."""
    # One for each instruction and seed, or easy instructions would crowd out the others.
    kept: dict[tuple[Start, str], Episode] = {}
    for episode in relabelled:
        key = start_of(episode), episode.instruction
        kept[key] = min(kept.get(key, episode), episode, key=len)
    return list(kept.values())


def hindsight_pair(episode: Episode, attempts: Sequence[LabelledEpisode], thought: int = 0) -> PreferencePair | None:
    """Return a preference pair for the instruction of a relabelled episode: its own reply over that of a success with the instruction first given.

    The pair is at the first decision in which the two differ. None if no episode of the seed succeeded.

    Args:
        episode: relabelled.
        attempts: episodes of the same seed, with the instruction that was given.
        thought: tokens of a reply that stand before its actions; both replies get those of the relabelled episode.
    """
    # The first success that differs is enough: pairs of one relabelled episode are much alike.
    for other, label in attempts:
        fork = first_difference(episode, other) if label.success else None
        if fork is not None:
            # The other's thought is about another instruction; the pair compares actions alone.
            rejected = np.concatenate([episode.tokens[fork][:thought], other.tokens[fork][thought:]])
            return PreferencePair.of(episode.situation(fork), episode.tokens[fork], rejected, "hindsight", (episode.id, other.id, fork))
    return None


def best_episodes(attempts: Sequence[LabelledEpisode], count: int) -> list[Demonstration]:
    """Return the decisions of the `count` fastest successful episodes, up to the one that succeeded."""
    # Ties of the decision that succeeded go to the higher reward. `or 0` is for the type checker: a success has a decision.
    won = sorted((episode for episode, label in attempts if label.success), key=lambda e: (e.first_success or 0, -e.total_reward))
    return [demonstration for episode in won[:count] for demonstration in decisions(episode)]


def replay(library: Sequence[Episode], count: int, rng: np.random.Generator) -> list[Demonstration]:
    """Return all decisions of experts, and `count` others, drawn without replacement from earlier successes and look-ahead episodes."""
    # 'oracle' is the policy of every demonstration, also of a user's expert or a dataset.
    oracle = [each for episode in library if episode.policy == "oracle" for each in decisions(episode)]
    earlier = [(episode, t) for episode in library if episode.policy != "oracle" for t in range(episode.end)]
    drawn = [earlier[i] for i in sorted(rng.permutation(len(earlier))[:count])]  # sorted: the draw decides which, not in what order
    return oracle + [Demonstration(episode.situation(t), episode.tokens[t]) for episode, t in drawn]


def decision_pairs(attempts: Sequence[LabelledEpisode], count: int, rng: np.random.Generator) -> list[PreferencePair]:
    """Return up to `count` pairs of a success and a failure, at the first decision in which they differ.

    Both episodes come from one seed, so up to there they saw the same frames: the pair compares two replies to one situation.
    """
    pairs: list[PreferencePair] = []
    # Combinations that never differ in an action give no pair, and the next one takes their place.
    for good, bad in _success_failure_pairs(attempts, rng):
        fork = first_difference(good, bad)
        if fork is not None and len(pairs) < count and differ(good, bad, fork):
            pairs.append(PreferencePair.of(good.situation(fork), good.tokens[fork], bad.tokens[fork], "decision", (good.id, bad.id, fork)))
    return pairs


def trajectory_pairs(attempts: Sequence[LabelledEpisode], count: int, rng: np.random.Generator) -> list[PreferencePair]:
    """Return up to `count` pairs of all replies of a success, up to its end, and all replies of a failure (trajectory-wise, GRAPE, arXiv 2411.19309).

    Decisions before the first difference are left out: they would cancel in the margin.
    """
    pairs: list[PreferencePair] = []
    for good, bad in _success_failure_pairs(attempts, rng):
        fork = first_difference(good, bad)
        if (
            fork is not None and fork < good.end and len(pairs) < count and differ(good, bad, fork)
        ):  # after its success a good episode has no reply to prefer
            chosen, rejected = (tuple(decisions(each)[fork:]) for each in (good, bad))
            pairs.append(PreferencePair(chosen, rejected, "trajectory", (good.id, bad.id, fork)))
    return pairs


def lookahead_pairs(lookahead: Sequence[Episode], count: int, rng: np.random.Generator) -> list[PreferencePair]:
    """Return up to `count` pairs, drawn at random: the better decision that look-ahead found in copies of the simulator, over the policy's own."""
    found = [(episode, t) for episode in lookahead if episode.lookahead_gains is not None for t in np.flatnonzero(episode.lookahead_gains).tolist()]
    # A gain of 0 is a decision at which look-ahead found nothing better; `flatnonzero` leaves it out.
    pairs = []
    for episode, t in (found[i] for i in sorted(rng.permutation(len(found))[:count])):
        assert episode.policy_tokens is not None, "an episode with lookahead_gains must have policy_tokens"
        pairs.append(PreferencePair.of(episode.situation(t), episode.tokens[t], episode.policy_tokens[t], "lookahead", (episode.id, episode.id, t)))
    return pairs


def _success_failure_pairs(attempts: Sequence[LabelledEpisode], rng: np.random.Generator) -> Iterator[tuple[Episode, Episode]]:
    """Yield every success with every failure, in random order."""
    won = [episode for episode, label in attempts if label.success]
    lost = [episode for episode, label in attempts if not label.success]
    # Number i of the n x m combinations is success i // m with failure i % m.
    for place in rng.permutation(len(won) * len(lost)):
        yield won[place // len(lost)], lost[place % len(lost)]


def differ(one: Episode, other: Episode, t: int) -> bool:
    """Return whether two replies differ. Actions of demonstrations may differ by less than a bin, and then both are the same reply."""
    return not np.array_equal(one.tokens[t], other.tokens[t])


def first_difference(one: Episode, other: Episode) -> int | None:
    """Return the first decision at which two episodes of one seed act differently, or None if one is the other's beginning."""
    # Actions, not tokens: replies that differ in their thought alone lead to the same frames.
    for t in range(min(len(one), len(other))):
        if not np.array_equal(one.actions[t], other.actions[t]):
            return t
    return None


def advantage_conditioned(sample: PolicySample, weight: float) -> Demonstration:
    """Return a policy sample as a demonstration whose prompt says whether it was better than expected.

    RECAP's binarised advantage (arXiv 2511.14759), with a threshold of 0.
    """
    # `advantage` fills {advantage} in the prompt with "good" or "bad"; a policy that acts is always asked for "good".
    return Demonstration(replace(sample.situation, advantage=sample.advantage > 0), sample.tokens, weight)


def _rate(groups: dict[Start, list[LabelledEpisode]]) -> float:
    """Return the share of successful episodes."""
    outcomes = [label.success for attempts in groups.values() for _, label in attempts]
    return float(np.mean(outcomes)) if outcomes else 0.0


def _pass(groups: dict[Start, list[LabelledEpisode]]) -> float:
    """Return pass@k: the share of seeds with a successful episode."""
    return float(np.mean([any(label.success for _, label in attempts) for attempts in groups.values()])) if groups else 0.0
