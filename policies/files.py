"""Checks the files of a model: that they are whole, and that all they hold reaches the model."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers.utils import CONFIG_NAME, SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

POINTER = b"version https://git-lfs"  # how the file begins that Git keeps in place of a large one
FULL = ("F64", "F32", "F16", "BF16", "I64", "I32", "BOOL")  # kinds of numbers; the whole ones count positions or are masks
COMPUTED = ("inv_freq", "position_ids")  # older versions of transformers wrote these beside the weights, and newer ones compute them

# What a reply depends on beside the weights.
ABOUT = (CONFIG_NAME, "chat_template.jinja", "chat_template.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json")
ABOUT += ("vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json", "preprocessor_config.json", "processor_config.json")
NOTES = ("transformers_version", "_name_or_path", "torch_dtype", "dtype", "architectures")  # of these a reply does not depend


def folder_of(source: str) -> Path | None:
    """Return the folder of a model, that of a hub id in the hub's cache; None: it is not there yet."""
    found = source if Path(source).is_dir() else None
    if found is None and (config := cached_file(source, CONFIG_NAME, local_files_only=True, _raise_exceptions_for_missing_entries=False)):
        found = Path(config).parent
    return Path(found) if found else None


def digests(source: str) -> dict[str, str]:
    """Return a hash of each file beside the weights on which a model's replies depend, by name; JSON may be written in another form.

    Args:
        source: hub id or folder.
    """
    folder, found = folder_of(source), {}
    for file in [folder / name for name in ABOUT if (folder / name).is_file()] if folder else []:
        raw = file.read_bytes()
        if file.suffix == ".json" and file.name != "tokenizer.json":  # which is large
            content = json.loads(raw)
            kept = {key: value for key, value in content.items() if key not in NOTES} if isinstance(content, dict) else content
            raw = json.dumps(kept, sort_keys=True).encode()
        found[file.name] = hashlib.sha256(raw).hexdigest()[:16]
    return found


def check(folder: Path) -> None:
    """Check that the files of a model are whole, and that its weights are numbers of full precision.

    Raises:
        ValueError: one is not; the sentence names it.
    """
    for file in (*folder.glob("*.json"), *folder.glob("*.jinja"), *folder.glob("*.model"), *folder.glob("*.safetensors")):
        with file.open("rb") as opened:
            if opened.read(len(POINTER)) == POINTER:
                raise ValueError(f"{file.name} is a pointer of Git LFS, and not the file itself; fetch it with `git lfs pull` in its folder.")
    described = json.loads((folder / CONFIG_NAME).read_text())
    for key in ("auto_map", "quantization_config"):
        if described.get(key) == {} or (key == "auto_map" and described.get(key, {}) is None):
            raise ValueError(f"its config.json has an empty {key}; take that key out.")
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    for name in sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.exists() else [SAFE_WEIGHTS_NAME]:
        if (folder / name).exists():
            _is_in_full(folder / name)


def _is_in_full(file: Path) -> None:
    """Check one file of weights; errors as of `check`."""
    try:
        with safe_open(file, "pt") as opened:
            kinds = {name: opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118 - it is no dictionary
    except SafetensorError as error:
        raise ValueError(f"{file.name} is damaged or cut short ({str(error).rstrip('.')}); fetch it again.") from error
    if other := next((name for name, kind in kinds.items() if kind not in FULL), None):
        raise ValueError(f"its weights are quantised ({other} holds {kinds[other]}); name the model in full precision.")


def lost(model: Any, unexpected: list[str], layers: int | None) -> list[str]:
    """Return the surplus names of the files that belong to a layer of the model, which would act without them: scales, biases, adapters, layers.

    Other surplus names are of parts that the model does without, such as a head of the vision tower for a task of its own.

    Args:
        model: as it was loaded.
        unexpected: all surplus names.
        layers: how many text layers were to be kept; None: all.
    """
    modules, found = dict(model.named_modules()), []
    for name in unexpected:
        *parents, last = name.split(".")
        above = [modules[path] for i in range(1, len(parents) + 1) if (path := ".".join(parents[:i])) in modules]
        own = bool(above) and not list(above[-1].children()) and bool(list(above[-1].parameters()))
        inside = own or any(type(each).__name__ == "ModuleList" for each in above)
        computed = last in COMPUTED or (bool(above) and last in above[-1]._buffers)
        dropped = re.search(r"(?:language|text)_model\b.*?\blayers\.(\d+)\.", name)
        if inside and not computed and not (layers is not None and dropped and int(dropped[1]) >= layers):
            found.append(name)
    return sorted(found)
