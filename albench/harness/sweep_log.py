"""Sweep log: a line for each run of a sweep, that says why it ended.

Rounds go on until every median is known well enough, or the rounds or the time are up. Which of them it was belongs to
what was measured, so it stands in ``sweeps.jsonl`` beside the records and in the report. A run that was killed leaves
no line; the records, not this log, are what a sweep goes on from, so nothing that befalls it costs a measurement.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated

import msgspec

from albench.harness.records import FILE_NAME as RECORDS_NAME

FILE_NAME = "sweeps.jsonl"
LONGEST_SECONDS = 1e9
"""Thirty years: no sweep ran for longer."""


class SweepEnd(msgspec.Struct, kw_only=True, frozen=True, tag_field="format", tag="albench-sweep"):
    """How one run of a sweep ended."""

    suite: str
    order_seed: int
    """Seed of the shuffled order."""
    started_at: str
    """ISO 8601 with time zone."""
    seconds: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_SECONDS)]
    """Wall time of the run."""
    cases: Annotated[int, msgspec.Meta(ge=0)]
    """Cases that were run, controls and what is around them aside."""
    resumed: Annotated[int, msgspec.Meta(ge=0)]
    """Cases that were on file already."""
    stopped_because: str
    """Why there were no more rounds, or what broke it off."""


def append(directory: Path, end: SweepEnd) -> None:
    """Write one line; where the disk does not take it, the records have said so already."""
    # The line break comes first too: whatever a full disk left of a line before is a line of its own then.
    with contextlib.suppress(OSError), (directory / FILE_NAME).open("ab") as stream:
        stream.write(b"\n" + msgspec.json.encode(end) + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def read(path: Path) -> list[SweepEnd]:
    """Return what the log beside the records of a directory, or beside its ``records.jsonl``, says.

    Lines that are none, and a log that is not there, are nothing.
    """
    try:
        if not path.is_dir() and path.name != RECORDS_NAME:
            return []
        file = (path if path.is_dir() else path.parent) / FILE_NAME
        lines = file.read_bytes().splitlines()
    except OSError:
        return []
    ends = []
    for line in lines:
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            ends.append(msgspec.json.decode(line, type=SweepEnd))
    return ends
