"""Records: lines of JSON, each written whole and flushed to disk.

One line is one round of one scenario: a measurement, or why there is none. The file only grows. A line is on disk
before the next case starts, so killing a sweep loses at most the case that was running; a torn last line (the machine
died while writing) is dropped with a warning and the sweep resumes from what is whole.
"""

from __future__ import annotations

import fcntl
import os
import warnings
from pathlib import Path
from typing import Any, Literal

import msgspec

from albench.errors import UsageError
from albench.harness.memory import Memory
from albench.harness.scenario import Scenario
from albench.harness.telemetry import Telemetry

FORMAT = "albench-record"
VERSION = 1
FILE_NAME = "records.jsonl"

Status = Literal["measured", "failed", "timed-out", "out-of-memory", "skipped"]


class Record(msgspec.Struct, kw_only=True, frozen=True, tag_field="format", tag=FORMAT):
    """One round of one scenario: a measurement, or why it could not be measured."""

    key: str
    """The scenario's hash."""
    scenario: Scenario
    round: int
    """Counted from 0; every round of a scenario ran in a fresh process of its own."""
    attempt: int = 0
    """Counted from 0; a later attempt at a round was made because the one before failed, or the machine was off its
    pace then. `albench.harness.control.latest` chooses."""
    status: Status
    started_at: str
    """When the case started, ISO 8601 with time zone."""
    environment: dict[str, Any]
    """The machine, the versions and the threads it ran with."""
    suite: str = ""
    """The suite that asked for it."""
    version: int = VERSION
    reason: str = ""
    """Where status is not "measured": one line that says why."""
    seconds: float | None = None
    """Wall time of the window: N mini-batches from an empty to a drained pipeline, optimizer included."""
    instances: int = 0
    """n = N·B, so that a reader needs no formula."""
    lanes: int = 1
    """Lanes that really ran; fewer than asked for where there are fewer components."""
    lane_kind: str = ""
    """What a lane was: "cpu-thread", "intra-op-thread", …"""
    components: int | None = None
    """AL's components, ℓ/2; None for BP."""
    effective_parameters: int | None = None
    """Parameters that a prediction uses."""
    affiliated_parameters: int | None = None
    """Parameters that serve training only; 0 for BP."""
    accuracy: float | None = None
    """Share of held-out instances predicted right after this run, in [0, 1]."""
    accuracy_reason: str = ""
    """Where there is no accuracy: why."""
    losses: list[dict[str, float]] | None = None
    """Local losses of the last mini-batch, one entry a component."""
    flops_per_minibatch: int | None = None
    """Floating-point operations of the matrix products of one step, forward and backward; None: not counted."""
    task_seconds: list[float] | None = None
    """Median time of one task of each component, taken after the window by the serial engine, for projections."""
    peak_memory_bytes: int | None = None
    """Largest resident set of the case's process in its whole life, libraries and data included; what training takes
    is in `memory`."""
    memory: Memory | None = None
    """Peak memory of training, host and device, taken in a pass of its own after the timed window."""
    memory_reason: str = ""
    """Where there is none: why."""
    telemetry: Telemetry | None = None
    """What the machine did during the timed window: cores, memory, other processes, GPUs."""
    telemetry_reason: str = ""
    """Where there is none: why."""
    matmul_peak_flops_per_second: float | None = None
    """Matrix-product peak of this machine, measured in this sweep with as many threads as the case may use, or on its
    device."""
    matmul_peak_reason: str = ""
    """Where there is none: why."""
    notes: list[str] = []
    """What a reader should know, such as lanes that were capped or a control that drifted."""


def parse(line: bytes | str, *, where: str) -> Record:
    """Return the record on one line of JSON; `where` names the line in the error."""
    try:
        record = msgspec.json.decode(line, type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{where} is not a record of albench ({error}): give a {FILE_NAME} that albench wrote"
        ) from None
    if record.version > VERSION:
        raise UsageError(f"{where} has record version {record.version}, this albench reads up to {VERSION}: update it")
    return record


def read(path: Path) -> list[Record]:
    """Return the records of a file, or of the ``records.jsonl`` in a directory, in the order they were written.

    A torn last line is dropped with a warning. Anything else that is not a record is a `UsageError`.
    """
    file = path / FILE_NAME if path.is_dir() else path
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{file} does not exist: give a directory or {FILE_NAME} that albench wrote") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror}): check its permissions") from None
    lines = data.split(b"\n")
    torn = lines.pop()  # what follows the last line break: empty, unless the writer died in the middle of a line
    records = [parse(line, where=f"{file}, line {i}") for i, line in enumerate(lines, 1) if line.strip()]
    if torn.strip():
        if not records:
            # One unfinished line and nothing else is as likely a foreign file as ours: only ours may pass.
            records.append(parse(torn, where=f"{file}, line 1"))
        else:
            warnings.warn(f"{file}: the last line is torn and was dropped", RuntimeWarning, stacklevel=2)
    return records


class RecordFile:
    """An append-only file of records, opened for one sweep."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._stream = self.path.open("ab")
        except OSError as error:
            raise UsageError(
                f"{directory} cannot be written ({error.strerror}): give another directory with --out"
            ) from None
        try:
            # Two sweeps that write one file would interleave their rounds and time each other.
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.existing = read(self.path)
            self._trim_torn_line()
        except BlockingIOError:
            self._stream.close()
            raise UsageError(f"{self.path} is in use by another albench: wait for it or give another --out") from None
        except BaseException:
            self._stream.close()
            raise

    def _trim_torn_line(self) -> None:
        """Cut a torn last line off, so that the next record starts on a line of its own."""
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            os.truncate(self.path, whole)

    def append(self, record: Record) -> None:
        """Write one record whole and wait until it is on disk."""
        self._stream.write(msgspec.json.encode(record) + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def is_measured(record: Record) -> bool:
    """Whether a record holds a time that can be one."""
    return record.status == "measured" and record.seconds is not None and record.seconds > 0
