"""Records: lines of JSON, each written whole and flushed to disk.

One line is one round of one scenario: a measurement, or why there is none. The file only grows. A line is on disk
before the next case starts, so killing a sweep loses at most the case that was running.

What can befall such a file, and what a reader makes of it:

* a torn last line, of a machine that died while writing, is dropped with a warning; the next sweep cuts it off;
* a damaged line among good ones is set aside with a warning that names it. Nothing else is lost, the line stays where
  it is, and the next sweep measures that case again;
* a file without a single record is somebody else's, and is refused;
* a record of a newer version is refused, an older one is brought up to date as it is read
  (`albench.harness.migration`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import msgspec

from albench.analysis.time_to_accuracy import CurvePoint
from albench.errors import UsageError, message_of
from albench.harness.memory import Memory
from albench.harness.migration import migrated
from albench.harness.scenario import Scenario
from albench.harness.telemetry import Telemetry

FORMAT = "albench-record"
VERSION = 2
"""Goes up where a field changes its meaning or goes away. A new field with a default needs no new version: readers of
this version take records without it, and skip fields that they do not know."""
FILE_NAME = "records.jsonl"

SHORTEST, LONGEST = 1e-9, 1e9
"""Seconds: a clock's tick, and thirty years."""

COUNTS = ("instances", "effective_parameters", "affiliated_parameters", "flops_per_minibatch", "peak_memory_bytes")
"""Fields that count something."""

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
    order_seed: int | None = None
    """Seed of the order in which the sweep ran its cases; None: no sweep ran it, or one that did not say."""
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
    learning_curve: list[CurvePoint] | None = None
    """Of a network trained to the end (purpose "accuracy"): at the end of each epoch the instances trained on, the
    seconds of training and the held-out accuracy; None: the case was not stopped to look."""
    losses: Sequence[Mapping[str, float | None]] | None = None
    """Local losses of the last mini-batch, one entry a component; null: not finite, which JSON has no number for."""
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
    """What a reader should know, such as lanes that were capped."""

    def __post_init__(self) -> None:
        """Refuse what no case can have taken: whoever works with records need not ask again."""
        if self.seconds is not None and not (self.seconds == 0 or SHORTEST <= self.seconds <= LONGEST):
            raise ValueError(f"seconds is {self.seconds}: not the time of a case")
        for one in self.task_seconds or ():
            if not SHORTEST <= one <= LONGEST:
                raise ValueError(f"task_seconds holds {one}: not the time of a task")
        for name in ("lanes", "components"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} is {value}: at least 1 there must have been")
        for name in COUNTS:
            if (value := getattr(self, name)) is not None and value < 0:
                raise ValueError(f"{name} is {value}: there is no less than nothing")
        curve = [point.accuracy for point in self.learning_curve or ()]
        for share in (self.accuracy, *curve):
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"accuracy is {share}: a share is from 0 to 1")
        for point in self.learning_curve or ():
            if not 0 <= point.seconds <= LONGEST:
                raise ValueError(f"learning_curve holds {point.seconds}: not the seconds of a training")


class RecordWarning(RuntimeWarning):
    """A line of a records file was left out."""


class NewerRecordError(UsageError):
    """A record that only a newer albench can read: whole, and no damage that could be set aside."""


class _Header(msgspec.Struct, tag_field="format", tag=FORMAT):
    """What decides how a line is read."""

    version: Annotated[int, msgspec.Meta(ge=1)] = 1


def parse(line: bytes | str, *, where: str) -> Record:
    """Return the record on one line of JSON, of this version or an older one; `where` names the line in the error."""
    try:
        if msgspec.json.decode(line, type=_Header).version == VERSION:
            return msgspec.json.decode(line, type=Record)
        return converted(msgspec.json.decode(line), where=where)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(
            f"{where} is not a record of albench ({message_of(error, 300)}): give a {FILE_NAME} that albench wrote"
        ) from None


def converted(fields: Any, *, where: str) -> Record:
    """Return the record in JSON that was read already, of this version or an older one; else `parse`'s errors, where
    what is no record is a `msgspec.ValidationError`.
    """
    version = msgspec.convert(fields, _Header).version
    if version > VERSION:
        raise NewerRecordError(f"{where} has record version {version}, this albench reads up to {VERSION}: update it")
    return msgspec.convert(migrated(fields, version) if version < VERSION else fields, Record)


