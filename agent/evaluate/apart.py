"""An evaluation apart from a run: any policy, greedy, on the test seeds or others, alone or against another policy on the same seeds."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

from agent.evaluate.stage import evaluation_jobs
from agent.evaluate.statistics import compare, standing, tally
from agent.records import SEEDS, Episode, Scorecard
from agent.rollout.environments import Environments
from agent.rollout.rollout import rollout, tolerate
from agent.rollout.sharing import by_env
from agent.source import Source
from envs import EnvConfig


@dataclass(frozen=True)
class Evaluation:
    """The result for one policy."""

    title: str  # as the policy was named
    card: Scorecard
    faults: list[str]  # of the environment, with their seeds, which count as failed
    episodes: list[Episode] = field(repr=False)  # the first ones, for videos


def evaluate_source(
    source: Source, environments: Environments, count: int = 400, first: int | None = None, *, keep: int = 0, watch: Callable[[], None] = lambda: None
) -> Evaluation:
    """Evaluate a policy by greedy episodes, one per seed.

    Args:
        source: the policy.
        environments: of `source.config`; the caller closes them.
        count: number of episodes, shared among the environments by `env.weight`.
        first: of consecutive seeds, in each environment; None: the test seeds, which are the same in every run.
        keep: the first so many episodes of the result are kept.
        watch: called after each episode.

    Raises:
        ValueError: the policy cannot be loaded, or gives other actions than the environments take, or too many episodes are faulty.
    """
    return evaluate_policy(source.title, _loaded(source, environments), environments, count, first, keep=keep, watch=watch)


def check_source(source: Source) -> None:
    """Raise ValueError if a policy cannot be loaded, or its environments cannot be made or take other actions; nothing of it is kept."""
    with closing(Environments(source.config.envs, 1)) as environments:
        _loaded(source, environments)


def _loaded(source: Source, environments: Environments) -> Any:
    source.check(environments.actions, environments.configs[0])  # before the weights are loaded, which takes longer
    return source.load(environments.actions)


def evaluate_policy(
    title: str, policy: Any, environments: Environments, count: int, first: int | None, *, keep: int = 0, watch: Callable[[], None] = lambda: None
) -> Evaluation:
    """Evaluate a policy that is loaded; arguments as of `evaluate_source`.

    Raises:
        ValueError: a seed is negative, or too many episodes are faulty for a success rate.
    """
    if first is not None and first < 0:
        raise ValueError(f"The first seed is {first}; give 0 or more.")
    kept: list[Episode] = []

    def see(episode: Episode) -> None:
        kept.extend([episode] if len(kept) < keep else [])  # `tally` keeps none, and videos need the first ones
        watch()

    jobs = evaluation_jobs(environments.configs, count, SEEDS["test"] if first is None else first)  # not `first or`: 0 is a seed too
    card, faults = tally(policy.name, tolerate(rollout(policy, environments, jobs), len(jobs)), see)
    return Evaluation(title, card, faults, kept)


def written(envs: Sequence[EnvConfig], result: Evaluation, against: Evaluation | None = None) -> dict[str, Any]:
    """Return the content of `evaluation.json`: the success rate with n and interval, that of each environment, and every seed's outcome.

    Args:
        envs: in which it acted.
        result: of the policy.
        against: the result of another policy on the same seeds; adds the paired comparison.
    """
    tasks = {title: standing(card) for title, card in by_env(envs, result.card).items()}
    content = {
        "policy": result.title,
        "weights": result.card.policy,
        "environments": [env.title for env in envs],
        **standing(result.card),
        **({"tasks": tasks} if tasks else {}),  # `by_env` gives nothing for a single environment
        "faults": result.faults,
        "outcomes": result.card.outcomes,
    }
    if against is None:
        return content
    other = {"policy": against.title, "weights": against.card.policy, **standing(against.card), "faults": against.faults}
    return content | {"against": {**other, "outcomes": against.card.outcomes, "comparison": asdict(compare(result.card, against.card))}}
