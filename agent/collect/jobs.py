"""The jobs of a cycle's practice: regular seeds, further seeds of dynamic sampling, and look-ahead episodes.

A run has a range of 100,000 practice seeds, by its run seed: regular ones first, then those of look-ahead episodes and of dynamic sampling.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from agent.collect.curriculum import by_seed, lacking, practice_shares
from agent.config.keys import PRACTICE_SEEDS
from agent.records import SEEDS, Episode, Job
from agent.rollout.sharing import share
from agent.run.files import load
from agent.run.folder import Cycle, Run
from agent.run.labels import labelled


def dynamic_sampling_jobs(run: Run, cycle: Cycle, episodes: Sequence[Episode]) -> list[Job]:
    """Return the jobs of the next round of dynamic sampling; none, when enough seeds are mixed or the limit is reached.

    Args:
        run: of the cycle.
        cycle: the present one.
        episodes: of the cycle so far.
    """
    config, jobs = cycle.config.collect, []
    done, count = lacking(episodes, config.num_seeds, config.dynamic_sampling)
    first = _first(run, cycle, "dynamic_sampling") + done
    for kind, number in enumerate(share(count, [env.weight for env in run.config.envs])):
        numbered = [(seed, episode) for seed in range(first, first + number) for episode in range(config.episodes_per_seed)]
        # The noise seed (third field) names run, cycle, seed and episode: sampling depends on nothing else.
        jobs += [Job(seed, episode, (run.config.seed, cycle.number, seed, episode), kind) for seed, episode in numbered]
        first += number  # seeds of different environments differ too
    return jobs


def lookahead_jobs(run: Run, cycle: Cycle) -> list[Job]:
    """Return the jobs of a cycle's look-ahead episodes: one a seed, shared among the environments by weight."""
    config, jobs = cycle.config.collect, []
    first = _first(run, cycle, "lookahead_episodes")
    for kind, count in enumerate(share(config.lookahead_episodes, [env.weight for env in run.config.envs])):
        lookahead = {"lookahead_candidates": config.lookahead_candidates, "lookahead_policy_share": config.lookahead_policy_share}
        jobs += [Job(seed, 0, (run.config.seed, cycle.number, seed, 0), kind, **lookahead) for seed in range(first, first + count)]
        first += count
    return jobs


def practice_jobs(run: Run, cycle: Cycle) -> list[Job]:
    """Return the jobs of a cycle's regular practice: `episodes_per_seed` on each of `num_seeds` new seeds, shared by `practice_shares`."""
    config, jobs = cycle.config.collect, []
    earlier = [run.cycle(number) for number in range(1, cycle.number)] if len(run.config.envs) > 1 else []  # one environment alone gets all seeds
    # Where the detector labels alone, the environment's success must have no influence on training, and so not on the curriculum.
    alone = run.config.label.by == "detector"
    seeds = [by_seed(labelled(run, each)) if alone else load(each.folder / "collect.json")["seeds"] for each in earlier]
    # Success rates by environment, then by cycle in which it was practised, then by seed.
    rates_by_env = [[list(each[env.title].values()) for each in seeds if each.get(env.title)] for env in run.config.envs]
    success = [float(np.mean(rates[-1])) if rates else None for rates in rates_by_env]
    first = _first(run, cycle, "num_seeds")
    for kind, count in enumerate(share(config.num_seeds, practice_shares(run.config.envs, success))):
        numbered = [(seed, episode) for seed in range(first, first + count) for episode in range(config.episodes_per_seed)]
        jobs += [Job(seed, episode, (run.config.seed, cycle.number, seed, episode), kind) for seed, episode in numbered]
        first += count
    return jobs


def _first(run: Run, cycle: Cycle, key: str) -> int:
    """Return the first seed of a cycle for a key of `collect`; raise ValueError where earlier cycles have left too few."""
    # The largest possible numbers, not those that were used: the seeds of a cycle are then known without the episodes of those before it.
    # The configs of cycles differ by phase.
    used, *before = (getattr(run.config.at(number).collect, key) for number in range(cycle.number, 0, -1))
    if used + sum(before) > PRACTICE_SEEDS[key]:
        raise ValueError(
            f"cycle {cycle.number}: a run has {PRACTICE_SEEDS[key]} practice seeds for collect.{key}, {sum(before)} were for earlier cycles, and "
            f"{used} are asked for; set cycles to {cycle.number - 1}, and go on from its champion in a new run with another seed."
        )
    place = sum(size for other, size in itertools.takewhile(lambda each: each[0] != key, PRACTICE_SEEDS.items()))
    return SEEDS["practice"] + 100_000 * run.config.seed + place + sum(before)
