"""etude's Python API: a model that improves itself in a simulation, and its policies in a loop of your own.

    import gymnasium
    import etude

    policy = etude.load_policy("runs/slide")                 # the champion of a run
    env = gymnasium.make("etude/Slide-v0")
    observation, info = env.reset(seed=1)
    done = False
    while not done:
        action = policy.act(observation, info["instruction"])
        observation, reward, terminated, truncated, info = env.step(action)
        done = terminated or truncated

`import etude` registers our own environments with Gymnasium. torch and the models are imported when they are first used.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import envs as _envs  # noqa: F401 - registers etude/Reach-v0 and the others

if TYPE_CHECKING:
    from agent.actor import Actor
    from agent.config.config import Config
    from agent.records import Rate
    from agent.run.folder import Run

__all__ = ["Config", "evaluate", "improve", "load_policy", "load_run"]


def __getattr__(name: str) -> Any:
    if name == "Config":
        from agent.config.config import Config

        return Config
    raise AttributeError(f"module 'etude' has no attribute {name!r}; it has {', '.join(__all__)}")


def improve(config: "Config | str | Path", run: str | Path) -> dict[str, Any]:
    """Improve a policy, or go on with a run that was stopped; return what `summary.json` holds in the end.

    Args:
        config: a `Config`, or a YAML file.
        run: folder of the run.

    Raises:
        ValueError: one sentence says what is wrong and what to do.
    """
    from agent.config.read import read
    from agent.improve import improve
    from agent.ready import ready
    from agent.report.report import report
    from agent.rollout.session import Session
    from agent.run.files import alone, read_object
    from agent.run.folder import Run
    from agent.run.tracking import Track

    folder, chosen = Path(run), read(Path(config)) if isinstance(config, str | Path) else config
    with alone(folder):
        session = Session(Run(folder, chosen))
        try:
            ready(session)
            session.run.begin()
            track, failed = Track(folder, session.config), True
            try:
                improve(session, track)
                failed = False
            finally:
                track.close(failed)
        finally:
            session.close()
        report(folder)
        return read_object(folder / "summary.json")


def load_policy(run: str | Path, device: str = "") -> "Actor":
    """Return the champion of a run: `policy.act(observation, instruction)` gives the next action, `policy.reset()` begins an episode.

    Args:
        run: folder of the run.
        device: torch device; empty: that of the run.

    Raises:
        ValueError: there is no run, it has no champion yet, or its weights are not what was recorded.
    """
    from agent.actor import load_actor

    return load_actor(Path(run), device)


def load_run(run: str | Path) -> "Run":
    """Return a run: `.config`, `.metrics()` (every row of `metrics.jsonl`), `.results()` (its cycles), `.episodes(folder)`.

    Raises:
        ValueError: there is none in that folder.
    """
    from agent.run.folder import Run

    return Run(Path(run))


def evaluate(policy: "Actor", episodes: int = 400, num_envs: int = 64, first_seed: int | None = None) -> "Rate":
    """Return a policy's success rate in the first environment of its run, greedy, with its 95 % interval (Wilson 1927) and n.

    Args:
        policy: as `load_policy` returned it.
        episodes: one a seed.
        num_envs: environments at a time; changes the speed, never the result.
        first_seed: seeds are this one and those after it; None: those of every run's test.
    """
    from agent.records import SEEDS, Job, Rate
    from agent.rollout.environments import Workers
    from agent.rollout.rollout import collect

    first = SEEDS["final"] if first_seed is None else first_seed
    workers = Workers(policy.env, num_envs)
    try:
        won = [episode.success and not episode.faults for episode in collect(policy.model, workers, [Job(first + i) for i in range(episodes)])]
    finally:
        workers.close()
    return Rate.of(sum(won), episodes)
