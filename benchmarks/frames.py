"""Processor time of image processing, before and after: 64 environments with two cameras of 224 pixels, `python benchmarks/frames.py`.

`before` is the model's own image processor, called on 16 observations at a time; `after` is `policies.pixels` on one CPU thread. Both run in
turns; the table shows medians. Sizes and filters are those of the models' folders on the hub. Writes docs/results/frames.json.

The last column is the share of pixels in which the matrices, by which a GPU resizes, differ from Pillow.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers as hf
from PIL import Image
from rich.console import Console
from rich.table import Table
from rollout import RESULTS, machine

from policies.features import AT_A_TIME
from policies.pixels import Pixels, Resize, resized

ENVIRONMENTS, CAMERAS, SIZE = 64, 2, 224
WHOLE = {"size": {"longest_edge": 512}, "max_image_size": {"longest_edge": 512}, "do_image_splitting": False}
PROCESSORS: dict[str, Any] = {
    "SmolVLM (512)": hf.SmolVLMImageProcessorPil(**WHOLE),
    "Idefics3 (364)": hf.Idefics3ImageProcessorPil(size={"longest_edge": 364}, do_image_splitting=False),
    "Gemma 3 (896)": hf.Gemma3ImageProcessorPil(size={"height": 896, "width": 896}),
    "Qwen2.5-VL (224)": hf.Qwen2VLImageProcessorPil(),
    "Qwen3-VL (224)": hf.Qwen2VLImageProcessorPil(patch_size=16, size={"shortest_edge": 65536, "longest_edge": 16777216}),
    "SigLIP (384)": hf.SiglipImageProcessorPil(size={"height": 384, "width": 384}),
    "LLaVA-1.5 (336)": hf.CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}),
}


def main(repeats: int = 5) -> None:
    """Measure both sides, print the table and write the JSON file.

    Args:
        repeats: turns of each side.
    """
    torch.set_num_threads(1)
    seen = list(np.random.default_rng(0).integers(0, 256, (ENVIRONMENTS, CAMERAS, SIZE, SIZE, 3), dtype=np.uint8))
    rows = []
    for name, processor in PROCESSORS.items():
        made = Pixels(processor, "cpu")
        sides = [
            lambda part, processor=processor: processor(images=[frame for frames in part for frame in frames], return_tensors="pt")["pixel_values"],
            lambda part, made=made: made(part)["pixel_values"],
        ]
        assert torch.equal(*(side(seen[:AT_A_TIME]) for side in sides)), name
        before, after = np.median([[seconds(side, seen) for side in sides] for _ in range(repeats)], axis=0).tolist()
        rows.append({"processor": name, "before": round(before, 3), "after": round(after, 3), "ratio": round(before / after, 1)})
        rows[-1] |= {"differing": differing(made, seen[0])}
        print(rows[-1], flush=True)
    content = {"environments": ENVIRONMENTS, "cameras": CAMERAS, "pixels": SIZE, "repeats": repeats, "rows": rows, "machine": machine()}
    (RESULTS / "frames.json").write_text(json.dumps(content, indent=1) + "\n")
    table = Table("processor", "before, CPU s a decision", "after", "ratio", "pixels resized otherwise")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)


def seconds(side: Callable[[list[np.ndarray]], Any], seen: list[np.ndarray]) -> float:
    """Return the processor time of all observations, as many at a time as the vision tower gets."""
    began = time.process_time()
    for start in range(0, len(seen), AT_A_TIME):
        side(seen[start : start + AT_A_TIME])
    return time.process_time() - began


def differing(made: Pixels, frames: np.ndarray) -> float:
    """Return the share of pixels in which the matrices differ from Pillow, over the resizes of a processor."""
    recipe, shares = made.recipe(frames.shape[1:3]), [0.0]
    for step in recipe.steps if recipe else ():
        if isinstance(step, Resize) and frames.shape[1:3] != (step.height, step.width):
            pillow = np.stack([np.asarray(Image.fromarray(each).resize((step.width, step.height), step.resample)) for each in frames])
            shares.append(
                float(np.mean(pillow != resized(torch.from_numpy(frames), step.height, step.width, step.resample, step.columns_first).numpy()))
            )
    return max(shares)


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
