"""What W&B's own files hold of a run: they say what it has received, also where a kill cut them off.

A file `*.wandb` is a log in LevelDB's format: blocks of 32 KiB with parts of records, each of which is a protocol buffer of W&B's.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEADER, BLOCK, PART = 7, 32768, 7  # bytes: of the file's header, of a block, of a part's header (checksum 4, length 2, kind 1)
WHOLE, LAST = 1, 4  # kinds of parts with which a record ends


def steps(folder: Path, run_id: str) -> int:
    """Return how many steps of the W&B run with this id the files in a folder hold, over all starts; they count from 0."""
    last = -1
    for file in folder.glob(f"wandb/*run-*-{run_id}/*.wandb"):
        for record in records(file):
            if record.HasField("history"):
                last = max(last, record.history.step.num)
    return last + 1


def records(file: Path) -> Iterator[Any]:
    """Yield W&B's records in a file, up to the place where a kill cut it off."""
    from wandb.proto import wandb_internal_pb2  # slow, and not needed with `track.mode: off`

    for content in _parts(file.read_bytes()):
        yield wandb_internal_pb2.Record.FromString(content)  # type: ignore[attr-defined]


def _parts(log: bytes) -> Iterator[bytes]:
    """Yield the contents of the complete records of a log."""
    at, record = HEADER, b""
    while at + PART <= len(log):
        if BLOCK - at % BLOCK < PART:  # too little is left of the block for a part
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(log[at + 4 : at + 6], "little"), log[at + 6]
        part = log[at + PART : at + PART + length]
        if not kind or len(part) < length:  # zeros, or less than was to be written
            return
        record, at = record + part, at + PART + length
        if kind in (WHOLE, LAST):
            yield record
            record = b""
