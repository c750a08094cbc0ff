"""Epoch log: what a training run says of itself, lines of JSON in ``epochs.jsonl``, each flushed to disk when written.

The first line is the header: what is trained, how, on what machine. Then comes a line an epoch, and one wherever the
run was resumed. A run that was killed loses at most the line that it was writing; resuming cuts off what lies behind
the checkpoint that it goes on from, because those epochs are trained again.

* **Seconds** are those of training alone, from before the first mini-batch of an epoch to after its last update, summed
  over epochs. Building, warming up, evaluating and saving are not in them.
* **Losses** are those of the epoch's last mini-batch. A mean over the epoch would cost every step a sum, on a device a
  launch, which is what is being measured.
* **Accuracies** are those of the whole training set, not augmented, and of the whole held-out set, after the epoch.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from albench.analysis.time_to_accuracy import CurvePoint
from albench.errors import UsageError
from albench.harness.records import RecordWarning, lock_alone
from albench.harness.scenario import Scenario
from albench.whole_file import write_whole

FILE_NAME = "epochs.jsonl"
VERSION = 1


class Header(msgspec.Struct, kw_only=True, frozen=True, tag_field="format", tag="albench-training"):
    """What is trained, how and on what machine."""

    version: int = VERSION
    settings: dict[str, Any]
    """All of the recipe (`albench.harness.recipe.Recipe.settings`); the seed is among them."""
    scenario: Scenario
    """The same as one case, with all mini-batches of the run; its rate is the base rate."""
    environment: dict[str, Any]
    """The machine and the versions."""
    command: str
    """What was typed."""
    started_at: str
    """ISO 8601 with time zone."""
    training_instances: int
    held_out_instances: int
    lanes: int
    """Lanes that really run."""
    lane_kind: str
    components: int | None
    """None where there is only one objective."""
    effective_parameters: int
    """Parameters that a prediction uses."""
    affiliated_parameters: int
    """Parameters that serve training only."""
    notes: list[str] = []
    """What a reader should know, such as lanes that were capped."""


class Epoch(msgspec.Struct, kw_only=True, frozen=True, tag_field="format", tag="albench-epoch"):
    """What one epoch came to."""

    epoch: int
    """Counted from 1."""
    minibatches: int
    """Trained since the run began."""
    instances: int
    """Trained since the run began."""
    seconds: float
    """Of training since the run began."""
    samples_per_second: float
    """Of this epoch."""
    learning_rate: float
    """Base rate of the epoch's last mini-batch."""
    losses: Sequence[Mapping[str, float | None]]
    """Of the epoch's last mini-batch, an entry a component (one in all for BP); null: not finite."""
    training_accuracy: float | None
    """Share of all training instances that are predicted, in [0, 1]."""
    held_out_accuracy: float | None
    accuracy_reason: str = ""
    """Where there is no held-out accuracy: why."""
    evaluation_seconds: float = 0.0
    """What finding the accuracies took; not in `seconds`."""
    ended_at: str = ""
    """ISO 8601 with time zone."""


class Resumed(msgspec.Struct, kw_only=True, frozen=True, tag_field="format", tag="albench-resumed"):
    """The run went on in another process."""

    epoch: int
    """The last epoch before."""
    environment: dict[str, Any]
    command: str
    started_at: str


Line = Header | Epoch | Resumed


@dataclass(frozen=True, kw_only=True)
class TrainingLog:
    """What a log says."""

    header: Header
    epochs: tuple[Epoch, ...]
    """In order."""
    resumed: tuple[Resumed, ...]

    @property
    def learning_curve(self) -> list[CurvePoint]:
        """What held-out accuracy was reached by when, as `albench.analysis.time_to_accuracy` takes it."""
        return [CurvePoint(one.instances, one.seconds, one.held_out_accuracy) for one in self.epochs]


def read(path: Path) -> TrainingLog:
    """Return what the log of a directory, or a file, says; lines that are none are left out with a `RecordWarning`.

    Raises `UsageError` where there is no log that begins with a header of this version.
    """
    file = path / FILE_NAME if path.is_dir() else path
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read ({error.strerror or error}): give the directory of `albench train --out`"
        ) from None
    lines = [found for i, line in enumerate(data.split(b"\n"), 1) if (found := _parsed(line, f"{file}, line {i}"))]
    header = next((line for line in lines if isinstance(line, Header)), None)
    if header is None:
        raise UsageError(
            f"{file} is no log of a training run, or has lost its first line: give the directory of `albench train "
            "--out`; a run whose log is removed goes on from its checkpoint"
        )
    if header.version > VERSION:
        raise UsageError(f"{file} has version {header.version}, this albench reads up to {VERSION}: update it")
    epochs = {line.epoch: line for line in lines if isinstance(line, Epoch)}
    return TrainingLog(
        header=header,
        epochs=tuple(epochs[number] for number in sorted(epochs)),
        resumed=tuple(line for line in lines if isinstance(line, Resumed)),
    )


def _parsed(line: bytes, where: str) -> Line | None:
    if not line.strip():
        return None
    try:
        return cast("Line", msgspec.json.decode(line, type=Line))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        warnings.warn(f"{where} is left out: it is damaged, or torn by a crash", RecordWarning, stacklevel=3)
        return None


class LogWriter:
    """Writes a log, alone in its directory; use as a context manager."""

    def __init__(self, directory: Path, lines: Sequence[Line]) -> None:
        """Begin the log with these lines; what was there is replaced in one step.

        Raises `UsageError` where another process writes it, and `OSError` where it cannot be written.
        """
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / FILE_NAME
        # A lock of its own: the log's is gone with the file that it was on, once it is replaced.
        self._lock = (directory / f".{FILE_NAME}.lock").open("wb")
        try:
            refusal = f"another `albench train` writes {directory}: give another directory with --out"
            lock_alone(self._lock, directory, refusal=refusal)
            write_whole(file, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
            self._stream: BinaryIO = file.open("ab")
        except BaseException:
            self._lock.close()
            raise

    def append(self, line: Line) -> None:
        """Add one line, and return when it is on disk. Raises `OSError`; half a line is no line to who reads it."""
        self._stream.write(msgspec.json.encode(line) + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # what could not be written was told when it was, and would be tried again
            self._stream.close()
        self._lock.close()
