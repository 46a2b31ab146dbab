"""Turns frames into the inputs of a vision tower, in batches on the device, bit for bit as the model's own image processor does.

An image processor takes one image at a time, on the CPU. To frames of one shape it always does the same: it resizes with Pillow, crops, rescales,
normalises, and lays the numbers out. It is watched once with each shape, and its steps are then repeated for whole batches. A result that differs
from the processor's own, or a step that is not known here, leads back to the processor itself.

Shape suffixes: B images, h x w pixels before a step, H x W after it, 3 colours, P numbers of the result for an image.
"""

import copy
import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

BITS = 22  # of the fraction of Pillow's weights, which are whole numbers
SUPPORT = {Image.Resampling.BILINEAR: 1, Image.Resampling.BICUBIC: 2, Image.Resampling.LANCZOS: 3}  # pixels on either side


class Pixels:
    """Frames of observations -> inputs of the vision tower.

    Args:
        processor: an image processor.
        device: of the inputs.
        settings: further arguments of each call, as `Prompts.image_settings` returns them.
    """

    def __init__(self, processor: Any, device: str, settings: dict[str, Any] | None = None) -> None:
        self._processor, self._device, self._settings = processor, device, settings or {}
        self._recipes: dict[tuple[int, int], Recipe | None] = {}  # by (h, w); None: the processor is called

    def __call__(self, observations: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """Return the inputs by name, for frames of observations, uint8[F, h, w, 3] each; their images are joined in this order."""
        frames_B = [frame for frames in observations for frame in frames]
        recipe = self.recipe(frames_B[0].shape[:2]) if len({frame.shape for frame in frames_B}) == 1 else None
        if recipe is None:
            return _called(self._processor, frames_B, self._settings)
        return recipe(torch.from_numpy(np.stack(frames_B)).to(self._device))

    def recipe(self, size: tuple[int, int]) -> "Recipe | None":
        """Return the steps for frames of h x w pixels; None where the processor itself must be called."""
        if size not in self._recipes:
            self._recipes[size] = _recipe(self._processor, size, self._device, self._settings)
        return self._recipes[size]


@dataclass(frozen=True)
class Resize:
    """Frames, uint8[B, h, w, 3], are resized with one of Pillow's filters."""

    height: int
    width: int
    resample: Image.Resampling
    columns_first: bool
    """Whether Pillow begins with columns, which depends on its version and on the sizes, and changes the rounding."""

    def __call__(self, frames_Bhw3: torch.Tensor) -> torch.Tensor:
        """Return uint8[B, H, W, 3]."""
        if frames_Bhw3.shape[1:3] == (self.height, self.width):
            return frames_Bhw3
        if frames_Bhw3.device.type != "cpu":
            return resized(frames_Bhw3, self.height, self.width, self.resample, self.columns_first)
        # On a CPU Pillow is faster than dense matrices.
        images = [Image.fromarray(frame).resize((self.width, self.height), self.resample) for frame in frames_Bhw3.numpy()]
        return torch.stack([torch.from_numpy(np.array(image)) for image in images])


@dataclass(frozen=True)
class Crop:
    """The middle of frames, uint8[B, h, w, 3], is cut out."""

    height: int
    width: int

    def __call__(self, frames_Bhw3: torch.Tensor) -> torch.Tensor:
        """Return uint8[B, H, W, 3]."""
        top, left = (frames_Bhw3.shape[1] - self.height) // 2, (frames_Bhw3.shape[2] - self.width) // 2
        return frames_Bhw3[:, top : top + self.height, left : left + self.width]


@dataclass(frozen=True)
class Recipe:
    """What an image processor does to frames of one shape."""

    steps: Sequence[Resize | Crop]
    factor: float
    mean_311: torch.Tensor
    std_311: torch.Tensor
    runs: torch.Tensor | None
    """int64[P / run]: of each run of numbers of the result the run of an image's 3 x H x W numbers that it is; None: all stay in their order."""
    parts: dict[str, tuple[torch.Tensor, int | None]]
    """The inputs for one image by name, and the axis along which those of several images are joined."""

    def __call__(self, frames_Bhw3: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the inputs of uint8[B, h, w, 3] frames, by name."""
        one, axis = self.parts["pixel_values"]
        count, device = len(frames_Bhw3), frames_Bhw3.device
        values_BP = torch.empty(count, one.numel(), device=device)
        together = 1 if device.type == "cpu" else count  # one image fits into the cache of a CPU
        for out_BP, some_Bhw3 in zip(values_BP.split(together), frames_Bhw3.split(together), strict=True):
            for step in self.steps:
                some_Bhw3 = step(some_Bhw3)
            self._normalise(some_Bhw3.permute(0, 3, 1, 2).contiguous(), out_BP)
        inputs = {name: part if along is None else _join(part.expand(count, *part.shape), along) for name, (part, along) in self.parts.items()}
        return inputs | {"pixel_values": _join(values_BP.reshape(count, *one.shape), axis or 0)}

    def _normalise(self, colours_B3HW: torch.Tensor, out_BP: torch.Tensor) -> None:
        """Write the numbers of images, in the processor's own order and precision, so that rounding is the same."""
        values_B3HW = out_BP.view(colours_B3HW.shape) if self.runs is None else torch.empty(colours_B3HW.shape, device=out_BP.device)
        values_B3HW.copy_(colours_B3HW.double().mul_(self.factor)).sub_(self.mean_311).div_(self.std_311)
        if self.runs is not None:
            run = out_BP.shape[1] // len(self.runs)
            torch.index_select(values_B3HW.view(len(values_B3HW), -1, run), 1, self.runs, out=out_BP.view(len(out_BP), -1, run))


def _join(several: torch.Tensor, axis: int) -> torch.Tensor:
    """Return the inputs for several images, stacked along the first axis, as the processor joins them."""
    return several.movedim(0, axis).flatten(axis, axis + 1)


def resized(frames_Bhw3: torch.Tensor, height: int, width: int, resample: Image.Resampling, columns_first: bool = False) -> torch.Tensor:
    """Return uint8[B, H, W, 3], equal to Pillow's `resize` of each frame: along rows and along columns, rounded after each.

    Pillow's weights are whole numbers of 22 bits, so that float64 sums of them are exact on any device, and neither autocast nor TF32 touches them.

    Args:
        frames_Bhw3: uint8.
        height: H.
        width: W.
        resample: Pillow's filter, one of `SUPPORT`.
        columns_first: as of `Resize`.
    """
    colours, device = frames_Bhw3.permute(0, 3, 1, 2).double(), frames_Bhw3.device
    for along_columns in (columns_first, not columns_first):
        if along_columns and height != colours.shape[2]:
            colours = _rounded(_weights(colours.shape[2], height, resample).to(device) @ colours)
        elif not along_columns and width != colours.shape[3]:
            colours = _rounded(colours @ _weights(colours.shape[3], width, resample).to(device).T)
    return colours.to(torch.uint8).permute(0, 2, 3, 1)


def _rounded(sums: torch.Tensor) -> torch.Tensor:
    return sums.add_(2 ** (BITS - 1)).div_(2**BITS).floor_().clamp_(0, 255)


@functools.cache
def _weights(before: int, after: int, resample: Image.Resampling) -> torch.Tensor:
    """Return float64[after, before]: by how many 2^-22 parts each pixel of a row enters each pixel of the resized row (Pillow, `Resample.c`)."""
    scale, support = before / after, SUPPORT[resample] * max(before / after, 1)
    centre = (np.arange(after)[:, None] + 0.5) * scale
    first, last = np.trunc(centre - support + 0.5).clip(0), np.trunc(centre + support + 0.5).clip(None, before)
    place = np.arange(before)[None]
    weights = np.where((place >= first) & (place < last), _filter((place - centre + 0.5) / max(scale, 1), resample), 0)
    parts = weights / weights.sum(1, keepdims=True) * 2**BITS
    return torch.from_numpy(np.trunc(parts + np.copysign(0.5, parts)))


def _filter(x: np.ndarray, resample: Image.Resampling) -> np.ndarray:
    """Return the value of a resampling filter at distances, in pixels."""
    x = np.abs(x)
    if resample == Image.Resampling.BILINEAR:
        return np.maximum(1 - x, 0)
    if resample == Image.Resampling.BICUBIC:  # with a = -0.5
        return np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, np.where(x < 2, ((x - 5) * x + 8) * x - 4, 0) * -0.5)
    return np.where(x < 3, np.sinc(x) * np.sinc(x / 3), 0)


def _called(processor: Any, frames: Any, settings: dict[str, Any]) -> dict[str, torch.Tensor]:
    return dict(processor(images=list(frames), return_tensors="pt", **settings))


@torch.inference_mode(False)  # its tensors serve training too, which cannot save those made in inference mode
def _recipe(processor: Any, size: tuple[int, int], device: str, settings: dict[str, Any]) -> Recipe | None:
    """Return what an image processor does to frames of h x w pixels; None where that is not known, or gives another result than its own."""
    frames = np.random.default_rng(0).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    expected = _called(processor, frames, settings)
    try:
        watched = _Watch(processor, settings)
        one, two = watched.call(frames[:1]), watched.call(frames)
        axes = {name: next((i for i, (a, b) in enumerate(zip(one[name].shape, two[name].shape, strict=True)) if a != b), None) for name in one}
        mean, std = (torch.tensor(each, dtype=torch.float32, device=device).reshape(3, 1, 1) for each in (watched.mean, watched.std))
        recipe = Recipe(
            watched.steps(frames[-1]), watched.factor, mean, std, _runs(one["pixel_values"].flatten().long(), device),
            {name: (value.to(device), axes[name]) for name, value in one.items()},
        )  # fmt: skip
        made = recipe(torch.from_numpy(frames).to(device))
    except Exception:  # a processor of any library: one that has no such steps cannot be watched
        return None
    same = made.keys() == expected.keys() and all(_equal(made[name].cpu(), expected[name]) for name in made)
    return recipe if same else None


def _runs(place_P: torch.Tensor, device: str) -> torch.Tensor | None:
    """Return `Recipe.runs` for the place of each number of the result among the numbers of an image: patches are made of short rows."""
    breaks = (place_P.diff() != 1).nonzero()
    run = int(breaks[0]) + 1 if len(breaks) else len(place_P)
    while len(place_P) % run or (place_P[::run] % run).any() or not torch.equal(place_P, (place_P[::run, None] + torch.arange(run)).flatten()):
        run -= 1  # down to 1, which always fits
    return None if run == len(place_P) else (place_P[::run] // run).to(device)


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    # A GPU may round the last bit of a quotient otherwise.
    return one.shape == other.shape and one.dtype == other.dtype and torch.allclose(one.double(), other.double(), rtol=1e-6, atol=1e-6)


def _resize(before_3hw: np.ndarray, after_3HW: np.ndarray, resample: Image.Resampling) -> Resize:
    """Return the step that leads from one image to the other."""
    size = after_3HW.shape[1], after_3HW.shape[2]
    rows_first = resized(torch.from_numpy(before_3hw.transpose(1, 2, 0)[None].copy()), *size, resample)
    return Resize(*size, resample, not np.array_equal(rows_first[0].numpy(), after_3HW.transpose(1, 2, 0)))


class _Watch:
    """An image processor of which each step is noted. It lays out places instead of colours: the places of 3 x H x W numbers among themselves."""

    def __init__(self, processor: Any, settings: dict[str, Any]) -> None:
        self._processor, self._settings, self._notes, kind = copy.copy(processor), settings, {}, type(processor)
        self._last: Any = None
        self.factor, self.mean, self.std = 1.0, [0.0] * 3, [1.0] * 3
        methods = {name: self._noting(name, getattr(kind, name)) for name in ("resize", "center_crop", "rescale", "normalize")}
        self._processor.__class__ = type(kind.__name__, (kind,), methods)

    def call(self, frames: np.ndarray) -> dict[str, torch.Tensor]:
        """Return the processor's result for uint8[B, h, w, 3], with places for colours."""
        return _called(self._processor, frames, self._settings)

    def _noting(self, name: str, method: Any) -> Callable[..., Any]:
        def noting(processor: Any, *args: Any, **kwargs: Any) -> Any:
            given = inspect.signature(method).bind(processor, *args, **kwargs)
            given.apply_defaults()
            image = given.arguments["image"]
            if name == "normalize":
                self._last, self.mean, self.std = image, given.arguments["mean"], given.arguments["std"]
                return np.arange(image.size, dtype=np.float32).reshape(image.shape)  # whole numbers up to 2^24 are exact
            result = method(processor, *args, **kwargs)
            if result is not image:
                self._notes[id(result)] = (name, given.arguments, image, result)  # the arrays are kept, so that no other gets their ids
            return result

        return noting

    def steps(self, frame: np.ndarray) -> list[Resize | Crop]:
        """Return the steps from a frame to what was normalised last.

        Raises:
            ValueError: there are others between them.
        """
        image = self._last
        steps: list[Resize | Crop] = []
        while id(image) in self._notes:
            name, given, before, after = self._notes[id(image)]
            if name == "rescale":
                self.factor = given["scale"]
            elif name == "resize":
                steps.append(_resize(before, after, Image.Resampling(given["resample"])))
            else:
                steps.append(Crop(*after.shape[1:]))
            image = before
        if not np.array_equal(image, frame.transpose(2, 0, 1)):
            raise ValueError("a step is not known")
        return steps[::-1]
