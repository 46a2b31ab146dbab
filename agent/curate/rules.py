"""Curation: episodes + labels -> lessons: demonstrations, preference pairs, trials."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from agent.config.keys import CurateConfig
from agent.config.plugins import plugin
from agent.curate.credit import Start, Take, advantages, start_of
from agent.records import Answer, Demonstration, Episode, Label, Lessons, PreferencePair, Trial, decisions
from envs.faults import in_words

TIE = 1e-6  # of an advantage: as good as expected is neither good nor bad


def curate(
    episodes: Sequence[Episode],
    labels: Sequence[Label],
    library: Sequence[Episode],
    config: CurateConfig,
    rng: np.random.Generator,
    retold: Sequence[Episode] = (),
    thought: int = 0,
    guided: Sequence[Episode] = (),
) -> Lessons:
    """Return what a cycle teaches.

    Args:
        episodes: practised by the present champion, takes of one seed sharing task and seed.
        labels: one an episode.
        library: oracle demonstrations, earlier successes and guided takes, to be shown again.
        config: what to make of them.
        rng: of the draws.
        retold: takes as `relabel` returns them.
        thought: tokens of a reply that stand before its actions.
        guided: this cycle's guided takes; all of their decisions become demonstrations.
    """
    groups = by_start(episodes, labels)
    mixed = {key: takes for key, takes in groups.items() if len({label.success for _, label in takes}) == 2}
    best = [demonstration for takes in mixed.values() for demonstration in best_takes(takes, config.best_takes)]
    retold = fastest(retold) if config.hindsight else []
    unasked = [replace(each, weight=config.hindsight) for episode in retold for each in decisions(episode)]
    led = [demonstration for episode in guided for demonstration in decisions(episode)]
    make = {"fork": fork_pairs, "trajectory": whole_pairs}[config.pairs_by]
    pairs = [pair for takes in mixed.values() for pair in make(takes, config.pairs_per_seed, rng)]
    pairs += lookahead_pairs(guided, config.contrast, rng) if config.contrast else []
    pairs += [pair for episode in retold if (pair := hindsight_pair(episode, groups[start_of(episode)], thought))]
    chosen = mixed if config.groups == "mixed" else groups
    trials = tuple(advantages([take for takes in chosen.values() for take in takes], config))
    told = [conditioned(trial, config.conditioned) for trial in trials if abs(trial.advantage) > TIE] if config.conditioned else []
    demonstrations = (*best, *replay(library, config.replay, rng), *led, *unasked, *told)
    return Lessons(demonstrations, tuple(pairs), trials, notes={**notes(groups), "hindsight": float(len(unasked))})


class Rule(Protocol):
    """A curation rule of a user's (`curate.rule`)."""

    def __call__(self, episodes: Sequence[Episode], labels: Sequence[Label]) -> Lessons:
        """Return what a cycle teaches: demonstrations, preference pairs, trials.

        Args:
            episodes: practised by the champion; those with `faults`, or without a decision, teach nothing.
            labels: one an episode.
        """
        ...


def own(name: str, episodes: Sequence[Episode], labels: Sequence[Label]) -> Lessons:
    """Return what a rule of the user's makes of a cycle; the figures about practice are those of every cycle.

    Args:
        name: `curate.rule`.
        episodes: as of `curate`.
        labels: one an episode.

    Raises:
        ValueError: it fails, or gives no lessons.
    """
    rule: Any = plugin("curate.rule", name)
    try:
        made = rule(episodes, labels)
    except (Exception, SystemExit) as error:  # somebody's function may raise anything
        raise ValueError(f"curate.rule {name!r} failed: {in_words(error)}.") from error
    if not isinstance(made, Lessons):
        raise ValueError(f"curate.rule {name!r} gave a {type(made).__name__}; give agent.records.Lessons.")
    kinds = {"demonstrations": Demonstration, "pairs": PreferencePair, "trials": Trial, "answers": Answer}
    for kind, wanted in kinds.items():
        if strange := next((each for each in getattr(made, kind) if not isinstance(each, wanted)), None):
            raise ValueError(f"curate.rule {name!r} gave a {type(strange).__name__} among its {kind}; give agent.records.{wanted.__name__}.")
    return replace(made, notes={**notes(by_start(episodes, labels)), **made.notes})


