"""Stage `tune` of a run: training from the base model to the warm start, and from the champion to a candidate."""

from typing import Any

from agent.config.keys import DemonstrateConfig, TuneConfig
from agent.learning.training import train_checkpoint
from agent.records import Checkpoint, TrainingData
from agent.rollout.session import Session
from agent.run.folder import Cycle
from agent.run.tracking import Track


def clone_behaviour(session: Session, training_data: TrainingData, track: Track) -> Checkpoint:
    """Stage `tune` before the first cycle: return the warm start, the base model after behaviour cloning of demonstrations."""
    run, config, folder = session.run, session.config.demonstrate, session.run.folder / "start"

    def go() -> dict[str, Any]:
        from agent.learning.trainer import train  # imports torch, which a resumed run that is past this stage may not need

        settings = recipe(config, run.config.at(1).tune if training_data.pairs else None)
        # Without training data it takes no step, and the warm start has the base model's weights.
        return train_checkpoint(session, None, folder, lambda policy, watch: train(
            policy, training_data, settings, seed=(run.config.seed, 0), steps=config.steps if training_data else 0,
            qa_coef=1, checkpoint=folder / "checkpoint.pt", watch=watch,
        ), track, "warm start")  # fmt: skip

    made = run.keep(folder / "tune.json", go)
    track.log(run.metrics())
    return Checkpoint(folder / "policy.safetensors", made["policy"])


def recipe(config: DemonstrateConfig, tune: TuneConfig | None = None) -> TuneConfig:
    """Return the training settings of the warm start: behaviour cloning. QA examples of steps to go have equal weight there.

    Args:
        config: steps and learning rate.
        tune: of the run, where there are preference pairs, which failed demonstrations make: DPO is then added as in the cycles. Its reference is
            the base model.
    """
    imitation = TuneConfig(pg_coef=0, dpo_coef=0, bc_coef=1, batch_size=64, learning_rate=config.learning_rate)
    same = ("dpo_coef", "dpo_loss_type", "dpo_beta", "rpo_alpha")
    return imitation.model_copy(update={name: getattr(tune, name) for name in same}) if tune else imitation


def tune(session: Session, champion: Checkpoint, training_data: TrainingData, cycle: Cycle, track: Track) -> Checkpoint:
    """Stage `tune`: return the candidate, the champion after training on the cycle's data."""
    run = session.run

    def go() -> dict[str, Any]:
        from agent.learning.trainer import train

        return train_checkpoint(session, champion, cycle.folder, lambda policy, watch: train(
            policy, training_data, cycle.config.tune, seed=(run.config.seed, cycle.number), checkpoint=cycle.folder / "checkpoint.pt", watch=watch
        ), track, f"cycle {cycle.number}: tune")  # fmt: skip

    # `tune.json` is written after the weights: where it exists, they are complete.
    made = run.keep(cycle.folder / "tune.json", go)
    track.log(run.metrics())
    run.finished("tune")
    return Checkpoint(cycle.folder / "policy.safetensors", made["policy"])
