"""A window that shows frames at the robot's own speed, by tkinter."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

SCALE = 2  # screen pixels for a pixel of a frame
KEYS = ("<Escape>", "q")  # they close it, as in most players


class Window:
    """A window on the display.

    Args:
        root: of tkinter.

    Attributes:
        closed: whether it is closed, by the user or by `close`.
    """

    def __init__(self, root: Any) -> None:
        import tkinter

        self._root, self._label, self.closed = root, tkinter.Label(root), False
        self._label.pack()
        root.protocol("WM_DELETE_WINDOW", self.close)  # otherwise Tk destroys the window, and the next frame raises
        for key in KEYS:
            root.bind(key, lambda _: self.close())

    @classmethod
    def open(cls) -> "Window | None":
        """Return a window, or None where there is no display, or no tkinter."""
        try:
            import tkinter

            return cls(tkinter.Tk())
        except Exception:  # tkinter may be missing, and its TclError too; without a window there is the MP4
            return None

    def show(self, frames: Sequence[np.ndarray], title: str, rate: float) -> None:
        """Show uint8[h, w, 3] frames one after the other, `rate` a second; at once nothing once the window is closed."""
        from PIL import ImageTk

        for frame in frames:
            if self.closed:
                return
            began = time.monotonic()
            picture = Image.fromarray(frame).resize((frame.shape[1] * SCALE, frame.shape[0] * SCALE))
            photo = ImageTk.PhotoImage(picture, master=self._root)  # kept until the next one is drawn: tkinter itself keeps no picture
            self._label.configure(image=photo)
            self._root.title(title)
            self._root.update()  # draws, and lets a click on "close" arrive: there is no main loop
            time.sleep(max(0.0, 1 / rate - (time.monotonic() - began)))  # drawing took a part of the frame's time

    def close(self) -> None:
        """Close the window."""
        if not self.closed:
            self.closed = True
            self._root.destroy()
