"""Converts images of third-party environments, from observations or `render()`, to frames uint8[size, size, 3]."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from PIL import Image

WHOLE = "observation"  # name of the observation itself, where it is a picture or a stack of pictures
WIDEST = 1e6  # of the values of a picture: a wider range, such as that of all floats, says nothing
Range = tuple[float, float]


@dataclass(frozen=True)
class PictureSpec:
    """How the pictures of a camera became frames in training. A policy apart from its environment reads pictures alike."""

    values: Range | None = None
    """Stand for black and white (`value_range`); None: as `picture` takes them."""
    square: bool = False
    """Whether MuJoCo drew square frames. The same camera shows more at both sides of a wider picture."""

    def description(self) -> dict[str, Any]:
        """Return the fields for a JSON file."""
        return {"values": self.values and list(self.values), "square": self.square}


def lookup(holder: Any, path: str) -> Any:
    """Return the value at a dotted path through nested dicts, arrays and attributes, such as `pixels.top` or `images.0`.

    A key of a dict may hold dots itself, as those of LeRobot do: `observation.images.top`.

    Raises:
        KeyError: there is no such value.
    """
    whole = path
    while path:
        name, path = first_key(holder, path) if isinstance(holder, dict) else path.partition(".")[::2]
        try:
            if isinstance(holder, dict):
                holder = holder[name]
            elif isinstance(holder, np.ndarray | list | tuple):
                holder = holder[int(name)]
            else:
                holder = getattr(holder, name)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise KeyError(whole) from error
    return holder


def first_key(holder: Mapping[str, Any], path: str) -> tuple[str, str]:
    """Return the longest beginning of a dotted path that is a key of `holder`, or else its first name; and the rest of the path."""
    names = path.split(".")
    splits = ((".".join(names[:count]), ".".join(names[count:])) for count in range(len(names), 0, -1))
    return next((split for split in splits if split[0] in holder), (names[0], ".".join(names[1:])))


def inside(space: gymnasium.Space, path: str) -> tuple[gymnasium.Space, str]:
    """Return the innermost space that a dotted path leads to, and the rest of the path, which leads into an array."""
    while path:
        if isinstance(space, gymnasium.spaces.Dict):
            name, rest = first_key(space.spaces, path)
            if name not in space.spaces:
                break
            space, path = space[name], rest
        elif isinstance(space, gymnasium.spaces.Tuple):
            name, _, rest = path.partition(".")
            if not name.isdecimal() or int(name) >= len(space):
                break
            space, path = space[int(name)], rest
        else:
            break
    return space, path


def space_of(space: gymnasium.Space, name: str) -> gymnasium.Space:
    """Return the space of a picture by its name, as `pictures` returns it; of one in a stack, that of the stack."""
    if not isinstance(space, gymnasium.spaces.Dict):
        first, _, rest = name.partition(".")
        name = rest if first == WHOLE else ""
    return inside(space, name)[0]


def is_picture(value: Any) -> bool:
    """Return whether an array has the shape of one image of at least 8 x 8 pixels: [h, w], [h, w, 1], [h, w, 3], [h, w, 4], [1, h, w] or [3, h, w].

    [4, h, w] is not accepted: it is more often a stack of four grey frames than an image with transparency.
    """
    shape = np.shape(value)
    if len(shape) == 2:
        return min(shape) >= 8
    return len(shape) == 3 and ((shape[2] in (1, 3, 4) and min(shape[:2]) >= 8) or (shape[0] in (1, 3) and min(shape[1:]) >= 8))


def pictures(space: gymnasium.Space, path: str = "") -> list[str]:
    """Return the dotted names of all images in an observation space; 'observation' if the space itself is one image.

    Of a stack of images, such as the last four frames, each has a name of its own, with its index: 'observation.3'.
    """
    if isinstance(space, gymnasium.spaces.Dict):
        return [found for key, part in space.items() for found in pictures(part, f"{path}.{key}" if path else str(key))]
    if isinstance(space, gymnasium.spaces.Tuple):
        return [found for i, part in enumerate(space) for found in pictures(part, f"{path or WHOLE}.{i}")]
    path, shape = path or WHOLE, space.shape or ()
    if is_picture(np.broadcast_to(0, shape)):  # broadcast: no memory for the array
        return [path]
    if coloured_stack(shape):
        return []
    stacked = len(shape) in (3, 4) and is_picture(np.broadcast_to(0, shape[1:]))
    return [f"{path}.{i}" for i, *_ in np.ndindex(shape[:1])] if stacked else []


def coloured_stack(shape: tuple[int, ...]) -> bool:
    """Return whether an array may be several RGB images side by side in its channels, [h, w, 3 n], rather than a stack of grey ones."""
    if len(shape) != 3 or shape[2] <= 4 or shape[2] % 3:
        return False
    height, width, channels = shape
    return height == width > channels or (min(height, width) > 2 * channels and height > 16)  # images are square more often than stacks are that long


def colour_planes(shape: tuple[int, ...]) -> int:
    """Return n where an array may be n RGB images one after the other, [3 n, h, w]; it may be a stack of 3 n grey ones as well. 0 elsewhere."""
    several = len(shape) == 3 and shape[0] > 4 and shape[0] % 3 == 0 and is_picture(np.broadcast_to(0, shape[1:])) and not coloured_stack(shape)
    return shape[0] // 3 if several else 0


def likely(shape: tuple[int, ...]) -> str:
    """Return what an array that is not one picture may be, and what to give instead, as a phrase; '' where nothing is known."""
    if count := shape[2] // 3 if coloured_stack(shape) else colour_planes(shape):
        return f"{count} colour pictures side by side; give one, env.history shows earlier ones"
    if len(shape) == 3 and shape[0] == 4 and is_picture(np.broadcast_to(0, shape[1:])):
        return "a picture with transparency, of which only the colours can be given, or four grey ones"
    return ""


def value_range(space: gymnasium.Space, name: str) -> Range | None:
    """Return the lowest and highest value of a picture, as its space declares them; None where the space says nothing that can be used.

    Args:
        space: of the whole observation.
        name: of the picture, as `pictures` returns it.
    """
    space = space_of(space, name)
    if isinstance(space, gymnasium.spaces.MultiBinary):
        return 0.0, 1.0
    if not isinstance(space, gymnasium.spaces.Box) or space.low.size == 0:
        return None
    low, high = float(space.low.flat[0]), float(space.high.flat[0])
    if not ((space.low == low).all() and (space.high == high).all()):
        return None
    return (low, high) if 0 < high - low <= WIDEST else None


def view(observation: Any, name: str) -> Any:
    """Return what an observation has under the name of a picture; the name `observation` is the whole of it.

    Raises:
        KeyError: there is nothing of that name.
    """
    if isinstance(observation, dict):
        return lookup(observation, name)
    first, _, rest = name.partition(".")
    return lookup(observation, rest) if first == WHOLE and rest else observation


def picture(value: Any, size: int, values: Range | None = None, square: bool = False) -> np.ndarray:
    """Return uint8[size, size, 3] for an image in any of the usual forms: HWC, CHW or HW; grey, RGB, or RGBA without transparency.

    It is resized once: averaged over areas where it shrinks, interpolated where it grows. An image that is not square keeps its aspect ratio, and
    gets black borders.

    Args:
        value: the image.
        size: height and width of the result, pixels.
        values: that stand for black and white (`value_range`). None: 0 and 255 of whole numbers, 0 and 1 of floats.
        square: of a wider image only the square in its middle is shown (`PictureSpec.square`).

    Raises:
        ValueError: it is not an image, its values are outside of their range, its four channels may be four stacked frames, or it is too narrow.
    """
    pixels = np.asarray(value)
    if not is_picture(pixels):
        raise ValueError(f"an array of shape {np.shape(value)} is not an image; [h, w, 3], [3, h, w] or [h, w] is needed")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] not in (1, 3, 4):
        pixels = pixels.transpose(1, 2, 0)  # CHW -> HWC
    if pixels.dtype != np.uint8 or values not in (None, (0, 255)):
        pixels = _to_bytes(pixels, values)
    if pixels.shape[2] == 4 and (pixels[..., 3] != 255).any():
        raise ValueError(
            f"the fourth channel of an array of shape {np.shape(value)} is not opaque: it may hold four stacked grey frames, or transparency; "
            "give RGB, or one frame alone (env.history shows earlier ones)"
        )
    pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[..., :3]
    if square:
        pixels = _middle(pixels)
    if pixels.shape[:2] == (size, size):
        return pixels.copy()  # an environment may write the next frame into the same buffer
    height, width = (max(1, round(size * side / max(pixels.shape[:2]))) for side in pixels.shape[:2])
    smooth = Image.Resampling.BOX if min(pixels.shape[:2]) >= size else Image.Resampling.BICUBIC
    fitted = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), smooth))
    above, left = (size - height) // 2, (size - width) // 2
    return np.pad(fitted, ((above, size - height - above), (left, size - width - left), (0, 0)))


def flipped(frame: np.ndarray, flip: str) -> np.ndarray:
    """Return a frame uint8[h, w, 3] that is mirrored: 'vertical' (top to bottom), 'horizontal' (left to right), 'both' or ''."""
    rows, columns = (-1 if flip in (each, "both") else 1 for each in ("vertical", "horizontal"))
    return np.ascontiguousarray(frame[::rows, ::columns])


def _middle(pixels: np.ndarray) -> np.ndarray:
    """Return the square in the middle of an image [h, w, 3]: a camera of MuJoCo has one vertical field of view at every aspect ratio."""
    height, width = pixels.shape[:2]
    if width < height:
        raise ValueError(f"an image of {width} x {height} pixels shows less than the square ones of training; draw it at least as wide as high")
    return pixels[:, (width - height) // 2 :][:, :height]


def _to_bytes(pixels: np.ndarray, values: Range | None) -> np.ndarray:
    """Return uint8 of the same shape, scaled from the range of values; see `picture`."""
    if not np.isfinite(pixels).all():
        raise ValueError("a frame holds NaN or infinite numbers")
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    floats = np.issubdtype(pixels.dtype, np.floating)
    low, high = values or ((0, 1) if floats else (0, 255))
    slack = 1e-3 * (high - low) if floats else 0  # interpolation may exceed the range a little
    if pixels.min() < low - slack or pixels.max() > high + slack:
        why = "as its observation space declares" if values else "or its observation space has to declare others; render() must return uint8"
        numbers = "floats" if floats else "whole numbers"
        found = f"a frame of type {pixels.dtype} ranges from {pixels.min():.4g} to {pixels.max():.4g}"
        raise ValueError(f"{found}; {numbers} must lie in [{low:g}, {high:g}], {why}")
    return np.rint((pixels.clip(low, high) - low) / (high - low) * 255).astype(np.uint8)
