"""Sweep log: a line for each run of a sweep, that says why it ended.

Rounds go on until every median is known well enough, or the rounds or the time are up. Which of them it was belongs to
what was measured, so it stands in ``sweeps.jsonl`` beside the records and in the report. A run that was killed leaves
no line; the records, not this log, are what a sweep goes on from, so nothing that befalls it costs a measurement.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

FILE_NAME = "sweeps.jsonl"


class SweepEnd(msgspec.Struct, kw_only=True, frozen=True, tag_field="format", tag="albench-sweep"):
    """How one run of a sweep ended."""

    suite: str
    order_seed: int
    """Seed of the shuffled order."""
    started_at: str
    """ISO 8601 with time zone."""
    seconds: float
    """Wall time of the run."""
    cases: int
    """Cases that were run, controls and what is around them aside."""
    resumed: int
    """Cases that were on file already."""
    stopped_because: str
    """Why there were no more rounds, or what broke it off."""


def append(directory: Path, end: SweepEnd) -> None:
    """Write one line; where the disk does not take it, the records have said so already."""
    with contextlib.suppress(OSError), (directory / FILE_NAME).open("ab") as stream:
        stream.write(msgspec.json.encode(end) + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def read(path: Path) -> list[SweepEnd]:
    """Return what the log beside a directory's records says; lines that are none, and a log that is not there, are
    nothing.
    """
    file = (path if path.is_dir() else path.parent) / FILE_NAME
    try:
        lines = file.read_bytes().splitlines()
    except OSError:
        return []
    ends = []
    for line in lines:
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            ends.append(msgspec.json.decode(line, type=SweepEnd))
    return ends
