"""What stage `ground` taught the composed model, in a small file: its connector, and the change of each weight as a product of two thin matrices.

LoRA changes a weight by a matrix of low rank (arXiv 2106.09685). So two factors hold the whole change, and singular values find them again in
the merged weights.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

SHIPPED = Path(__file__).parent / "smol"
CONNECTOR = "modality_projection"
UP, DOWN = ".up", ".down"  # what follows a weight's name: its change is UP @ DOWN


def names() -> list[str]:
    """Return the tasks on which a composed model was grounded, and whose file is in the package."""
    return sorted(file.stem for file in SHIPPED.glob("*.safetensors"))


def write(file: Path, base: Any, grounded: Any, rank: int) -> float:
    """Write the difference between two composed models, in bfloat16; the second may have fewer text layers.

    Args:
        file: to be written.
        base: as `compose` returns it.
        grounded: the same after stage `ground`, its adapters merged.
        rank: of its adapters.

    Returns:
        The largest share that the file loses of a weight's change, by Frobenius norm: about 0.003, bfloat16's rounding.

    Raises:
        ValueError: a weight changed that is neither the connector nor a matrix.
    """
    before, tensors, lost = base.state_dict(), {}, 0.0
    for name, after in grounded.state_dict().items():
        change = after.double() - before[name].double()
        if CONNECTOR in name:
            tensors[name] = after.bfloat16().contiguous()
        elif change.any():
            if change.ndim != 2:
                raise ValueError(f"{name} changed, and is no matrix.")
            left, sizes, right = torch.linalg.svd(change, full_matrices=False)
            root = sizes[:rank].sqrt()
            up, down = (left[:, :rank] * root).bfloat16(), (root[:, None] * right[:rank]).bfloat16()
            tensors |= {f"{name}{UP}": up.contiguous(), f"{name}{DOWN}": down.contiguous()}
            lost = max(lost, float((change - up.double() @ down.double()).norm() / change.norm()))
    save_file(tensors, file, {"layers": str(grounded.config.get_text_config().num_hidden_layers)})
    return lost


def add(model: Any, name: str) -> None:
    """Give a composed model what it was taught on a task, in place, and leave it the text layers that learnt.

    Args:
        model: as `compose` returns it.
        name: one of `names()`.

    Raises:
        ValueError: there is no such task.
    """
    if name not in names():
        raise ValueError(f"No grounded model of {name!r} is in the package; there is: {', '.join(names())}.")
    file, text = SHIPPED / f"{name}.safetensors", model.model.text_model
    stored = load_file(file)
    with safe_open(file, "pt") as described:
        count = int(described.metadata()["layers"])
    with torch.no_grad():
        text.layers, text.config.num_hidden_layers, model.config.text_config.num_hidden_layers = text.layers[:count], count, count
        for key, weight in model.state_dict().items():
            if f"{key}{UP}" in stored:
                weight += stored[f"{key}{UP}"].float() @ stored[f"{key}{DOWN}"].float()
            elif key in stored:
                weight.copy_(stored[key])