def by_start(episodes: Sequence[Episode], labels: Sequence[Label]) -> dict[Start, list[Take]]:
    """Return the takes that began alike, without those that the environment spoilt."""
    groups: dict[Start, list[Take]] = defaultdict(list)
    for episode, label in zip(episodes, labels, strict=True):
        if not episode.faults and len(episode):
            groups[start_of(episode)].append((episode, label))
    return groups


def notes(groups: dict[Start, list[Take]]) -> dict[str, float]:
    """Return figures about a cycle's practice, by the labels of its takes."""
    mixed = sum(len({label.success for _, label in takes}) == 2 for takes in groups.values())
    return {"seeds": float(len(groups)), "mixed_seeds": float(mixed), "practice_success": _rate(groups), "pass_at_k": _pass(groups)}


def relabel(episodes: Sequence[Episode], labels: Sequence[Label]) -> list[Episode]:
    """Return failed takes that fulfilled another instruction as perfect takes of that one, up to the decision at which they did.

    Hindsight: arXiv 1707.01495, with instructions for goals. Their replies are as they were: a thought in them is still about what was asked.
    """
    told = []
    for episode, label in zip(episodes, labels, strict=True):
        if label.success or label.hindsight is None or episode.unasked is None or episode.faults:
            continue
        words, hit = episode.unasked
        cut = {name: getattr(episode, name)[: hit + 1] for name in ("actions", "tokens", "logprobs", "rewards")}
        states = None if episode.states is None else episode.states[: hit + 2]
        ends = {"success": True, "first_success": hit, "success_at_end": True, "terminated": False, "truncated": True, "achieved": (words,)}
        gone = dict.fromkeys(("unasked", "rivals", "margins"))  # what they say is of the other instruction
        told.append(replace(episode, instruction=words, frames=episode.frames[: hit + 2], states=states, **cut, **ends, **gone))
    return told


def fastest(retold: Sequence[Episode]) -> list[Episode]:
    """Return the shortest of the takes that are told to have done the same on the same seed."""
    kept: dict[tuple[Start, str], Episode] = {}
    for episode in retold:
        key = start_of(episode), episode.instruction
        kept[key] = min(kept.get(key, episode), episode, key=len)
    return list(kept.values())


def hindsight_pair(episode: Episode, takes: Sequence[Take], thought: int = 0) -> PreferencePair | None:
    """Return what should be preferred where the instruction of a relabelled take is given: its reply, not that of one which did what was asked.

    Args:
        episode: relabelled.
        takes: of the same seed, with the instruction that was given.
        thought: tokens of a reply that stand before its actions; both replies get those of the relabelled one.
    """
    for other, label in takes:
        fork = fork_of(episode, other) if label.success else None
        if fork is not None:
            rejected = np.concatenate([episode.tokens[fork][:thought], other.tokens[fork][thought:]])
            return PreferencePair.of(episode.situation(fork), episode.tokens[fork], rejected, "hindsight", (episode.id, other.id, fork))
    return None


def best_takes(takes: Sequence[Take], count: int) -> list[Demonstration]:
    """Return the decisions of the `count` fastest successful takes, up to the one that succeeded."""
    won = sorted((episode for episode, label in takes if label.success), key=lambda e: (e.first_success or 0, -e.total_reward))
    return [demonstration for episode in won[:count] for demonstration in decisions(episode)]


