"""The half of the round trip that runs in the environment of lerobot itself, without etude: `python lerobot_side.py VERB ...`.

| verb | what it does |
|---|---|
| `load ROOT FILE` | load a dataset with lerobot, and write all rows into a .npz |
| `write ROOT image|video` | let lerobot record the dataset that `content` describes |
| `describe FILE OUT` | lerobot's statistics of the arrays in a .npz, as JSON; frames are uint8[R, h, w, 3] |
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

LENGTHS, SIDE, FPS = (7, 12, 5), 64, 10
TASKS = ("pick the cube", "open the drawer", "pick the cube")


def content(episode: int, step: int) -> dict[str, np.ndarray]:
    """Return one row of the dataset that lerobot records: a frame of its own grey, which survives a video, and random numbers."""
    rng = np.random.default_rng([episode, step])
    grey = np.full((SIDE, SIDE, 3), 20 + 15 * step + 5 * episode, np.uint8)
    return {"frame": grey, "action": rng.uniform(-1, 1, 3).astype(np.float32), "state": rng.uniform(-1, 1, 2).astype(np.float32)}


def lerobot() -> Any:
    """Return lerobot's module of datasets, where torchvision was built for another torch than the one that is installed."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):  # torchvision registers fakes of these when it is imported
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from lerobot.datasets import lerobot_dataset  # pyright: ignore[reportMissingImports]

    return lerobot_dataset


def load(root: str, file: str) -> None:
    dataset = lerobot().LeRobotDataset("somebody/something", root=root)
    rows = [dataset[i] for i in range(len(dataset))]
    tasks = np.array([row.pop("task") for row in rows])
    arrays = {key: np.stack([np.asarray(row[key]) for row in rows]) for key in rows[0]}
    arrays = {key: np.rint(255 * value).astype(np.uint8) if "images" in key else value for key, value in arrays.items()}
    np.savez(file, **arrays | {"tasks": tasks})  # pyright: ignore[reportArgumentType]


def write(root: str, kind: str) -> None:
    features: dict[str, Any] = {"action": {"dtype": "float32", "shape": (3,), "names": ["x", "y", "z"]}}
    features |= {"observation.state": {"dtype": "float32", "shape": (2,), "names": None}}
    features |= {"observation.images.front": {"dtype": kind, "shape": (SIDE, SIDE, 3), "names": ["height", "width", "channel"]}}
    dataset = lerobot().LeRobotDataset.create("somebody/something", fps=FPS, features=features, root=root, use_videos=kind == "video")
    for episode, length in enumerate(LENGTHS):
        for step in range(length):
            row = content(episode, step)
            dataset.add_frame(
                {"observation.images.front": row["frame"], "action": row["action"], "observation.state": row["state"], "task": TASKS[episode]}
            )
        dataset.save_episode()
    dataset.finalize()


def describe(file: str, out: str) -> None:
    lerobot()
    from lerobot.datasets.compute_stats import compute_episode_stats  # pyright: ignore[reportMissingImports]
    from PIL import Image

    arrays, features, data = np.load(file), {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for key in arrays.files:
            frames = arrays[key].ndim == 4
            features[key], data[key] = {"dtype": "image" if frames else str(arrays[key].dtype)}, arrays[key]
            if frames:  # lerobot reads them from files
                data[key] = [str(Path(folder) / f"{key}-{t}.png") for t in range(len(arrays[key]))]
                for path, pixels in zip(data[key], arrays[key], strict=True):
                    Image.fromarray(pixels).save(path)
        made = compute_episode_stats(data, features)
    Path(out).write_text(json.dumps({key: {name: value.tolist() for name, value in each.items()} for key, each in made.items()}))


if __name__ == "__main__":
    {"load": load, "write": write, "describe": describe}[sys.argv[1]](*sys.argv[2:])
