"""Files of a run that are there whole or not at all: text, and stage files under a checksum."""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def save(file: Path, content: Any) -> None:
    """Write JSON content under a checksum; raise ValueError if it cannot be written."""
    body = json.dumps(content, indent=1)
    write_text(file, json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest(), "content": content}, indent=1))


def load(file: Path) -> Any:
    """Return the content of a stage file.

    Raises:
        ValueError: it is damaged, or cannot be read.
    """
    try:
        text = file.read_text()
    except OSError as error:
        raise ValueError(f"Stage file {file} cannot be read ({error.strerror}).") from error
    try:
        saved = json.loads(text)
        body = json.dumps(saved["content"], indent=1)
        if saved["sha256"] != hashlib.sha256(body.encode()).hexdigest():
            raise KeyError("sha256")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"Stage file {file} is damaged; delete it and run the same command again, and the stage is done anew.") from error
    return saved["content"]


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Work in a folder that no other process works in meanwhile: two would mix what they append.

    Raises:
        ValueError: another one does.
    """
    with (folder / "lock").open("a") as stream:  # it stays, and is empty: what counts is who has locked it, which ends with that process
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"Another process is at work in {folder}; wait until it has ended, or name another folder.") from error
        except OSError:  # a file system without locks
            pass
        yield


def write_text(file: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new content, never a part.

    Raises:
        ValueError: it cannot be written; names the file and the cause.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(file.name + ".partial")
        with partial.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
    except OSError as error:
        raise ValueError(
            f"{file} cannot be written ({error.strerror}); what is already in the run folder is safe: mend this and run the same command again."
        ) from error
