"""A process ends though a thread of an environment does not."""

import subprocess
import sys

import pytest

CODE = """
import sys, threading
import agent.verbs.leaving as leaving
leaving.PATIENCE = 0.1
with leaving.leaving():
    threading.Thread(target=threading.Event().wait, name="camera").start()
    print("written")
    {end}
"""


@pytest.mark.parametrize(
    ("end", "code", "says"),
    [("pass", 0, ""), ("sys.exit(130)", 130, ""), ("sys.exit()", 0, ""), ("raise KeyError('a bug')", 1, "KeyError: 'a bug'")],
)
def test_a_thread_that_does_not_end_is_left_behind(end: str, code: int, says: str) -> None:
    done = subprocess.run([sys.executable, "-c", CODE.format(end=end)], capture_output=True, text=True, timeout=60)
    assert done.returncode == code and done.stdout == "written\n"
    assert "the thread 'camera' did not end" in done.stderr and says in done.stderr


def test_without_such_a_thread_nothing_is_said() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(end="pass").replace("Event().wait", "Event")], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "written\n", "")
