"""Examines a dataset before a run: rate, ranges, idle steps, success, words, values that are none, frames; with a config also whether it suits.

n = rows of an episode; A, S, T as in `records`.
"""

from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from agent.config.config import Config
from agent.demonstrate.bounds import settled
from agent.demonstrate.cells import Unusable, column
from agent.demonstrate.datasets import loss_figures, stored
from agent.demonstrate.lerobot import STATE, LeRobot
from agent.demonstrate.looks import SHEET, look, sheet
from agent.demonstrate.oddities import oddities
from agent.demonstrate.outcomes import SUCCESS, hits, silence
from agent.demonstrate.readers import minari_actions
from agent.demonstrate.sources import MINARI, Dataset
from agent.demonstrate.survey import Survey, outlier_sentences
from agent.demonstrate.target import Tally, Target
from agent.rollout.environments import Environments
from policies.codec import DIGITS, Codec
from policies.nano.words import unknown

READ = 20  # episodes whose frames are read too
TIME = "timestamp"
OFF = 0.05  # frames, from which on timestamps do not fit their frame_index


@dataclass
class Findings:
    """What there is to tell about a dataset."""

    lines: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """Sentences: a run can begin, but perhaps not as it is meant."""
    faults: list[str] = field(default_factory=list)
    """Sentences: a run is refused."""
    sheet: np.ndarray | None = None
    """uint8[rows, columns, 3]: episodes from above to below, moments from left to right, cameras one below the other."""


@dataclass
class Rows:
    """What all rows hold together."""

    actions: list[np.ndarray] = field(default_factory=list)
    """float64[n, A] of each usable episode."""
    states: list[np.ndarray | None] = field(default_factory=list)
    successes: int = 0
    tasks: Counter[str] = field(default_factory=Counter)
    off: float = 0.0
    """Frames, by which a timestamp differs from frame_index / fps at most."""
    partly: dict[str, Tally] = field(default_factory=dict)
    """By column: the episodes that a run leaves out if it needs this column, and only then."""


def examine(source: str, config: Config | None) -> Findings:
    """Return the findings about a dataset.

    Args:
        source: as `demonstrate.dataset`.
        config: of a run that is to learn from it; None: the dataset alone is examined.
    """
    found, tally = Findings(), Tally()
    try:
        rows = _minari(source, found, tally) if source.startswith(MINARI) else _lerobot(LeRobot(Path(source).expanduser()), found, tally, config)
        if not rows.actions:
            raise ValueError(f"No episode can be used ({', '.join(tally.lines(3)) or 'it is empty'}).")  # told as a fault, by the `except` below
        survey = Survey.of(rows.actions)
        _describe(survey, found)
        found.notes += [f"Of its episodes {line}: left out." for line in tally.lines()]
        if config is None:
            found.notes += [f"Of its episodes {line}: left out of a run that needs it." for each in rows.partly.values() for line in each.lines()]
            found.notes += outlier_sentences(survey)
            # Whole numbers may be labels, of which none means rest.
            _idle(survey, rows, np.all([(each == np.rint(each)).all(0) for each in rows.actions], 0).astype(int), found)
        else:
            # The dataset of the command, whichever the config names.
            chosen = config.model_copy(update={"demonstrate": config.demonstrate.model_copy(update={"dataset": source})})
            if config.policy.model == "nano" and (spelt := unknown(" ".join(rows.tasks))):
                words = ", ".join(spelt[:5]) + (", ..." if len(spelt) > 5 else "")
                found.notes.append(f"The embedded model does not know {len(spelt)} of the instructions' words ({words}), and spells such words.")
            _suits(settled(chosen), rows, tally, found)  # with numbers for `quantiles`, as the run itself would have
    except ValueError as error:  # of a sentence each
        found.faults += [str(error)] if str(error) not in found.faults else []
    return found


def _minari(source: str, found: Findings, tally: Tally) -> Rows:
    rows = Rows(list(minari_actions(source.removeprefix(MINARI), tally.leave_out)))
    rows.states = [None] * len(rows.actions)  # not read: idle rows are found from the actions alone
    found.lines |= {
        "kind": "Minari",
        "episodes": _lengths(rows.actions),
        "frames": "drawn by the environment, in which episodes are replayed (--config)",
    }
    return rows


