"""What W&B is sent of a run, entry by entry. All of it is read from the run's folder, so a later start, or `etude sync`, sends the same.

| entry | row in W&B | comes with |
|---|---|---|
| a row of `metrics.jsonl` | its figures | artifacts of its stage, alerts of guards |
| a picture or video of a cycle | the file | |
| an evaluation's episodes that were filmed | a table | |
| the end of the run | before/after videos | the champion as an artifact |
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from agent.run import artifacts
from agent.run.artifacts import Artifact
from agent.run.files import load
from agent.run.layout import cycle_folder, evaluation_video, gate_of, summary

COLUMNS = ("policy", "task", "seed", "instruction", "outcome", "detector's score", "video")  # of a table of episodes


@dataclass(frozen=True)
class Content:
    """One row of the W&B run's history, and what is sent with it."""

    row: dict[str, Any]  # numbers by metric; a `Path` is a picture or a video, a list of dicts is a table
    artifacts: Sequence[Artifact] = ()
    alerts: Sequence[str] = ()


@dataclass(frozen=True)
class Entry:
    """An entry that is sent once."""

    key: str  # the same for the same content, in every start of the run
    content: Callable[[], Content]  # reads files, so it is called only if the entry is to be sent


def entries(run: Path, rows: Sequence[dict[str, Any]]) -> Iterator[Entry]:
    """Yield all entries of a run so far, in the order of the stages.

    Args:
        run: folder of the run.
        rows: of `metrics.jsonl`.
    """
    steps = itertools.accumulate("step" in row for row in rows)  # gradient steps of the whole run, up to and with each row
    for row, step in zip(rows, steps, strict=True):
        yield Entry(_key(row), partial(_figures, run, row, step - 1))
        if row["stage"] == "curate":
            yield from _files(
                run, row["cycle"], {f"cycle-{row['cycle']:03d}-best.mp4": "videos/best", f"cycle-{row['cycle']:03d}-worst.mp4": "videos/worst"}
            )
            yield from _files(run, row["cycle"], {"first-batch.png": "pictures/first-batch"} if row["cycle"] == 1 else {})
        if row["stage"] == "evaluate":
            yield from _table(run, row["cycle"], "eval/episodes", f"gate-*-cycle-{row['cycle']}.json")
    if results := summary(run):
        cycle = results["cycles"]
        yield from _table(run, cycle, "test/episodes", "test-*.json")
        shown = evaluation_video(run, "before-after", results["policy"], "*")  # not those of an earlier end of the run
        yield from _files(run, cycle, {file.name: f"videos/before-after-{i}" for i, file in enumerate(sorted(shown.parent.glob(shown.name)))})
        # A run that goes on ends again, with another key.
        ended = {"cycle": cycle, **{f"after/{key}": results["after"][key] for key in ("rate", "low", "high")}}
        yield Entry(_key({**ended, "policy": results["policy"]}), lambda: Content(ended, artifacts.champion(run, results)))


def _key(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]  # 64 bits tell the entries of a run apart


def _figures(run: Path, row: dict[str, Any], step: int) -> Content:
    """Return a row of `metrics.jsonl`; `step` counts the gradient steps of the whole run from 0."""
    figures, cycle, stage = {key: value for key, value in row.items() if key not in ("stage", "step")}, row["cycle"], row["stage"]
    if "step" in row:
        return Content(figures | {"train/step": step})
    made = {"demonstrate": lambda: artifacts.demonstrations(run), "collect": lambda: artifacts.episodes(run, cycle)}
    made["tune"] = lambda: artifacts.policy(run, cycle)
    # The file that names the alarms of guards: of a cycle, or of the gate of the warm start.
    file = cycle_folder(run, cycle) / "cycle.json" if stage == "cycle" else run / "start" / "evaluate.json"
    alarms = load(file).get("alarms", []) if stage == "cycle" or (stage == "evaluate" and cycle == 0) else []
    return Content(figures, made.get(stage, list)(), alarms)  # `list()`: other stages make no artifact


def _files(run: Path, cycle: int, names: dict[str, str]) -> Iterator[Entry]:
    """Yield an entry for each of these files in `videos/` that is there; `names` has their names in W&B."""
    for file, name in ((run / "videos" / file, name) for file, name in names.items()):
        if file.exists():
            # By its size, since a digest would read the video at each start. The row is bound now: `content` is called later.
            row = {name: file, "cycle": cycle}
            yield Entry(_key([name, cycle, file.stat().st_size]), lambda row=row: Content(row))


def _table(run: Path, cycle: int, name: str, pattern: str) -> Iterator[Entry]:
    """Yield an entry with the filmed episodes of some evaluations, as one table; none where no episode was filmed."""
    # Test evaluations of variations have a further hyphen in their names, and are left out.
    cards = {file: load(file) for file in sorted((run / "evaluate").glob(pattern)) if gate_of(file.stem)[1] is not None or file.stem.count("-") == 1}
    roles = {file: _role(run, card["policy"], cycle, name) for file, card in cards.items()}
    rows = [_cells(run, roles[file], each) for file, card in cards.items() if roles[file] for each in card.get("episodes", [])]
    if rows:
        # By the names of the videos alone, so that a run that was moved sends no table twice.
        yield Entry(_key([name, cycle, [{**row, "video": row["video"].name} for row in rows]]), lambda: Content({name: rows, "cycle": cycle}))


def _cells(run: Path, role: str, episode: dict[str, Any]) -> dict[str, Any]:
    """Return an episode as a row of a table."""
    outcome = "success" if episode["success"] else "failure"
    values = (
        role,
        episode["task"],
        episode["seed"],
        episode["instruction"],
        outcome,
        episode["score"],
        run / "evaluate" / "videos" / episode["video"],
    )
    return dict(zip(COLUMNS, values, strict=True))


def _role(run: Path, policy: str, cycle: int, table: str) -> str:
    """Return what a policy was in an evaluation: base model, warm start, champion or candidate; '' where it has no part in it."""
    start = {"base model": "base model", "policy:warm-start": "warm start"}.get(reference := artifacts.policy_of(run, policy), "")
    if table == "eval/episodes":
        return "candidate" if reference == f"policy:cycle-{cycle}" else start if cycle == 0 else "champion"
    return "champion" if summary(run)["policy"] == policy else start  # by the summary, because a run that goes on may have another champion by now
