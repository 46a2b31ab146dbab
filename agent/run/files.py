"""Files of a run that are there whole or not at all: text, weights, folders of a model, and stage files under a checksum."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def save(file: Path, content: Any) -> None:
    """Write JSON content under a checksum; raise ValueError if it cannot be written."""
    body = json.dumps(content, indent=1)
    write_text(file, json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest(), "content": content}, indent=1))


def load(file: Path, plain: Callable[[dict[str, Any]], bool] = lambda content: False) -> Any:
    """Return the content of a stage file.

    Args:
        file: as `save` wrote it.
        plain: whether content is what older runs wrote without a checksum; it is then taken so.

    Raises:
        ValueError: it is damaged, or cannot be read.
    """
    saved = read_object(file)
    if plain(saved):
        return saved
    try:
        body = json.dumps(saved["content"], indent=1)
        if saved["sha256"] != hashlib.sha256(body.encode()).hexdigest():
            raise KeyError("sha256")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(_damaged(file)) from error
    return saved["content"]


def read_object(file: Path) -> dict[str, Any]:
    """Return the JSON object in a file that carries no checksum.

    Raises:
        ValueError: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"Stage file {file} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested without end
        raise ValueError(_damaged(file)) from error
    if not isinstance(content, dict):
        raise ValueError(_damaged(file))
    return content


def _damaged(file: Path) -> str:
    return f"Stage file {file} is damaged; delete it and run the same command again, and the stage is done anew."


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Work in a folder, made if need be, that no other process works in meanwhile: two would mix what they append.

    What was made for this (the lock, and folders that stay empty) is gone afterwards.

    Raises:
        ValueError: another one does, or the folder cannot be written.
    """
    made, lock = [], folder / "lock"
    try:
        try:
            made += [each for each in (folder, *folder.parents) if not each.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            new = not lock.exists()
            stream = lock.open("a")  # empty: what counts is who has locked it, which ends with that process
        except OSError as error:
            raise ValueError(f"{folder} cannot be the folder of a run ({error.strerror}: {error.filename}); name another folder.") from error
        with stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                taken = not _same(stream.fileno(), lock)  # whoever had it took it away in between
            except BlockingIOError:
                taken = True
            except OSError:  # a file system without locks
                taken = False
            if taken:
                raise ValueError(f"Another process is at work in {folder}; wait until it has ended, or name another folder.")
            try:
                yield
            finally:
                if new and _same(stream.fileno(), lock):
                    lock.unlink()
    finally:
        for each in made:
            with contextlib.suppress(OSError):  # it holds something now
                each.rmdir()


def _same(descriptor: int, file: Path) -> bool:
    """Return whether an open file is the one that lies at this path."""
    return file.exists() and os.path.samestat(os.fstat(descriptor), file.stat())


def write_text(file: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new content, never a part.

    Raises:
        ValueError: it cannot be written; names the file and the cause.
    """
    write(file, lambda partial: partial.write_bytes(text.encode()))


def write(file: Path, put: Callable[[Path], Any]) -> None:
    """Write a file as `write_text` does, by a function that writes the content to the path that it is given.

    Its folder is made, but not the one above: where a run's folder is gone, nobody wants another.

    Raises:
        ValueError: it cannot be written; names the file and the cause.
    """
    partial = file.with_name(file.name + ".partial")
    with _sentence(file):
        file.parent.mkdir(exist_ok=True)
        put(partial)
        _flush(partial)
        partial.replace(file)


def write_folder(folder: Path, put: Callable[[Path], Any]) -> None:
    """Write files into a folder, each of them whole or not at all, by a function that writes them to the folder that it is given.

    Raises:
        ValueError: they cannot be written; names the folder and the cause.
    """
    partial = folder / "partial"
    with _sentence(folder):
        partial.mkdir(parents=True, exist_ok=True)
        put(partial)
        for file in _inside(partial):
            _flush(file)
            place = folder / file.relative_to(partial)
            place.parent.mkdir(exist_ok=True)
            file.replace(place)
        shutil.rmtree(partial)


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256, in hex digits, of each file in a folder, by its path there."""
    return {str(file.relative_to(folder)): digest(file) for file in _inside(folder)}


def digest(file: Path) -> str:
    """Return the SHA-256 of a file, in hex digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _inside(folder: Path) -> list[Path]:
    return sorted(each for each in folder.rglob("*") if each.is_file())


def _flush(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


@contextlib.contextmanager
def _sentence(place: Path) -> Iterator[None]:
    """Turn what goes wrong in writing into one sentence; libraries have types of their own for a full disk."""
    try:
        yield
    except Exception as error:
        cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error).strip().split("\n")[0]
        raise ValueError(
            f"{place} cannot be written ({cause}); what is already in the run folder is safe: mend this and run the same command again."
        ) from error
