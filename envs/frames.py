"""Converts images of third-party environments, from observations or `render()`, to frames uint8[size, size, 3]."""

from typing import Any

import gymnasium
import numpy as np
from PIL import Image


def lookup(holder: Any, path: str) -> Any:
    """Return the value at a dotted path through nested dicts, arrays and attributes, such as `pixels.top` or `images.0`.

    Raises:
        KeyError: there is no such value.
    """
    for name in path.split("."):
        try:
            if isinstance(holder, dict):
                holder = holder[name]
            elif isinstance(holder, np.ndarray | list | tuple):
                holder = holder[int(name)]
            else:
                holder = getattr(holder, name)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise KeyError(path) from error
    return holder


def is_picture(value: Any) -> bool:
    """Return whether an array has the shape of one image of at least 8 x 8 pixels: [h, w, 1], [h, w, 3], [h, w, 4], [1, h, w] or [3, h, w].

    [4, h, w] is not accepted: it is more often a stack of four grey frames than an image with transparency.
    """
    shape = np.shape(value)
    return len(shape) == 3 and ((shape[2] in (1, 3, 4) and min(shape[:2]) >= 8) or (shape[0] in (1, 3) and min(shape[1:]) >= 8))


def pictures(space: gymnasium.Space, path: str = "") -> list[str]:
    """Return the dotted names of all images in an observation space; 'observation' if the space itself is one image."""
    if isinstance(space, gymnasium.spaces.Dict):
        return [found for key, part in space.items() for found in pictures(part, f"{path}.{key}" if path else str(key))]
    shape = space.shape or ()
    if len(shape) == 4 and path:  # several images in one array
        return [f"{path}.{i}" for i in range(shape[0])]
    return [path or "observation"] if is_picture(np.broadcast_to(0, shape)) else []  # broadcast: no memory for the array


def picture(value: Any, size: int) -> np.ndarray:
    """Return uint8[size, size, 3] for an image in any of the usual forms: HWC or CHW; uint8, or float in [0, 1]; grey, RGB or RGBA.

    It is resized once: averaged over areas where it shrinks, interpolated where it grows. The aspect ratio of an image that is not square is lost.

    Raises:
        ValueError: it is not an image, or its values are outside the range of its type.
    """
    pixels = np.asarray(value)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if not is_picture(pixels):
        raise ValueError(f"an array of shape {np.shape(value)} is not an image; [h, w, 3] or [3, h, w] is needed")
    if pixels.shape[2] not in (1, 3, 4):
        pixels = pixels.transpose(1, 2, 0)  # CHW -> HWC
    if pixels.dtype != np.uint8:
        pixels = _to_bytes(pixels)
    pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[..., :3]
    if pixels.shape[:2] == (size, size):
        return pixels.copy()  # an environment may write the next frame into the same buffer
    smooth = Image.Resampling.BOX if min(pixels.shape[:2]) >= size else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((size, size), smooth))


def _to_bytes(pixels: np.ndarray) -> np.ndarray:
    """Return uint8 of the same shape; floats are scaled from [0, 1], integers must be in 0..255 already."""
    if not np.isfinite(pixels).all():
        raise ValueError("a frame holds NaN or infinite numbers")
    if np.issubdtype(pixels.dtype, np.floating):
        if pixels.min() < -1e-3 or pixels.max() > 1 + 1e-3:  # interpolation may exceed the range a little; floats in 0..255 are refused
            raise ValueError(f"a frame of type {pixels.dtype} ranges from {pixels.min():.3g} to {pixels.max():.3g}; floats must lie in [0, 1]")
        return np.rint(pixels.clip(0, 1) * 255).astype(np.uint8)
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(f"a frame of type {pixels.dtype} ranges from {pixels.min()} to {pixels.max()}; whole numbers must lie in 0..255")
    return pixels.astype(np.uint8)