def _lerobot(files: LeRobot, found: Findings, tally: Tally, config: Config | None) -> Rows:
    rows, own, videos = Rows(), "etude" in files.info, any(files.features[key]["dtype"] == "video" for key in files.pictures)
    rows.partly = {STATE: Tally(), **({TIME: Tally()} if videos else {})}
    for row in files.listing:
        try:
            _add(rows, files, row)
        except Unusable as error:
            tally.leave_out(error.why, error.where)
    kind = "episodes of a run of etude, a row a decision" if own else "LeRobotDataset v3.0"
    found.lines |= {"kind": kind + (f", {files.info['robot_type']}" if files.info.get("robot_type") else ""), "episodes": _lengths(rows.actions)}
    found.lines |= {"rate": f"{files.fps:g} rows a second", "cameras": ", ".join(files.pictures) or "none"}
    found.lines |= {"state": f"{files.sizes[STATE]} numbers" if STATE in files.sizes else "none"}
    told = ", ".join(map(repr, list(rows.tasks)[:3])) + (", ..." if len(rows.tasks) > 3 else "")
    found.lines |= {"words": f"{len(rows.tasks)} instruction{'s' * (len(rows.tasks) != 1)}: {told}"}
    success = f"{rows.successes} of {len(rows.actions)} episodes ({files.success_column})" if files.success_column else "no column says it"
    found.lines |= {"success": success, "timestamps": f"off by at most {rows.off:.2g} frames"}
    if config is None:  # with a config `_suits` says it: the environment's success rule may decide
        found.notes += oddities(files)
        if rows.actions and not rows.successes:
            found.faults.append(f"None of its {len(rows.actions)} usable episodes succeeded, and a run needs one that did.")
        if not files.success_column:
            found.notes.append(f"{silence(files.columns)}.")
    if rows.off > OFF:
        found.notes.append(f"Timestamps differ from frame_index / fps by up to {rows.off:.3g} frames; fps or the timestamps are wrong.")
    found.sheet, notes, faults = look(files, None if config is None else config.demonstrate.cameras or config.envs[0].sources)
    found.notes, found.faults = found.notes + notes, found.faults + faults
    return rows


def _add(rows: Rows, files: LeRobot, row: dict[str, Any]) -> None:
    """Add an episode.

    Raises:
        Unusable: it cannot be used.
    """
    number, others = row["episode_index"], [TIME, "next.reward", *SUCCESS, *([STATE] if STATE in files.sizes else [])]
    table = files.rows(row, [files.targets, "frame_index", "task_index"], others)
    actions = column(table, files.targets, number, files.sizes.get(files.targets, 0))
    if "next.reward" in table.column_names:
        column(table, "next.reward", number, 1)  # raises where a run would leave the episode out
    won, task = hits(table, row, files.columns), files.instruction(table, number)
    # From here on nothing raises, so an unusable episode adds nothing. A row of etude holds H actions of this width.
    rows.actions.append(actions.reshape(-1, (row.get("etude/chunk_shape") or actions.shape)[-1]))
    state = files.states_if_any(table, number)
    rows.states.append(None if state is None or len(state) != len(rows.actions[-1]) else state)  # one state for H actions cannot be set beside them
    rows.successes += bool(won.any())
    rows.tasks[task] += 1
    if TIME in table.column_names:
        with suppress(Unusable):
            rows.off = max(rows.off, float(files.drift(table, number).max()))
    for name, each in rows.partly.items():
        try:
            if name in table.column_names:
                files.states(table, number) if name == STATE else files.times(table, number)
        except Unusable as error:
            each.leave_out(error.why, error.where)


def _lengths(actions: list[np.ndarray]) -> str:
    """Return how many episodes and rows there are."""
    counts = [len(each) for each in actions] or [0]
    return f"{len(actions)} usable ones of {min(counts)} to {max(counts)} rows, {sum(counts)} rows in all"


