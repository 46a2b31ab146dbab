"""Names of files and folders in a run's folder, and figures that are read from its stage files."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from agent.records import Rate
from agent.run.files import load, read_object

STAGES = ("collect", "label", "curate", "tune", "evaluate")  # of a cycle, in order; each has a file STAGE.json
LOOKAHEAD = "lookahead"  # folder of look-ahead episodes, within that of their cycle
EXAMPLES = "examples/pairs.json"  # within the folder of a cycle; in a folder of its own, because it is no stage file


def cycle_folder(run: Path, number: int) -> Path:
    """Return the folder of cycle `number`, 1, 2, ..."""
    return run / f"cycle-{number:03d}"


def cycle_number(name: str) -> int:
    """Return the cycle number in the name of a folder; 0 if it is no name of a cycle's folder, such as a copy that the user made."""
    digits = name.removeprefix("cycle-")
    # Formatted again and compared, because `int` accepts any number of leading zeros, and digits of other scripts.
    return int(digits) if digits.isdecimal() and name == cycle_folder(Path(), int(digits)).name else 0


def cycle_folders(run: Path) -> dict[int, Path]:
    """Return the folders of the cycles by number, in ascending order."""
    # Sorted by number, not by name: "cycle-1000" comes before "cycle-999" as a text.
    return dict(sorted((number, folder) for folder in run.glob("cycle-*") if (number := cycle_number(folder.name)) and folder.is_dir()))


def evaluation_name(kind: str, policy: str, variation: str = "", cycle: int | None = None, part: int = 0) -> str:
    """Return the file name, without suffix, of an evaluation's scorecard.

    Args:
        kind: `gate` or `test`.
        policy: fingerprint of the weights.
        variation: of a test evaluation; empty: the environment as it is.
        cycle: of a gate evaluation, 0 for that of the warm start; None for a test evaluation.
        part: of a gate evaluation that was extended, 0, 1, ... (`evaluate.extra_rounds`).
    """
    gate = f"-cycle-{cycle}" if cycle is not None else ""
    return f"{kind}-{policy}{f'-{variation}' if variation else ''}{gate}{f'-more-{part}' if part else ''}"


def gate_of(evaluation: str) -> tuple[str, int | None]:
    """Return policy and cycle of the gate evaluation, or part of one, with this name; ('', None) for a test evaluation."""
    kind, policy, *rest = evaluation.split("-")  # fingerprints are hex digits and hold no hyphen
    return (policy, int(rest[1])) if kind == "gate" else ("", None)


def evaluation_video(run: Path, kind: str, policy: str, number: int | str) -> Path:
    """Return the file of a video of a test evaluation.

    Args:
        run: folder of the run.
        kind: `before-after` or `failure`.
        policy: fingerprint of the weights that were evaluated; a run that goes on has another last champion later.
        number: 0, 1, ...
    """
    return run / "videos" / f"{kind}-{policy}-{number}.mp4"


def remedy(folder: Path) -> str:
    """Return the end of an error sentence: what to delete if a stage file in `folder` (a cycle, `start` or `ground`) is lost or changed."""
    # All that was made from the lost file must go too, or later stages would not fit the new one.
    also = {"ground": "the folder start and every cycle's folder", "start": "every cycle's folder"}
    return f"delete the folder {folder} and {also.get(folder.name, 'those of all later cycles')}, and the same command makes them again."


def seconds_by_stage(run: Path) -> dict[str, float]:
    """Return the seconds of work in finished stages by stage, over all starts of the run; all evaluations count as `evaluate`."""
    total: dict[str, float] = {}
    for file in (file for folder in (*stage_folders(run).values(), run / "evaluate") for file in sorted(folder.glob("*.json"))):
        stage = "evaluate" if file.parent.name == "evaluate" else file.stem
        if stage != "cycle":  # cycle.json closes a cycle, and is no stage
            total[stage] = total.get(stage, 0.0) + float(load(file).get("seconds", 0.0))
    return {stage: round(seconds, 1) for stage, seconds in sorted(total.items())}


def gate_seconds(run: Path, number: int) -> float:
    """Return the seconds of the gate evaluations of a cycle, their further rounds among them; 0 is the gate of the warm start."""
    return _seconds(run, f"evaluate/gate-*-cycle-{number}.json", f"evaluate/gate-*-cycle-{number}-more-*.json")


def seconds_before_practice(run: Path) -> float:
    """Return the seconds of work before the first cycle: grounding, base model, demonstrations, warm start and its gate evaluation."""
    return _seconds(run, "ground/*.json", "start/*.json") + gate_seconds(run, 0)


def _seconds(run: Path, *places: str) -> float:
    return sum(float(load(file).get("seconds", 0.0)) for place in places for file in sorted(run.glob(place)))


def stage_folders(run: Path) -> dict[int, Path]:
    """Return the folders with stage files in the order of the stages, by number of the cycle; `ground` has -1 and `start` 0."""
    return {-1: run / "ground", 0: run / "start", **cycle_folders(run)}  # the first two may be missing


class _Summary(BaseModel):
    """The keys of `summary.json` that the report reads; others are ignored."""

    task: str
    seed: int
    cycles: int
    promoted: int
    base: Rate
    warm_start: Rate | None = None  # missing if there were no demonstrations
    before: Rate  # the better of base model and warm start
    after: Rate
    gain: float
    gain_low: float
    gain_high: float
    p_value: float
    policy: str
    seconds: dict[str, float]
    tasks: dict[str, dict[str, Any]] = {}
    variations: dict[str, dict[str, Any]] = {}


def summary(run: Path) -> dict[str, Any]:
    """Return the content of `summary.json`; {} while the run is not finished.

    Raises:
        ValueError: the file is damaged.
    """
    file = run / "summary.json"
    if not file.exists():
        return {}
    content = read_object(file)  # without a checksum, because users and tools read it: so its keys are validated instead
    try:
        _Summary.model_validate(content)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise ValueError(f"{file} is damaged at {where}; delete it and run the same command again, and it is written anew.") from error
    return content
