"""The window of `etude play`, on a display without a screen (Xvfb)."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageGrab

from agent.report.window import SCALE, Window
from tests.agent.runs import make
from tests.called import Process


@pytest.fixture(scope="module")
def xvfb() -> Iterator[str]:
    """Yields the name of a display."""
    if not shutil.which("Xvfb"):
        pytest.skip("Xvfb is not installed here: apt-get install xvfb")
    ours, theirs = os.pipe()
    server = subprocess.Popen(["Xvfb", "-displayfd", str(theirs), "-screen", "0", "640x640x24"], pass_fds=[theirs], stderr=subprocess.DEVNULL)
    os.close(theirs)
    with open(ours) as chosen:
        yield f":{chosen.readline().strip()}"
    server.terminate()
    server.wait()


@pytest.fixture
def display(xvfb: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a display, which is that of this process too."""
    pytest.importorskip("tkinter", reason="this Python has no tkinter")
    monkeypatch.setenv("DISPLAY", xvfb)
    return xvfb


def frames(count: int) -> list[np.ndarray]:
    return [*np.random.default_rng(0).integers(0, 255, (count, 48, 64, 3), dtype=np.uint8)]


def seen(window: Window, display: str) -> np.ndarray:
    """Return the pixels of the screen under the window's picture."""
    label, (height, width, _) = window._label, frames(1)[0].shape
    left, top = label.winfo_rootx() + (label.winfo_width() - SCALE * width) // 2, label.winfo_rooty() + (label.winfo_height() - SCALE * height) // 2
    return np.asarray(ImageGrab.grab((left, top, left + SCALE * width, top + SCALE * height), xdisplay=display))


def test_frames_are_on_the_screen_at_twice_their_size(display: str) -> None:
    window, given = Window.open(), frames(3)
    assert window
    window.show(given, "touch the ball", 1000.0)
    large = Image.fromarray(given[-1]).resize((128, 96))
    np.testing.assert_array_equal(seen(window, display), np.asarray(large))
    assert window._root.title() == "touch the ball" and not window.closed
    window.close()
    window.close()
    assert window.closed and not np.asarray(ImageGrab.grab(xdisplay=display)).any(), "nothing of it is left"


@pytest.mark.parametrize("way", ["<Escape>", "q", "WM_DELETE_WINDOW"])
def test_keys_and_the_mouse_close_it_and_nothing_more_is_shown(way: str, display: str) -> None:
    window = Window.open()
    assert window
    window.show(frames(1), "one", 1000.0)
    if way.startswith("WM"):  # what a window manager sends; Xvfb has none
        window._root.after_idle(window._root.tk.eval, window._root.protocol(way))
    else:
        window._root.focus_force()
        window._root.update()
        window._root.event_generate(way, when="tail")
    window.show(frames(5), "two", 1000.0)
    assert window.closed
    window.show(frames(5), "three", 1000.0)


@pytest.mark.slow
def test_play_draws_its_episodes_and_ends_cleanly(display: str, tmp_path: Path) -> None:
    make(tmp_path / "run", env={"id": "etude/Reach-v0", "max_episode_steps": 12})
    out, err = tmp_path / "out", tmp_path / "err"
    process, drawn = Process("play", tmp_path / "run", "--episodes", 2, cwd=tmp_path, out=out, err=err), 0
    while process.poll() is None:
        drawn = max(drawn, int(np.asarray(ImageGrab.grab(xdisplay=display)).any(-1).sum()))
        time.sleep(0.02)  # a frame is there for 0.05 s
    assert process.wait() == 0 and not err.read_text(), err.read_text()
    assert [line.split(":")[0] for line in out.read_text().splitlines()] == ["seed 0", "seed 1"]
    assert drawn >= 512 * 512 * 0.9, "a picture of 256 pixels, twice as large"
    assert not (tmp_path / "play.mp4").exists()
