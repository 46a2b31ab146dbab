"""What is odd about the pictures of an observation, before they become frames: their values, or what they are planes of."""

import numpy as np
from gymnasium.wrappers import FrameStackObservation

from envs.adapt import Adapter
from envs.diagnosis import SEEDS
from envs.frames import colour_planes, space_of, view
from envs.resets import layers

SLIVER = 0.1  # of the declared range: a picture whose brightest value is below it is nearly black


def odd_values(adapter: Adapter, name: str) -> str:
    """Return a phrase where the latest picture of a camera uses little of the range that its space declares; '' elsewhere.

    The standard range of 8 bits is exempt, unless the frame is black: dark scenes exist.
    """
    declared = adapter.specs[name].values if _of_observation(adapter, name) else None
    pixels = np.asarray(view(adapter.raw, name)) if declared else np.zeros(0)
    if declared is None or pixels.size == 0 or pixels.dtype.kind not in "iuf":
        return ""
    (low, high), least, most = declared, float(pixels.min()), float(pixels.max())
    dark = (most - low) / (high - low)
    pale = low < 0 <= least and pixels.dtype.kind == "f"  # values of 0 to 1 where -1 to 1 are declared
    usual = pixels.dtype == np.uint8 and declared == (0, 255) and most >= 12
    if usual or most == least or (dark > SLIVER and not pale):
        return ""
    return (
        f"its values are {least:.3g} to {most:.3g}, and its observation space declares {low:g} to {high:g}; scale the values, or declare their range"
    )


def odd_stack(adapter: Adapter, name: str) -> str:
    """Return a sentence where a camera may be one colour of a stack of pictures, or three stacked grey frames are read as colours; '' elsewhere."""
    if not _of_observation(adapter, name):
        return ""
    shape = space_of(adapter.env.observation_space, name).shape or ()
    stacks = [layer for layer in layers(adapter.env) if isinstance(layer, FrameStackObservation)]
    if len(shape) == 3 and shape[0] == 3 and any((layer.env.observation_space.shape or ()) == shape[1:] for layer in stacks):
        return f"Camera {name!r} is three stacked grey frames, read as the colours of one; leave out the stack (env.history shows earlier frames)."
    if not (count := colour_planes(shape)):
        return ""
    adapter.reset(SEEDS, look=False)  # grey frames are alike at a reset, for nothing has moved
    planes = np.asarray(view(adapter.raw, name.rpartition(".")[0]))[:3]
    if (planes == planes[0]).all():
        return ""
    return (
        f"Camera {name!r} is a plane of {list(shape)}, read as a grey picture, and may be one colour of {count} pictures: give one of them alone "
        "(env.history shows earlier ones)."
    )


def _of_observation(adapter: Adapter, name: str) -> bool:
    """Return whether a camera is a picture of the observation, which no simulator and no `render` draws."""
    return name != "render" and adapter.mujoco_cameras[adapter.config.sources.index(name)] is None
