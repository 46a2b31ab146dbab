"""What an environment's frames depend on: so that episodes and exams made elsewhere are never silently compared."""

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from envs.adapt import Adapter
from envs.simulate import render

GOLDEN = 79_000_000  # the seed whose first frames are hashed


def fingerprint(adapter: Adapter) -> dict[str, Any]:
    """Return package versions, renderer, camera settings and the hash of a golden frame.

    Success of one policy on the same task differed by seven points between two versions of MuJoCo (LIBERO, 98 % and 91 %), so a number without
    these is half a number.
    """
    frames = adapter.reset(GOLDEN).frames
    names = {"gymnasium", "mujoco", "numpy", type(adapter.env.unwrapped).__module__.split(".")[0]}
    return {
        "id": adapter.config.id,
        "packages": {name: found for name in sorted(names) if (found := _version(name))},
        "python": platform.python_version(),
        "renderer": render.renderer_name(),
        "quality": "shadows and multisampling off",
        "frames": hashlib.sha256(frames.tobytes()).hexdigest()[:16],
    }


def differences(then: dict[str, Any], now: dict[str, Any]) -> str:
    """Return in words what is not as it was, '' if all is. Versions that draw the same frames are not worth a word."""
    if then.get("frames") == now.get("frames") and then.get("id") == now.get("id"):
        return ""
    changed = [f"{key} was {then.get(key)!r} and is {now.get(key)!r}" for key in now if then.get(key) != now.get(key)]
    return "; ".join(changed)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a module without a distribution of its name
        return ""
