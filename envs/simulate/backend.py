"""Which OpenGL backend draws: tried in a process of its own, with a time limit, before MuJoCo is imported here.

MuJoCo reads `MUJOCO_GL` once, when it is imported. Its own default, glfw, can hang for minutes on a machine without a screen.
"""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

PATIENCE = 60.0  # seconds; software rendering on a busy machine takes a few
PROBE = (
    "import mujoco; context = mujoco.GLContext(64, 64); context.make_current(); mujoco.MjrContext(mujoco.MjModel.from_xml_string('<mujoco/>'), 50)"
)
INSTALL = "on Debian or Ubuntu run: apt-get install -y libegl1 libgl1-mesa-dri libgl1"
OFF = ("disable", "disabled", "off", "false", "0")


def choose() -> str:
    """Set `MUJOCO_GL` to a backend that draws; return a sentence if there is none, else ''.

    A set `MUJOCO_GL` is respected. What was found is remembered, by MuJoCo's version, so that only the first start on a machine takes longer.
    """
    wanted = os.environ.get("MUJOCO_GL", "").lower()
    if wanted in OFF or (sys.platform != "linux" and not wanted):
        return ""
    on_screen = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    reasons = {}
    for backend in [wanted] if wanted else [*(["glfw"] if on_screen else []), "egl", "osmesa"]:
        reasons[backend] = probe(backend)
        if not reasons[backend]:
            os.environ["MUJOCO_GL"] = backend
            return ""
    os.environ["MUJOCO_GL"] = "disabled"  # MuJoCo can be imported then, and everything but drawing works
    return (
        "No frame can be drawn: " + "; ".join(f"MUJOCO_GL={backend}: {reason}" for backend, reason in reasons.items()) + f". To mend it, {INSTALL}."
    )


def probe(backend: str, patience: float = PATIENCE) -> str:
    """Return why a backend does not draw, '' if it does."""
    key, file = f"{backend} mujoco {version('mujoco')} python {sys.version_info[:2]}", _memory()
    known = _read(file)
    if known.get(key) == "draws":
        return ""
    try:
        tried = subprocess.run(
            [sys.executable, "-c", PROBE], env=os.environ | {"MUJOCO_GL": backend}, capture_output=True, text=True, timeout=patience
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {patience:.0f} seconds"
    if tried.returncode:
        return (tried.stderr.strip().splitlines() or [f"exit code {tried.returncode}"])[-1].rstrip(".")
    try:  # only what works is remembered: what does not may be installed in a minute
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(known | {key: "draws"}))
        partial.replace(file)
    except OSError:
        pass
    return ""


def _memory() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "etude" / "gl.json"


def _read(file: Path) -> dict[str, str]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
