"""The command line, called in a process of its own, which spends about seven seconds of a core on imports, or in that of the tests."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from agent import cli


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
    return subprocess.run([sys.executable, "-m", "agent.cli", *map(str, arguments)], cwd=cwd, capture_output=True, text=True)
