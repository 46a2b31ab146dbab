"""Files are there whole or not at all, and two processes never work in one run folder."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from agent.run.files import alone, digests, load, new_folder, save, writable, write, write_folder, write_text


def in_a_child(act: Callable[[], None]) -> str:
    """Return what an act says when it is refused, in a process of its own that it may do anything to."""
    ear, mouth = os.pipe()
    if (child := os.fork()) == 0:
        try:
            act()
        except BaseException as error:  # also what should not have come through
            os.write(mouth, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(mouth)
    os.waitpid(child, 0)
    with os.fdopen(ear) as stream:
        return stream.read()


def test_a_folder_is_for_one_process_at_a_time(tmp_path: Path) -> None:
    with alone(tmp_path):
        assert in_a_child(lambda: alone(tmp_path).__enter__()).startswith("ValueError: Another process is at work in")
        assert (tmp_path / "lock").exists()
    with alone(tmp_path):  # what was left behind locks nobody out
        pass


def test_what_came_to_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), alone(tmp_path / "a" / "b"):
        raise KeyError
    assert not list(tmp_path.iterdir())
    with alone(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "kept").touch()
    assert [each.name for each in (tmp_path / "a" / "b").iterdir()] == ["kept"]
    (tmp_path / "lock").touch()  # somebody else's, who was killed
    with alone(tmp_path):
        pass
    assert (tmp_path / "lock").exists()


def test_the_folder_of_a_result_is_made_before_the_work_and_goes_where_nothing_came_of_it(tmp_path: Path) -> None:
    with pytest.raises(KeyError), writable(tmp_path / "a" / "b"):
        assert not list((tmp_path / "a" / "b").iterdir())
        raise KeyError
    assert not list(tmp_path.iterdir())
    with writable(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "kept").touch()
    assert (tmp_path / "a" / "b" / "kept").exists()


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/none", "x" * 300])
def test_a_folder_in_which_nothing_can_be_written_is_one_sentence(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"cannot be written \([A-Z][a-z ]+\); name another folder\.$"), writable(tmp_path / place):
        pass
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_who_took_the_folders_place_keeps_its_lock(tmp_path: Path) -> None:
    with alone(tmp_path / "run"):
        (tmp_path / "run").rename(tmp_path / "moved")
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "lock").touch()
    assert (tmp_path / "run" / "lock").exists()


def test_a_folder_that_may_not_be_written_is_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for above in (each for each in tmp_path.parents if each.name.startswith(("pytest-", "popen-"))):
        above.chmod(0o755)

    def act() -> None:
        if os.getuid() == 0:
            os.setuid(65534)
        else:
            tmp_path.chmod(0o555)
        alone(tmp_path).__enter__()

    said = in_a_child(act)
    tmp_path.chmod(0o755)
    assert said == f"ValueError: {tmp_path} cannot be the folder of a run (Permission denied: {tmp_path}/lock); name another folder."


def bigger(file: Path) -> None:
    save_file({"a": np.zeros(10_000)}, file)


@pytest.mark.parametrize("put", [bigger, lambda file: file.write_bytes(bytes(10_000))])
def test_a_full_disk_is_one_sentence_and_what_was_there_stays(put: Callable[[Path], None], tmp_path: Path) -> None:
    """In a process whose files may have 1,000 bytes."""
    write_text(tmp_path / "f", "old")

    def act(write_it: Callable[[], None]) -> Callable[[], None]:
        def limited() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
            write_it()

        return limited

    said = in_a_child(act(lambda: write(tmp_path / "f", put)))
    assert said.startswith(f"ValueError: {tmp_path}/f cannot be written (") and "same command again" in said
    said = in_a_child(act(lambda: write_folder(tmp_path / "m", lambda partial: put(partial / "w"))))
    assert said.startswith(f"ValueError: {tmp_path}/m cannot be written (") and not (tmp_path / "m" / "w").exists()
    assert (tmp_path / "f").read_text() == "old"


def test_nobody_makes_a_run_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot be written \(No such file"):
        save(tmp_path / "gone" / "cycle-001" / "tune.json", {})
    assert not (tmp_path / "gone").exists()


def test_a_folder_is_written_file_by_file_and_known_by_its_digests(tmp_path: Path) -> None:
    def put(partial: Path) -> None:
        (partial / "inner").mkdir()
        for name in ("a", "inner/b"):
            (partial / name).write_text(name)

    write_folder(tmp_path / "m", put)
    first = digests(tmp_path / "m")
    assert list(first) == ["a", "inner/b"] and {len(each) for each in first.values()} == {64}
    write_folder(tmp_path / "m", put)
    assert digests(tmp_path / "m") == first
    (tmp_path / "m" / "a").write_text("A")
    assert {name for name, each in digests(tmp_path / "m").items() if each != first[name]} == {"a"}


@pytest.mark.parametrize("damaged", [b"\xff\xfe", b'{"sha256": "\xff"}', b"[]", b"{}", b"null", b"7", b"[" * 100_000, b'{"content": 1}'])
def test_a_stage_file_of_any_other_content_is_named(damaged: bytes, tmp_path: Path) -> None:
    file = tmp_path / "label.json"
    file.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"label\.json is damaged; delete it and run the same command again"):
        load(file)


def test_a_new_folder_may_hold_what_a_killed_command_left(tmp_path: Path) -> None:
    (tmp_path / "m" / "partial").mkdir(parents=True)
    assert new_folder(tmp_path / "m") == tmp_path / "m" and new_folder(tmp_path / "none") == tmp_path / "none"
    (tmp_path / "m" / "weights").write_text("kept")
    with pytest.raises(ValueError, match="m holds files already; name a new folder"):
        new_folder(tmp_path / "m")
    assert (tmp_path / "m" / "weights").read_text() == "kept"
