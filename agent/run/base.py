"""The base model of a run: its fingerprint in `base.json`, and the model that stage `ground` made of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.run.files import digest, digests, load, save, write_folder
from agent.run.layout import remedy

if TYPE_CHECKING:
    from policies.vlm import Vlm


def began_from(run: Path) -> str | None:
    """Return the fingerprint of the base model that the run in this folder began from; None if none was recorded."""
    file = run / "base.json"
    return load(file)["weights"] if file.exists() else None


def compare(run: Path, model: str, base: str, parts: dict[str, str]) -> None:
    """Check that the loaded base model is the one that the run began from.

    A checkpoint of the run holds trained tensors alone (LoRA adapters, for instance), and is worthless on another base model.

    Args:
        run: folder of the run.
        model: name of the base model in the config.
        base: fingerprint of the loaded one.
        parts: hashes of further parts of it, such as its chat template; runs of earlier versions recorded none.

    Raises:
        ValueError: the fingerprints or the parts differ.
    """
    if (recorded := began_from(run)) not in (None, base):  # the same name may load other weights: a hub id that was updated
        raise ValueError(f"{run} began from {model!r} with weights {recorded}, and {model!r} now has {base}; name a new folder.")
    then = load(run / "base.json").get("parts", {}) if recorded else {}
    # The hub's cache may hold more files of the same model later.
    names = then.keys() | parts.keys() if Path(model).expanduser().is_dir() else then.keys() & parts.keys()
    if then and parts and (changed := sorted(name for name in names if then.get(name) != parts.get(name))):
        raise ValueError(f"{run} began from {model!r} with other {' and '.join(changed)}; put back what was there, or name a new folder.")


def write_down(run: Path, model: str, base: str, parts: dict[str, str]) -> None:
    """Record the base model in `base.json`, unless the run has that file; arguments as of `compare`."""
    file = run / "base.json"
    if not file.exists():
        save(file, {"model": model, "weights": base, **({"parts": parts} if parts else {})})


def write_base_model(run: Path, student: "Vlm") -> dict[str, str]:
    """Write the grounded model as the base model of a run; return the SHA-256 of each of its files, for `ground.json`.

    LoRA adapters are merged into it, so `student` can answer but no longer learn.
    """
    folder = run / "ground" / "model"
    write_model(folder, student.merged(), student.processor)
    return digests(folder)


def write_model(folder: Path, model: Any, processor: Any) -> None:
    """Write a Hugging Face model and its processor into a folder, which `policy.model` loads like a hub id."""
    write_folder(folder, lambda partial: (model.save_pretrained(partial), processor.save_pretrained(partial)))


def grounded(run: Path) -> Path | None:
    """Return the folder of the grounded base model; None if the run uses the base model that it began from.

    Raises:
        ValueError: a file of the grounded model is missing, or differs from the recorded one.
    """
    folder = run / "ground"
    if not (folder / "ground.json").exists():  # written last: without it a folder `model` is an unfinished one
        return None
    content = load(folder / "ground.json")
    for name, recorded in content.get("model", {}).items():  # none where the base model stayed as it was
        file = folder / "model" / name
        if not file.is_file() or digest(file) != recorded:
            raise ValueError(f"{file} is {'not what was recorded' if file.is_file() else 'gone'}; {remedy(folder)}")
    return folder / "model" if content["figures"]["steps"] else None  # 0 steps: too few scenes, and the base model stayed as it was