def replay(library: Sequence[Episode], count: int, rng: np.random.Generator) -> list[Demonstration]:
    """Return all oracle decisions and `count` others, drawn without replacement from earlier successes and guided takes."""
    oracle = [each for episode in library if episode.policy == "oracle" for each in decisions(episode)]
    earlier = [(episode, t) for episode in library if episode.policy != "oracle" for t in range(episode.end)]
    drawn = [earlier[i] for i in sorted(rng.permutation(len(earlier))[:count])]
    return oracle + [Demonstration(episode.situation(t), episode.tokens[t]) for episode, t in drawn]


def fork_pairs(takes: Sequence[Take], count: int, rng: np.random.Generator) -> list[PreferencePair]:
    """Return up to `count` pairs of a success and a failure at the decision where they part.

    Both takes come from one seed, so up to there they saw the same frames: the pair compares two replies to one situation.
    """
    pairs: list[PreferencePair] = []
    for good, bad in _contests(takes, rng):
        fork = fork_of(good, bad)
        if fork is not None and len(pairs) < count:
            pairs.append(PreferencePair.of(good.situation(fork), good.tokens[fork], bad.tokens[fork], "fork", (good.id, bad.id, fork)))
    return pairs


def whole_pairs(takes: Sequence[Take], count: int, rng: np.random.Generator) -> list[PreferencePair]:
    """Return up to `count` pairs of all that a success and a failure replied, the success up to its end (trajectory-wise, GRAPE, arXiv 2411.19309).

    What both did alike before they part would cancel in the margin, and is left out.
    """
    pairs: list[PreferencePair] = []
    for good, bad in _contests(takes, rng):
        fork = fork_of(good, bad)
        if fork is not None and fork < good.end and len(pairs) < count:
            chosen, rejected = (tuple(decisions(each)[fork:]) for each in (good, bad))
            pairs.append(PreferencePair(chosen, rejected, "trajectory", (good.id, bad.id, fork)))
    return pairs


def lookahead_pairs(guided: Sequence[Episode], count: int, rng: np.random.Generator) -> list[PreferencePair]:
    """Return up to `count` pairs, drawn at random, of what a guided take found better in a copy of the moment, and what the policy wanted to do."""
    found = [(episode, t) for episode in guided if episode.margins is not None for t in np.flatnonzero(episode.margins).tolist()]
    pairs = []
    for episode, t in (found[i] for i in sorted(rng.permutation(len(found))[:count])):
        assert episode.rivals is not None, "goes with margins"
        pairs.append(PreferencePair.of(episode.situation(t), episode.tokens[t], episode.rivals[t], "lookahead", (episode.id, episode.id, t)))
    return pairs


def _contests(takes: Sequence[Take], rng: np.random.Generator) -> Iterator[tuple[Episode, Episode]]:
    """Yield every success with every failure, in random order."""
    won = [episode for episode, label in takes if label.success]
    lost = [episode for episode, label in takes if not label.success]
    for place in rng.permutation(len(won) * len(lost)):
        yield won[place // len(lost)], lost[place % len(lost)]


def fork_of(one: Episode, other: Episode) -> int | None:
    """Return the first decision at which two takes of one seed act differently, or None if one is the other's beginning."""
    for t in range(min(len(one), len(other))):
        if not np.array_equal(one.actions[t], other.actions[t]):
            return t
    return None


def conditioned(trial: Trial, weight: float) -> Demonstration:
    """Return a trial as a demonstration of a good reply, or of a bad one: RECAP's binarised advantage, with nothing for a threshold."""
    return Demonstration(replace(trial.situation, advantage=trial.advantage > 0), trial.tokens, weight)


def _rate(groups: dict[Start, list[Take]]) -> float:
    outcomes = [label.success for takes in groups.values() for _, label in takes]
    return float(np.mean(outcomes)) if outcomes else 0.0


def _pass(groups: dict[Start, list[Take]]) -> float:
    return float(np.mean([any(label.success for _, label in takes) for takes in groups.values()])) if groups else 0.0
