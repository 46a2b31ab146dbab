"""Atomic writing of a run's files (text, weights, model folders), stage files with a checksum, and the lock of a run folder."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PARTIAL = "partial"  # folder for files that are not complete yet


def save(file: Path, content: Any) -> None:
    """Write JSON content with its checksum; raise ValueError if it cannot be written."""
    body = json.dumps(content, indent=1)  # the hashed text; `load` makes the same text again from the parsed content
    write_text(file, json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest(), "content": content}, indent=1))


def load(file: Path) -> Any:
    """Return the content of a stage file.

    Args:
        file: as `save` wrote it.

    Raises:
        ValueError: the file is damaged, or cannot be read.
    """
    saved = read_object(file)
    try:
        body = json.dumps(saved["content"], indent=1)
        if saved["sha256"] != hashlib.sha256(body.encode()).hexdigest():
            raise KeyError("sha256")  # caught below, like a missing key
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(_damaged(file)) from error
    return saved["content"]


def read_object(file: Path) -> dict[str, Any]:
    """Return the JSON object in a file, without a look at any checksum.

    Raises:
        ValueError: the file cannot be read, or holds no JSON object.
    """
    if file.exists() and not file.is_file():  # a pipe would keep the reader waiting
        raise ValueError(f"Stage file {file} is no file; remove what is there.")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"Stage file {file} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested too deeply
        raise ValueError(_damaged(file)) from error
    if not isinstance(content, dict):
        raise ValueError(_damaged(file))
    return content


def _damaged(file: Path) -> str:
    return f"Stage file {file} is damaged; delete it and run the same command again, and the stage is run anew."


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Lock a folder, made if missing, for this process: two processes in one run would mix the episodes that they append.

    Afterwards the lock file, and folders that were made and stayed empty, are removed.

    Raises:
        ValueError: another process holds the lock, or the folder cannot be written.
    """
    lock = folder / "lock"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_made(folder))
            new = not lock.exists()
            stream = stack.enter_context(lock.open("a"))  # stays empty: the lock is the kernel's, and ends with its process, also by a kill
        except OSError as error:
            raise ValueError(f"{folder} cannot be the folder of a run ({error.strerror}: {error.filename}); name another folder.") from error
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken = not _same(stream.fileno(), lock)  # false if the former holder removed the file between open and lock
        except BlockingIOError:
            taken = True
        except OSError:  # a file system without locks: work unprotected rather than not at all
            taken = False
        if taken:
            raise ValueError(f"Another process is at work in {folder}; wait until it has ended, or name another folder.")
        try:
            yield
        finally:
            if new and _same(stream.fileno(), lock):  # the folder may have been moved, and another process at work in its place
                lock.unlink()


@contextlib.contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Make the folder of a result, if missing, before the work for the result begins; one that stays empty is removed afterwards.

    Raises:
        ValueError: it cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_made(folder))
            tempfile.TemporaryFile(dir=folder).close()  # permissions do not tell of a file system that can only be read
        except OSError as error:
            raise ValueError(f"{folder} cannot be written ({error.strerror}); name another folder.") from error
        yield


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder and those above it, where they are missing; afterwards those of them that stayed empty are removed."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]  # innermost first
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for path in new:
            with contextlib.suppress(OSError):  # not empty
                path.rmdir()


def _same(descriptor: int, file: Path) -> bool:
    """Return whether an open file is the file at this path now."""
    return file.exists() and os.path.samestat(os.fstat(descriptor), file.stat())


def write_text(file: Path, text: str) -> None:
    """Write a text atomically: a reader, or the next start after a kill, finds the old content or the new one.

    Raises:
        ValueError: it cannot be written; the sentence names the file and the cause.
    """
    write(file, lambda partial: partial.write_bytes(text.encode()))  # bytes: UTF-8 and line ends as given, on any platform


def write(file: Path, put: Callable[[Path], Any]) -> None:
    """Write a file atomically, by a function that writes the content to a temporary path.

    Args:
        file: to write. Its folder is made if missing, but not the folder above: a run folder that was deleted is not made again.
        put: called with the temporary path.

    Raises:
        ValueError: it cannot be written; the sentence names the file and the cause.
    """
    partial = file.with_name(file.name + ".partial")
    with _sentence(file):
        file.parent.mkdir(exist_ok=True)
        partial.unlink(missing_ok=True)  # a killed call may have left it
        partial.touch()
        mode = partial.stat().st_mode
        put(partial)
        partial.chmod(mode)  # of any new file: safetensors makes files that only their owner can read
        _flush(partial)  # on disk before the rename, or a power failure could leave an empty file under the final name
        partial.replace(file)


def new_folder(folder: Path) -> Path:
    """Return a folder into which `write_folder` overwrites nothing: a new one, an empty one, or one in which that was killed.

    Raises:
        ValueError: it is a file, or holds files.
    """
    if folder.is_file() or (folder.is_dir() and any(each.name != PARTIAL for each in folder.iterdir())):
        raise ValueError(f"{folder} {'is a file' if folder.is_file() else 'holds files already'}; name a new folder.")
    return folder


def write_folder(folder: Path, put: Callable[[Path], Any]) -> None:
    """Write files into a folder, each of them atomically, by a function that writes them into a temporary folder.

    The folder as a whole is not atomic: a kill may leave some old and some new files. Callers record `digests` afterwards.

    Args:
        folder: to write into; made if missing.
        put: called with the temporary folder.

    Raises:
        ValueError: they cannot be written; the sentence names the folder and the cause.
    """
    partial = folder / PARTIAL
    with _sentence(folder):
        partial.mkdir(parents=True, exist_ok=True)  # a killed call may have left it; `put` overwrites what is in it
        put(partial)
        for file in _inside(partial):
            _flush(file)
            target = folder / file.relative_to(partial)
            target.parent.mkdir(exist_ok=True)
            file.chmod(partial.stat().st_mode & 0o666)  # as in `write`
            file.replace(target)
        shutil.rmtree(partial)


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256, in hex digits, of each file in a folder, by its path relative to the folder."""
    return {str(file.relative_to(folder)): digest(file) for file in _inside(folder)}


def digest(file: Path) -> str:
    """Return the SHA-256 of a file, in hex digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _inside(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _flush(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


@contextlib.contextmanager
def _sentence(place: Path) -> Iterator[None]:
    """Turn every error in writing into a ValueError of one sentence."""
    try:
        yield
    except Exception as error:  # safetensors and transformers raise types of their own for a full disk
        cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error).strip().split("\n")[0]
        raise ValueError(
            f"{place} cannot be written ({cause}); what is already in the run folder is safe: correct this and run the same command again."
        ) from error
