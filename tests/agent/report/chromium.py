"""Headless Chromium over its pipe (Chrome DevTools Protocol), with nothing but the standard library: to look at a page as a reader does.

python tests/agent/report/chromium.py PAGE.html PICTURE.png --width 390 --dark
"""

import argparse
import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), "")
PATIENCE = 90  # seconds for an answer; the machine may be busy


class Browser:
    """One tab. `complaints` holds the errors and exceptions of the console."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive, self._number, self._rest = send, receive, 0, b""
        self._session = ""
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the result of a command."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters} | ({"sessionId": self._session} if self._session else {})
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self._hear(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._receive], [], [], PATIENCE)[0], "Chromium does not answer"
            more = os.read(self._receive, 1 << 16)
            assert more, "Chromium has ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _hear(self, event: dict[str, Any]) -> None:
        content = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(content["exceptionDetails"]["text"])
        elif event.get("method") == "Runtime.consoleAPICalled" and content["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(content["args"]))
        elif event.get("method") == "Log.entryAdded" and content["entry"]["level"] in ("error", "warning"):
            self.complaints.append(content["entry"]["text"])

    def ask(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; a promise is waited for."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def show(self, page: Path, width: int, height: int = 900, dark: bool = False) -> None:
        """Open a page at a width, in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.call("Page.navigate", url=page.resolve().as_uri())
        began = time.monotonic()
        while self.ask("document.readyState + location.protocol") != "completefile:":
            assert time.monotonic() - began < PATIENCE, "the page did not load"
            time.sleep(0.05)

    def picture(self, whole: bool = False) -> bytes:
        """Return a PNG of what is seen, or of the whole page."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Yield a browser, and end it."""
    (read_1, send), (receive, write_2) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = f"--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --remote-debugging-pipe --user-data-dir={profile} --hide-scrollbars"
        # Chromium reads from 3 and writes to 4.
        command = f"exec {PROGRAM} {flags} --autoplay-policy=no-user-gesture-required 3<&{read_1} 4>&{write_2} 2>/dev/null"
        process = subprocess.Popen(["bash", "-c", command], pass_fds=(read_1, write_2), stdout=subprocess.DEVNULL)
        os.close(read_1)
        os.close(write_2)
        try:
            yield Browser(send, receive)
        finally:
            process.terminate()
            process.wait()
            os.close(send)
            os.close(receive)


def main() -> None:
    """Take a picture of a page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1440)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--at", default="", help="id of the section to begin at")
    given = parser.parse_args()
    with browser() as tab:
        tab.show(given.page, given.width, given.height, given.dark)
        if given.at:
            tab.ask(f"document.documentElement.style.scrollBehavior='auto'; document.getElementById({given.at!r}).scrollIntoView()")
        time.sleep(1)  # videos begin to play
        given.picture.write_bytes(tab.picture())


if __name__ == "__main__":
    main()
