"""The command line, called in the process of the tests, or in one of its own.

A new interpreter spends about five seconds of a core on imports. So a process of its own is forked from one that has imported everything already
and has done nothing else. What must begin with a new interpreter says `subprocess`.
"""

import atexit
import contextlib
import functools
import io
import json
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any
from unittest import mock

from agent import cli

ROOT = Path(__file__).resolve().parent.parent


def etude(*arguments: Any, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run `etude ARGUMENTS` in a folder, and return what a process would: exit code, stdout and stderr; a bug raises here."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.chdir(cwd or Path()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["etude", *map(str, arguments)]),
        mock.patch.object(sys, "path", [*sys.path]),
    ):
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def apart(*arguments: Any, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run `etude ARGUMENTS` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = (Path(folder) / name for name in ("out", "err"))
        code = Process(*arguments, cwd=cwd, out=out, err=err).wait()
        return subprocess.CompletedProcess(arguments, code, out.read_text(), err.read_text())


class Process:
    """A process of its own that runs `etude ARGUMENTS`; one at a time."""

    def __init__(self, *arguments: Any, cwd: Path | None = None, out: Path = Path(os.devnull), err: Path = Path(os.devnull)) -> None:
        given = {"arguments": [*map(str, arguments)], "cwd": str(cwd or Path.cwd()), "environment": {**os.environ}}
        asks, self._answers = _warm()
        asks.write(json.dumps({**given, "out": str(out), "err": str(err)}).encode() + b"\n")
        self.pid, self._code = int(self._answers.readline()), None

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self.wait() if self._code is not None or select.select([self._answers], [], [], 0)[0] else None

    def wait(self) -> int:
        """Return the exit code when it has ended; negative: the signal that ended it."""
        if self._code is None:
            self._code = int(self._answers.readline())
        return self._code


@functools.cache
def _warm() -> tuple[IO[bytes], IO[bytes]]:
    """Start the process that forks, and return both ends of the conversation; it ends when the tests do."""
    server = subprocess.Popen([sys.executable, "-m", "tests.warm"], cwd=ROOT, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(server.communicate)  # which closes its stdin
    assert server.stdin and server.stdout
    return server.stdin, server.stdout
