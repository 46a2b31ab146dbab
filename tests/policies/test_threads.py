"""Threads of torch that wait for work leave their core to others."""

import os
import subprocess
import sys

import pytest

SHOWN = "import sys, policies, os; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"


@pytest.mark.parametrize(("given", "kept"), [("", "passive"), ("active", "active")])
def test_the_way_in_which_threads_wait_is_set_before_torch_reads_it(given: str, kept: str) -> None:
    plain = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-c", SHOWN], env=plain | ({"OMP_WAIT_POLICY": given} if given else {}), capture_output=True, text=True)
    assert done.stdout.split() == [kept, "False"], done.stderr
