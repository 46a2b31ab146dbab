"""The base model of a run: which one it began from, and what stage `ground` made of it."""

from pathlib import Path
from typing import TYPE_CHECKING

from agent.run.files import digest, digests, load, save, write_folder
from agent.run.layout import remedy

if TYPE_CHECKING:
    from policies.vlm import Vlm


def began_from(run: Path) -> str | None:
    """Return the fingerprint of the base model that the run in this folder began from; None where it was not written down."""
    file = run / "base.json"
    return load(file, plain=lambda content: "weights" in content)["weights"] if file.exists() else None


def compare(run: Path, model: str, base: str) -> None:
    """Object to another base model than the run began from: its champions hold only what was trained.

    Args:
        run: folder of the run.
        model: its name in the config.
        base: fingerprint of the one that was loaded.

    Raises:
        ValueError: it is another one.
    """
    if (then := began_from(run)) not in (None, base):
        raise ValueError(f"{run} began from {model!r} with weights {then}, and {model!r} now has {base}; name a new folder.")


def write_down(run: Path, model: str, base: str) -> None:
    """Write down which base model a run begins from, once; arguments as of `compare`."""
    file = run / "base.json"
    if not file.exists():  # a run that trained before this was written down began from nobody knows which
        began = (run / "start" / "tune.json").exists()
        save(file, {"model": model, "weights": None if began else base})


def settle(run: Path, student: "Vlm") -> dict[str, str]:
    """Make what a student has become the base model of a run; return the digests of its files."""
    folder = run / "ground" / "model"
    write_folder(folder, lambda partial: (student.base.save_pretrained(partial), student.processor.save_pretrained(partial)))
    return digests(folder)


def grounded(run: Path) -> Path | None:
    """Return where the base model after `ground` lies; None where the run goes on with the one that it began from.

    Raises:
        ValueError: a file of it is gone, or not what was recorded. What was never recorded, by runs of old, is taken as it is.
    """
    folder = run / "ground"
    if not (folder / "ground.json").exists():
        return None
    content = load(folder / "ground.json")
    for name, recorded in content.get("model", {}).items():
        file = folder / "model" / name
        if not file.is_file() or digest(file) != recorded:
            raise ValueError(f"{file} is {'not what was recorded' if file.is_file() else 'gone'}; {remedy(folder)}")
    return folder / "model" if content["figures"]["steps"] else None
