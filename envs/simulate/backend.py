"""Chooses the OpenGL backend of MuJoCo: each is tried in another process, with a time limit, before MuJoCo is imported in this one.

MuJoCo reads `MUJOCO_GL` once, when it is imported. Its default, glfw, can hang for minutes on a machine without a screen.
"""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

TIMEOUT = 60.0  # seconds; a software renderer needs a few on a busy machine
PROBE = (
    "import mujoco; context = mujoco.GLContext(64, 64); context.make_current(); mujoco.MjrContext(mujoco.MjModel.from_xml_string('<mujoco/>'), 50)"
)
INSTALL = "on Debian or Ubuntu run: apt-get install -y libegl1 libgl1-mesa-dri libgl1"
OFF = ("disable", "disabled", "off", "false", "0")
BACKENDS = ("egl", "osmesa", "glfw")  # those of Linux


def choose() -> str:
    """Set `MUJOCO_GL` to a backend that works, and return ''; if there is none, return a sentence that says why.

    If `MUJOCO_GL` is set, no other backend is tried. Working backends are cached in a file, so only the first start on a machine takes longer.
    """
    wanted = os.environ.get("MUJOCO_GL", "").lower()
    if wanted in OFF or (sys.platform != "linux" and not wanted):  # elsewhere MuJoCo's default works
        return ""
    if wanted and wanted not in BACKENDS:
        os.environ["MUJOCO_GL"] = "disabled"  # MuJoCo refuses to be imported with a name that it does not know
        return f"No frame can be drawn: the variable MUJOCO_GL is {wanted!r}, and may be {', '.join(BACKENDS)} or disabled; unset it, or correct it."
    on_screen = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    reasons = {}
    for backend in [wanted] if wanted else [*(["glfw"] if on_screen else []), "egl", "osmesa"]:
        reasons[backend] = probe(backend)
        if not reasons[backend]:
            os.environ["MUJOCO_GL"] = backend
            return ""
    os.environ["MUJOCO_GL"] = "disabled"  # MuJoCo can be imported then, and everything but drawing works
    return "No frame can be drawn: " + "; ".join(f"MUJOCO_GL={backend}: {reason}" for backend, reason in reasons.items()) + f". To fix it, {INSTALL}."


def probe(backend: str, timeout: float = TIMEOUT) -> str:
    """Return the reason why a backend does not work, or '' if it does.

    Args:
        backend: a value of `MUJOCO_GL`.
        timeout: seconds.
    """
    key, file = f"{backend} mujoco {version('mujoco')} python {sys.version_info[:2]}", _cache_file()
    known = _read(file)
    if known.get(key) == "draws":
        return ""
    try:
        tried = subprocess.run(
            [sys.executable, "-c", PROBE], env=os.environ | {"MUJOCO_GL": backend}, capture_output=True, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {timeout:.0f} seconds"
    if tried.returncode:
        return (tried.stderr.strip().splitlines() or [f"exit code {tried.returncode}"])[-1].rstrip(".")
    try:  # failures are not cached: the user may install what is missing
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}")  # written aside and renamed: several processes may start at a time
        partial.write_text(json.dumps(known | {key: "draws"}))
        partial.replace(file)
    except OSError:  # without a cache the next start is only slower
        pass
    return ""


def _cache_file() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "etude" / "gl.json"


def _read(file: Path) -> dict[str, str]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