def _describe(survey: Survey, found: Findings) -> None:
    """Add a line for each number of an action."""
    for i, (low, high) in enumerate(survey.bounds):
        values = f"{survey.low[i]:.4g} and {survey.high[i]:.4g} alone" if survey.two_valued[i] else f"{survey.low[i]:.4g} to {survey.high[i]:.4g}"
        found.lines[f"action {i}"] = values + ("" if survey.two_valued[i] else f", quantiles {low:.4g} to {high:.4g}")
    if (still := survey.high == survey.low).any():
        found.notes.append(f"Nothing ever changes in {int(still.sum())} of {len(still)} numbers of the actions (the first: {int(still.argmax())}).")


def _idle(survey: Survey, rows: Rows, counts: np.ndarray, found: Findings) -> None:
    """Add how many rows do nothing, each as a decision of one action; `counts` as of `Survey.idle`."""
    # The last decision of an episode stays, whatever it does.
    idle = sum(int(survey.idle(each[:, None], counts, _after(state))[:-1].sum()) for each, state in zip(rows.actions, rows.states, strict=True))
    total = sum(map(len, rows.actions))
    known = any(state is not None for state in rows.states)
    found.lines["idle"] = f"{100 * idle / total:.1f} % of the rows do nothing" if known else "no state tells which rows do nothing"
    if idle:
        found.notes.append(f"{idle} of {total} rows do nothing; decisions of such rows alone are left out.")


def _after(states: np.ndarray | None) -> np.ndarray | None:
    """Return float64[n + 1, S]: the states with the last one again, which stands for the state after the last action."""
    return None if states is None else np.concatenate([states, states[-1:]])


def _suits(config: Config, rows: Rows, tally: Tally, found: Findings) -> None:
    """Add whether the dataset suits a run; `tally` counts the episodes that are left out already.

    Raises:
        ValueError: it does not.
    """
    with closing(Environments(config.envs[:1], 1)) as environments:  # `Dataset.of` refuses several
        target = Target.of(environments.first)
    rate = f"{target.rate:g} steps a second" if target.rate else "it declares no rate"
    found.lines |= {"environment": f"{config.envs[0].title}: {rate}, {len(target.actions)} numbers an action, {target.state_size} in the state"}
    dataset = Dataset.of(config, target)
    used = dataset.survey.used(*target.box)
    _idle(dataset.survey, rows, target.actions.counts, found)
    for i, share in enumerate(used):
        box = f"[{target.box[0][i]:.4g}, {target.box[1][i]:.4g}]"
        found.lines[f"action {i}"] = f"{found.lines.get(f'action {i}', '')}; {100 * share:.0f} % of {box} is used"
    count = config.policy.num_bins if config.policy.codec == "bins" else 10**DIGITS  # `digits` writes numbers of two digits
    bounds = (target.actions.low, target.actions.high, config.policy.chunk_size, target.actions.counts)
    # Invented tokens: rounding alone is looked at, and no model is loaded.
    codec, read = Codec(np.arange(count)[:, None], *bounds, scale=config.policy.scale), Tally()
    episodes = list(islice(stored(config, target, codec, read), READ))  # a generator: the frames of further episodes are not decoded
    loss, sentences = loss_figures(episodes, codec, target.box)
    for i, share in enumerate(loss.values()):
        found.lines[f"action {i}"] += f"; the codec loses {100 * share:.0f} %"
    found.notes += [*dataset.sentences(), *sentences]
    found.notes += _left_out(tally, [each for name, each in rows.partly.items() if name in dataset.needed], read)
    found.lines |= {"decisions": f"{read.decisions} in the first {len(episodes)} episodes, {read.idle} of them idle"}
    if found.sheet is None and episodes:
        found.sheet = sheet([each.frames for each in episodes[:SHEET]])


def _left_out(told: Tally, needed: list[Tally], read: Tally) -> list[str]:
    """Return sentences about the episodes that the run leaves out, each reason once.

    Args:
        told: whose reasons are told already.
        needed: of all episodes, by columns that this run needs.
        read: of the first episodes, as the run reads them.
    """
    known = {why for each in (told, *needed) for why in each.reasons}
    first = Tally(Counter({why: count for why, count in read.reasons.items() if why not in known}), read.places)
    return [f"Of its episodes {line}: left out." for each in needed for line in each.lines()] + [
        f"Of the first episodes {line}: left out." for line in first.lines()
    ]