def read(path: Path) -> list[Record]:
    """Return the records of a file, or of the ``records.jsonl`` in a directory, in the order they were written.

    Torn and damaged lines are left out with a `RecordWarning`. A file that cannot be read, holds no record at all or
    one of a newer version is a `UsageError`.
    """
    try:
        file = path / FILE_NAME if path.is_dir() else path
        data = file.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{file} does not exist: give a directory or {FILE_NAME} that albench wrote") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): check its name and permissions") from None
    lines = data.removeprefix(BYTE_ORDER_MARK).split(b"\n")
    tail = lines.pop()  # what follows the last line break: empty, unless the writer died in the middle of a line
    records: list[Record] = []
    damaged: list[tuple[int, UsageError]] = []
    for i, line in enumerate(lines, 1):
        if line.strip():
            try:
                records.append(parse(line, where=f"{file}, line {i}"))
            except NewerRecordError:
                raise
            except UsageError as error:
                damaged.append((i, error))
    torn = bool(tail.strip())
    if torn:
        try:
            records.append(parse(tail, where=f"{file}, line {len(lines) + 1}"))
            torn = False  # whole, but for its line break
        except NewerRecordError:
            raise
        except UsageError as error:
            if not records and not damaged and not _is_ours(tail):
                raise error from None
    if damaged and not records:
        raise damaged[0][1]
    if damaged:
        warnings.warn(_damage_words(file, damaged), RecordWarning, stacklevel=2)
    if torn:
        warnings.warn(f"{file}: the last line is torn and was dropped", RecordWarning, stacklevel=2)
    return records


BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""What some editors put in front."""


def _is_ours(torn: bytes) -> bool:
    """Whether an unfinished line, all that a file holds, is what `RecordFile` would have begun with."""
    beginning = b'{"format":"%b",' % FORMAT.encode()
    return torn.startswith(beginning) or beginning.startswith(torn)


def _damage_words(file: Path, damaged: list[tuple[int, UsageError]]) -> str:
    """Return one line about the lines that were set aside; the first error tells where and why."""
    others = len(damaged) - 1
    more = f", nor {'is' if others == 1 else 'are'} {others} more" if others else ""
    reason = str(damaged[0][1]).removesuffix(f": give a {FILE_NAME} that albench wrote")
    return f"{reason}{more}: set aside, a sweep into {file.parent} measures such cases again"


def lock_alone(stream: IO[bytes], path: Path, *, refusal: str) -> None:
    """Lock a file until it is closed; raise `UsageError` with these words where another process has it locked.

    `path`: what the lock is for, as a `RecordWarning` names it where the file system has no locks.
    """
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(refusal) from None
    except OSError as error:  # some network file systems have none
        warnings.warn(
            f"{path} cannot be locked ({error.strerror}): let no other albench write it", RecordWarning, stacklevel=4
        )


class RecordFile:
    """An append-only file of records, opened for one sweep."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._stream = self.path.open("ab", buffering=0)
        except OSError as error:
            raise UsageError(
                f"{directory} cannot be written ({error.strerror}): give another directory with --out"
            ) from None
        try:
            # Two sweeps would interleave their rounds and time each other.
            refusal = f"{self.path} is in use by another albench: wait for it or give another --out"
            lock_alone(self._stream, self.path, refusal=refusal)
            self.existing = read(self.path)
            self._mend_last_line()
        except OSError as error:
            self._stream.close()
            raise self._unwritable(error) from None
        except BaseException:
            self._stream.close()
            raise

    def _mend_last_line(self) -> None:
        """Let the next record start on a line of its own: cut a torn line off, end a whole one."""
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole == len(data):
            return
        try:
            parse(data[whole:].removeprefix(BYTE_ORDER_MARK), where="")
        except UsageError:
            os.truncate(self.path, whole)
        else:
            self._write(b"\n")

    def append(self, record: Record) -> None:
        """Write one record whole and wait until it is on disk.

        Where that cannot be done (a full disk, a folder that is gone) a `UsageError` says so, and the file ends with
        the record before.
        """
        size = os.fstat(self._stream.fileno()).st_size
        try:
            self._write(msgspec.json.encode(record) + b"\n")
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._stream.fileno(), size)
            raise self._unwritable(error) from None
        if not self._is_in_place():
            raise UsageError(
                f"{self.path} was moved or deleted while it was written: put it back, or not, "
                "and the same command goes on from what is there"
            )

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._stream.fileno(), rest) :]
        os.fsync(self._stream.fileno())

    def _is_in_place(self) -> bool:
        """Whether what is written can still be found: a deleted file takes data and says nothing."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._stream.fileno()))
        except OSError:
            return False

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(
            f"{self.path} cannot be written ({error.strerror or error}): what was measured before is whole on disk; "
            "mend that, and the same command goes on from there"
        )

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
