"""Which attempts a cycle makes: practice seeds, refills, guided takes."""

from collections.abc import Sequence

import numpy as np

from agent.collect.curriculum import attention, by_seed, lacking
from agent.records import SEEDS, Episode, Job
from agent.rollout.sharing import share
from agent.run.files import load
from agent.run.folder import Cycle, Run
from agent.run.labels import labelled


def refill_jobs(run: Run, cycle: Cycle, episodes: Sequence[Episode]) -> list[Job]:
    """Return takes of further seeds, four fifths up the range of practice seeds, while too few of those practised tell something."""
    config, jobs = cycle.config.collect, []
    done, count = lacking(episodes, config.seeds, config.refill)
    first = SEEDS["practice"] + 100_000 * run.config.seed + 80_000 + _before(run, cycle, "refill") + done
    for kind, own in enumerate(share(count, [env.weight for env in run.config.envs])):
        numbered = [(seed, take) for seed in range(first, first + own) for take in range(config.takes)]
        jobs += [Job(seed, take, (run.config.seed, cycle.number, seed, take), kind) for seed, take in numbered]
        first += own
    return jobs


def guided_jobs(run: Run, cycle: Cycle) -> list[Job]:
    """Return the guided takes of a cycle: one a seed, half-way up the range of the run's practice seeds, shared among tasks by weight."""
    config, jobs = cycle.config.collect, []
    first = SEEDS["practice"] + 100_000 * run.config.seed + 50_000 + _before(run, cycle, "guided")
    for kind, count in enumerate(share(config.guided, [env.weight for env in run.config.envs])):
        ahead = {"foresight": config.foresight, "wander": config.wander}
        jobs += [Job(seed, 0, (run.config.seed, cycle.number, seed, 0), kind, **ahead) for seed in range(first, first + count)]
        first += count
    return jobs


def practice_jobs(run: Run, cycle: Cycle) -> list[Job]:
    """Return the takes of a cycle, on seeds that are new, shared among tasks by `attention`."""
    config, jobs = cycle.config.collect, []
    earlier = [run.cycle(number) for number in range(1, cycle.number)] if len(run.config.envs) > 1 else []  # one alone gets all
    alone = run.config.label.by == "critic"  # then the environment's word must not decide what is practised
    seeds = [by_seed(labelled(run, each)) if alone else load(each.folder / "collect.json")["seeds"] for each in earlier]
    met = [[list(each[env.title].values()) for each in seeds if each.get(env.title)] for env in run.config.envs]
    lately = [float(np.mean(rates[-1])) if rates else None for rates in met]
    fresh = SEEDS["practice"] + 100_000 * run.config.seed + _before(run, cycle, "seeds")
    for kind, count in enumerate(share(config.seeds, attention(run.config.envs, lately, config.attention))):
        numbered = [(seed, take) for seed in range(fresh, fresh + count) for take in range(config.takes)]
        jobs += [Job(seed, take, (run.config.seed, cycle.number, seed, take), kind) for seed, take in numbered]
        fresh += count
    return jobs


def _before(run: Run, cycle: Cycle, key: str) -> int:
    """Return how many seeds earlier cycles may have used up by a key of `collect`."""
    return sum(getattr(run.config.at(number).collect, key) for number in range(1, cycle.number))
