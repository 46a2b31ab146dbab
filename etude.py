"""Python API of etude: improve a policy in simulation, and use its champion in a control loop of your own.

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

`import etude` registers our own environments with Gymnasium. torch and the models are imported only when a function needs them.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import envs as _envs  # noqa: F401 - registers etude/Reach-v0 and the others

if TYPE_CHECKING:
    from agent.actor import Actor
    from agent.config.config import Config
    from agent.records import Rate
    from agent.run.folder import Run

__all__ = ["Config", "evaluate", "improve", "load_policy", "load_run"]


def __getattr__(name: str) -> Any:  # of the module (PEP 562): `etude.Config` is imported when it is first read
    if name == "Config":
        from agent.config.config import Config

        return Config
    raise AttributeError(f"module 'etude' has no attribute {name!r}; it has {', '.join(__all__)}")


def improve(config: "Config | str | Path", run: str | Path) -> dict[str, Any]:
    """Improve a policy, or go on with a run that was stopped, and return the content of its `summary.json`.

    Args:
        config: a `Config`, or the path of a YAML file.
        run: folder of the run; made if missing. In the folder of a run, the config must be the same, but for the keys in `agent.run.folder.FREE`.

    Raises:
        ValueError: the run cannot begin or go on; one sentence says why, and what to do.
    """
    from agent.config.config import Config
    from agent.config.read import read
    from agent.improve import improve
    from agent.ready import ready
    from agent.report.report import report
    from agent.rollout.session import Session
    from agent.run.asked import named
    from agent.run.files import alone, read_object
    from agent.run.folder import Run
    from agent.run.tracking import Track
    from agent.settled import settled

    if not isinstance(config, Config | str | Path):
        raise ValueError(f"The config is a {type(config).__name__}; give an etude.Config, such as etude.Config(seed=1), or the path of a YAML file.")
    folder, settings = named(run), read(Path(config)) if isinstance(config, str | Path) else config
    with alone(folder):  # refuses a second process in the same folder
        session = Session(Run(folder, settled(settings, folder)))
        try:
            ready(session)  # before `begin`: a run that is refused leaves nothing behind
            session.run.begin()
            track, failed = Track(folder, session.config), True  # failed until it is not, so that Ctrl-C counts as well
            try:
                improve(session, track)
                failed = False
            finally:
                track.close(failed)
        finally:
            session.close()
        report(folder)  # still under the lock, because it writes into the folder
        return read_object(folder / "summary.json")


def load_policy(policy: str | Path, device: str = "") -> "Actor":
    """Return a trained policy: `policy.act(observation, instruction)` returns the next action, `policy.reset()` begins an episode.

    Args:
        policy: folder of a run, finished or not, whose champion it is; a checkpoint in a run, `RUN/cycle-003`; or the folder of `etude export`.
        device: torch device; empty: that of the run.

    Raises:
        ValueError: there is no such policy, the run has no champion yet, or the weights differ from the recorded ones.
    """
    from agent.actor import load_actor
    from agent.source import find

    return load_actor(find(str(policy)).on(device))


def load_run(run: str | Path) -> "Run":
    """Return a run, to read its records; nothing is written, and no model or environment is made.

    It has `.config`, `.metrics()` (the rows of `metrics.jsonl`), `.results()` (one dict per finished cycle), `.cycle(number)` and
    `.episodes(folder)`, as in `run.episodes(run.cycle(1).folder)`.

    Raises:
        ValueError: there is no run in that folder.
    """
    from agent.run.asked import named
    from agent.run.folder import Run

    return Run(named(run))


def evaluate(policy: "Actor", episodes: int | None = None, num_envs: int = 64, first_seed: int | None = None) -> "Rate":
    """Return the success rate of a policy in the first environment of its run, by greedy decisions, with its 95 % interval (Wilson 1927) and n.

    Args:
        policy: as returned by `load_policy`.
        episodes: number of episodes, one per seed; None: `evaluate.test_episodes` of its run.
        num_envs: environments stepped side by side; changes the speed, never the result.
        first_seed: of consecutive seeds; None: the test seeds, which are the same in every run.

    Episodes that a fault of the environment ends count as failed, and are told of on stderr.

    Raises:
        ValueError: this is no policy of `load_policy`, a number is too small, more than 20 % of the episodes are faulty, or the policy is an export
            and was trained in an environment that is not our own.
    """
    from agent.actor import Actor
    from agent.config.keys import EvaluateConfig
    from agent.evaluate.apart import evaluate_policy
    from agent.rollout.environments import Environments

    if not isinstance(policy, Actor):
        raise ValueError(f"evaluate takes what load_policy returns, and got a {type(policy).__name__}.")
    for name, given in (("episodes", episodes), ("num_envs", num_envs)):
        if given is not None and not (isinstance(given, int) and given >= 1):
            raise ValueError(f"{name} is {given!r}; give a whole number of at least 1.")
    settings = policy.source.config.evaluate if policy.source else EvaluateConfig()
    if policy.source:
        policy.source.refuse_foreign_code()
    environments = Environments(policy.env, num_envs)
    try:
        result = evaluate_policy("", policy.model, environments, episodes or settings.test_episodes, first_seed)
        if result.faults:
            print(f"etude: {len(result.faults)} seeds failed by a fault of the environment: {result.faults[0]}", file=sys.stderr)
        return result.card.success
    finally:
        environments.close()  # of the policy's run there is no session that would
