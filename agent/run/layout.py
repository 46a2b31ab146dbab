"""Where things lie in a run's folder, and what finished stages say there."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from agent.records import Rate
from agent.run.files import load, read_object

STAGES = ("collect", "label", "curate", "tune", "evaluate")
GUIDED = "guided"  # folder of a cycle's guided takes


def cycle_folder(run: Path, number: int) -> Path:
    """Return the folder of cycle `number`, 1, 2, ..."""
    return run / f"cycle-{number:03d}"


def cycle_number(name: str) -> int:
    """Return the number of the cycle that a folder of this name is of, or 0 where it is none's."""
    digits = name.removeprefix("cycle-")
    return int(digits) if digits.isdecimal() and name == cycle_folder(Path(), int(digits)).name else 0


def cycle_folders(run: Path) -> dict[int, Path]:
    """Return the cycles' folders by number, in its order; what else lies in the run's folder is nobody's."""
    return dict(sorted((number, folder) for folder in run.glob("cycle-*") if (number := cycle_number(folder.name)) and folder.is_dir()))


def exam_name(kind: str, policy: str, variation: str = "", cycle: int = 1, part: int = 0) -> str:
    """Return the name under which an exam is kept."""
    return f"{kind}-{policy}{f'-{variation}' if variation else ''}{f'-cycle-{cycle}' if cycle != 1 else ''}{f'-more-{part}' if part else ''}"


def gate_of(exam: str) -> tuple[str, int]:
    """Return whose gate exam, or part of it, has this name, and of which cycle; nobody's ('', 0), if it is another exam."""
    kind, policy, *rest = exam.split("-")
    return (policy, int(rest[1]) if rest[:1] == ["cycle"] else 1) if kind == "gate" else ("", 0)


def remedy(folder: Path) -> str:
    """Return what to do where something that a finished stage left in `folder` (of a cycle, `start` or `ground`) is gone or not as it was."""
    also = {"ground": "the folder start and every cycle's folder", "start": "every cycle's folder"}
    return f"delete the folder {folder} and {also.get(folder.name, 'those of all later cycles')}, and the same command makes them again."


def seconds_by_stage(run: Path) -> dict[str, float]:
    """Return the seconds of work by stage, over all sessions."""
    total: dict[str, float] = {}
    for file in (file for folder in (*_stages(run).values(), run / "exams") for file in sorted(folder.glob("*.json"))):
        stage = "evaluate" if file.parent.name == "exams" else file.stem
        if stage != "cycle":
            total[stage] = total.get(stage, 0.0) + float(load(file).get("seconds", 0.0))
    return {stage: round(seconds, 1) for stage, seconds in sorted(total.items())}


def seconds_before_practice(run: Path) -> float:
    """Return the seconds of work up to the first cycle: grounding, base model, warm start, and the gate between these two."""
    files = (file for place in ("ground/*.json", "start/*.json", "exams/gate-*-cycle-0*.json") for file in run.glob(place))
    return sum(float(load(file).get("seconds", 0.0)) for file in files)


def metrics(run: Path) -> list[dict[str, Any]]:
    """Return every logged row so far, in the order of the stages: what `metrics.jsonl` holds."""
    rows = []
    for number, folder in _stages(run).items():
        for stage in ("ground", "demonstrate", "referee", "collect", "critic", "countdown", *STAGES[1:], "cycle"):
            if (folder / f"{stage}.json").exists():
                content = load(folder / f"{stage}.json")
                now = {"cycle": max(number, 0), "stage": stage}
                rows += [{**now, **row} for row in content.get("rows", [])]
                rows.append({**now, **content.get("figures", {}), "seconds": content.get("seconds", 0.0)})
    return rows


def _stages(run: Path) -> dict[int, Path]:
    """Return the folders that stages write to, in the order of the stages, cycles by their number."""
    return {-1: run / "ground", 0: run / "start", **cycle_folders(run)}


class _Summary(BaseModel):
    """What is read of `summary.json`; there is more."""

    task: str
    seed: int
    cycles: int
    promoted: int
    base: Rate | str | None = None
    """Older runs have the base model's fingerprint here."""
    warm_start: Rate | None = None
    before: Rate
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
    """Return what `summary.json` holds; nothing, while the run is not finished.

    Raises:
        ValueError: it is damaged.
    """
    file = run / "summary.json"
    if not file.exists():
        return {}
    content = read_object(file)
    try:
        _Summary.model_validate(content)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise ValueError(f"{file} is damaged at {where}; delete it and run the same command again, and it is written anew.") from error
    return content
