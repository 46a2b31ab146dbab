"""Stored demonstrations: which episodes of a dataset are used, and figures about them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from agent.config.config import Config
from agent.demonstrate.sources import Dataset
from agent.demonstrate.survey import Survey, codec_loss, loss_sentences, without
from agent.demonstrate.target import Tally, Target
from agent.records import SEEDS, Episode


def stored(config: Config, target: Target, codec: Any, tally: Tally) -> Iterator[Episode]:
    """Yield episodes of the dataset `demonstrate.dataset` in its order: up to `demonstrate.episodes` successes, and as many failures.

    Decisions that do nothing are left out of them, and counted.

    Args:
        config: names the dataset, its cameras, the environment and the number of episodes.
        target: of the environment.
        codec: a `policies.codec.Codec`: H, and actions to tokens.
        tally: counts what is left out.

    Raises:
        ValueError: there is no such dataset, it does not suit the environment, it is damaged, or none of its episodes can be used.
    """
    most, source = config.demonstrate.episodes, config.demonstrate.dataset
    if not most:
        return
    opened, counts = Dataset.of(config, target), {True: 0, False: 0}
    for episode in opened.episodes(codec, tally):
        if SEEDS["gate"] <= episode.seed < SEEDS["ground"]:  # the ranges of gate and test seeds lie between these
            tally.leave_out("begin as an evaluation does", f"episode {episode.attempt}, seed {episode.seed}")  # it would not measure generalisation
        elif counts[episode.success] < most:
            idle_T = opened.survey.idle(episode.targets, target.actions.counts, episode.states)
            shorter = without(episode, idle_T)
            tally.idle, tally.decisions = tally.idle + len(episode) - len(shorter), tally.decisions + len(episode)
            counts[episode.success] += 1
            yield shorter if opened.has_state else replace(shorter, states=None)
        if counts[True] == most:
            return
    if not counts[True]:
        why = ", ".join([*tally.lines(3), *([f"{counts[False]} failed"] if counts[False] else [])]) or "it is empty"
        raise ValueError(f"demonstrate.dataset {source} has no usable episode ({why}); name another one, or an expert in demonstrate.expert.")


def figures(shown: Sequence[Episode], tally: Tally, target: Target) -> dict[str, float]:
    """Return the stage's figures about demonstrations from a dataset.

    Args:
        shown: the episodes, failures among them.
        tally: what was left out.
        target: of the environment.

    Returns:
        `left_out`, episodes; `failures`, episodes; `mean_length`, decisions an episode; `idle`, share of idle decisions; `clipped`, share of
        all numbers of actions that lie outside of the action space; `used/I`, share of the environment's range of number I that is used.
    """
    low, high = target.actions.low, target.actions.high
    margin = 0.01 * (high - low)  # rounding at the border is no clipping
    # Much clipping means that the dataset has other units than the environment, degrees instead of radians for instance.
    outside = [(e.targets < low - margin) | (e.targets > high + margin) for e in shown]
    clipped = float(np.mean(np.concatenate([each.reshape(-1) for each in outside]))) if outside else 0.0
    made = {"left_out": float(tally.reasons.total()), "failures": float(sum(not e.success for e in shown))}
    made |= {"mean_length": float(np.mean([*map(len, shown)])) if shown else 0.0, "clipped": clipped}
    made |= {"idle": tally.idle / max(tally.decisions, 1)}
    used = Survey.of([e.targets.reshape(-1, len(low)) for e in shown]).used(*target.box) if shown else ()
    return made | {f"used/{i}": round(float(share), 4) for i, share in enumerate(used)}


def loss_figures(shown: Sequence[Episode], codec: Any, box: tuple[np.ndarray, np.ndarray] | None = None) -> tuple[dict[str, float], list[str]]:
    """Return `codec_loss/I`, what the codec loses of number I of the demonstrations' actions, and sentences where that is much.

    Args:
        shown: the episodes; successes are looked at.
        codec: of the policy.
        box: of the `Target`, for a dataset. Numbers beyond it have other units, and a gripper elsewhere in it another convention: bins that cover
            them would send such numbers to the environment.
    """
    targets = [episode.targets for episode in shown if episode.success and len(episode)]
    if not targets or not hasattr(codec, "nearest"):  # a policy class of the user's may have a codec of its own
        return {}, []
    loss_A = codec_loss(targets, codec)
    survey = Survey.of([each.reshape(-1, each.shape[-1]) for each in targets])
    told_A = survey.beyond(*box) | survey.elsewhere(*box) if box else np.zeros(len(loss_A), bool)
    return {f"codec_loss/{i}": round(float(loss), 4) for i, loss in enumerate(loss_A)}, loss_sentences(loss_A, told_A)
