"""Stage `tune` of a run: from the base model to the warm start, and from the champion to a challenger."""

from typing import Any

from agent.config.keys import DemonstrateConfig, TuneConfig
from agent.learning.training import train
from agent.records import Lessons, Player
from agent.rollout.session import Session
from agent.run.folder import Cycle
from agent.run.tracking import Track


def imitate(session: Session, lessons: Lessons, track: Track) -> Player:
    """Stage `tune` before the first cycle: the base model imitates demonstrations (the warm start)."""
    run, config, folder = session.run, session.config.demonstrate, session.run.folder / "start"

    def go() -> dict[str, Any]:
        from agent.learning.trainer import tune

        return train(session, None, folder, lambda policy, watch: tune(
            policy, lessons, recipe(config), seed=(run.config.seed, 0), steps=config.steps if lessons else 0,
            checkpoint=folder / "checkpoint.pt", watch=watch,
        ), track, "warm start")  # fmt: skip

    made = run.keep(folder / "tune.json", go)
    track.log(run.metrics())
    return Player(folder / "policy.safetensors", made["policy"])


def recipe(config: DemonstrateConfig) -> TuneConfig:
    """Return how demonstrations are imitated; where the model also learns to count down from them, that weighs as much."""
    return TuneConfig(policy_gradient=0, preference=0, imitation=1, critic=1, batch=config.batch, lr=config.lr)


def learn(session: Session, champion: Player, lessons: Lessons, cycle: Cycle, track: Track) -> Player:
    """Stage `tune`: from the champion to a challenger."""
    run = session.run

    def go() -> dict[str, Any]:
        from agent.learning.trainer import tune

        return train(session, champion, cycle.folder, lambda policy, watch: tune(
            policy, lessons, cycle.config.tune, seed=(run.config.seed, cycle.number), checkpoint=cycle.folder / "checkpoint.pt", watch=watch
        ), track, f"cycle {cycle.number}: tune")  # fmt: skip

    made = run.keep(cycle.folder / "tune.json", go)
    track.log(run.metrics())
    run.finished("tune")
    return Player(cycle.folder / "policy.safetensors", made["policy"])
