"""Files: two processes never work in one run folder."""

from pathlib import Path

import pytest

from agent.files import alone


def test_a_folder_is_for_one_process_at_a_time(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(ValueError, match=r"Another process is at work in .*; wait until it has ended"), alone(tmp_path):
        pass
    with alone(tmp_path):  # what was left behind locks nobody out
        assert (tmp_path / "lock").exists()
