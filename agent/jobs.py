"""Which attempts a cycle makes, and how boldly: practice seeds, those that come again, refills, forks, guided takes; the temperature."""

from collections.abc import Sequence

import numpy as np

from agent.collect import Job
from agent.curriculum import attention, by_seed, fork_points, lacking, pick, share, warmer
from agent.files import load
from agent.judge import takes
from agent.records import Episode
from agent.run import SEEDS, Cycle, Run


def temperature(run: Run, cycle: Cycle) -> float:
    """Return at which temperature a cycle's takes are sampled: each new champion's keeps takes of one seed `collect.diversity` apart, if it can.

    It depends on what the former champion's last takes were like, so that all takes of one champion, which are learnt from together, have one.
    """
    given, wanted = run.config.policy.temperature, cycle.config.collect.diversity
    now = given
    for folder in (run.cycle(number).folder for number in range(1, cycle.number if wanted else 1)):
        if load(folder / "cycle.json")["promoted"]:
            now = warmer(now, load(folder / "collect.json")["figures"]["diversity"], wanted, given)
    return now


def fork_jobs(run: Run, cycle: Cycle, episodes: Sequence[Episode]) -> list[Job]:
    """Return more attempts from where takes of this cycle went wrong."""
    jobs, config = [], cycle.config.collect
    for i, (episode, t) in enumerate(fork_points(episodes, config.forks)):
        first = 1_000_000 * cycle.number + config.takes * i  # no take has another's number
        for take in range(first, first + config.takes):
            noise = (run.config.seed, cycle.number, episode.seed, take)
            opening = {"opening": episode.actions[:t], "fork_of": (episode.id, t), "sight": episode.frames[t]}
            jobs.append(Job(episode.seed, take, noise, run.workers.of(episode.task), **opening, rivals=config.rivals))
    return jobs


def refill_jobs(run: Run, cycle: Cycle, episodes: Sequence[Episode]) -> list[Job]:
    """Return takes of further seeds, four fifths up the range of practice seeds, while too few of those practised tell something."""
    config, jobs = cycle.config.collect, []
    done, count = lacking(episodes, config.seeds, config.refill)
    first = SEEDS["practice"] + 100_000 * run.config.seed + 80_000 + _before(run, cycle, "refill") + done
    for kind, own in enumerate(share(count, [env.weight for env in run.config.envs])):
        numbered = [(seed, take) for seed in range(first, first + own) for take in range(config.takes)]
        jobs += [Job(seed, take, (run.config.seed, cycle.number, seed, take), kind, rivals=config.rivals) for seed, take in numbered]
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
    """Return the takes of a cycle: on seeds that are new, and on those of earlier cycles that come again."""
    config, jobs = cycle.config.collect, []
    cycles = [run.cycle(number) for number in range(1, cycle.number)]
    told = run.config.label.by != "critic"  # the critic's word is in the takes alone, and older runs did not keep the environment's
    earlier = [(told and load(each.folder / "collect.json").get("seeds")) or by_seed(takes(run, each)) for each in cycles]
    history = [[{int(seed): rate for seed, rate in seeds.get(env.title, {}).items()} for seeds in earlier] for env in run.config.envs]
    lately = [next((float(np.mean(list(rates.values()))) for rates in reversed(own) if rates), None) for own in history]
    fresh = SEEDS["practice"] + 100_000 * run.config.seed + _before(run, cycle, "seeds")
    taken = _before(run, cycle, "takes")
    for kind, count in enumerate(share(config.seeds, attention(run.config.envs, lately, config.attention))):
        for seed in pick(count, range(fresh, fresh + count), history[kind], config.again, config.recheck):
            first = taken * any(seed in rates for rates in history[kind])  # no take of a seed has another's number
            numbers = range(first, first + config.takes)
            jobs += [Job(seed, take, (run.config.seed, cycle.number, seed, take), kind, rivals=config.rivals) for take in numbers]
        fresh += count
    return jobs


def _before(run: Run, cycle: Cycle, key: str) -> int:
    """Return how many seeds, or takes of one, earlier cycles may have used up by a key of `collect`."""
    return sum(getattr(run.config.at(number).collect, key) for number in range(1, cycle.number))
