"""Keeping: what a training run leaves in its directory, and how it goes on from there.

    line in the log ─► checkpoint      at the end of an epoch, in this order, each on disk before the next thing happens

So the log is never behind the checkpoint. What it has beyond the checkpoint is cut off when the run is resumed: those
epochs are trained again, to the same bits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from albench.errors import UsageError
from albench.harness import checkpoint, environment, epoch_log
from albench.harness.checkpoint import Checkpoint
from albench.harness.epoch_log import Epoch, Header, Line, LogWriter, Resumed
from albench.harness.training_run import TrainingRun
from albench.machine import launched_processes
from albench.methods import KEPT, method_named
from albench.methods.trainer import Trainer


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run is kept."""

    directory: Path
    resume: bool = False
    """Whether to go on with what is there; where nothing is, the run begins."""
    every: int = 1
    """Epochs from one checkpoint to the next; the last epoch has one too."""
    command: str = ""
    """What was typed."""

    def __post_init__(self) -> None:
        """Refuse what keeps nothing."""
        if self.every < 1:
            raise UsageError(f"epochs between checkpoints is {self.every}: give a whole number of at least 1")
        if (launched_processes() or 1) > 1:
            raise UsageError(
                f"{launched_processes()} processes were launched: a run is kept where albench starts its processes "
                "itself, leave out --out or the launcher"
            )


class Keeper:
    """The log and the checkpoints of one run in its place."""

    def __init__(self, place: Place, run: TrainingRun) -> None:
        """Read what is there.

        Raises `UsageError` where that is another run, or this one and `resume` was not asked for.
        """
        self._place = place
        self._run = run
        method = run.scenario.method
        self._keeps = method in KEPT
        if place.resume and not self._keeps:
            raise UsageError(
                f"{method_named(method).title} keeps no state to resume from: leave out --resume, "
                f"or give method {' or '.join(KEPT)}"
            )
        found = [name for name in (epoch_log.FILE_NAME, checkpoint.FILE_NAME) if (place.directory / name).exists()]
        if found and not place.resume:
            raise UsageError(
                f"{place.directory} holds a run already ({found[0]}): give --resume to go on with it, or another "
                "directory with --out"
            )
        self.saved = checkpoint.read(place.directory)
        """What to go on from; None: the run begins."""
        self._before = epoch_log.read(place.directory) if epoch_log.FILE_NAME in found else None
        settings = self.saved.settings if self.saved else self._before.header.settings if self._before else None
        if settings is not None:
            checkpoint.refuse_another(settings, run.settings, directory=place.directory)
        if self.saved is not None and self.saved.minibatches != run.end_of(self.saved.epoch):
            raise UsageError(
                f"{place.directory / checkpoint.FILE_NAME} has done {self.saved.minibatches} mini-batches by epoch "
                f"{self.saved.epoch}, and this run {run.end_of(self.saved.epoch)}: remove it to begin anew"
            )
        if self.saved is not None and self.saved.epoch > run.recipe.epochs:
            raise UsageError(
                f"{place.directory} holds a run of {self.saved.epoch} epochs and epochs is {run.recipe.epochs}: "
                "give at least as many"
            )

    @property
    def notes(self) -> list[str]:
        """What a person should know before training begins."""
        if not self._keeps:
            title = method_named(self._run.scenario.method).title
            return [f"no checkpoints: no state is kept of {title}"]
        if self.saved is not None:
            return [f"going on after epoch {self.saved.epoch}, from {self._place.directory / checkpoint.FILE_NAME}"]
        return ["no checkpoint is there yet: the run begins"] if self._place.resume else []

    @property
    def last(self) -> Epoch | None:
        """The last epoch that is done, as the log has it."""
        return self._before.epochs[-1] if self._before is not None and self._before.epochs else None

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train."""
        return self.saved is not None and self.saved.epoch == self._run.recipe.epochs

    def restore(self, trainer: Trainer) -> None:
        """Let a trainer go on from the checkpoint, if there is one, and forget its state: that may be gigabytes.

        Raises `UsageError` where that is not the state of such a trainer.
        """
        if self.saved is not None:
            try:
                trainer.load_state_dict(self.saved.state)
            except UsageError as error:
                path = self._place.directory / checkpoint.FILE_NAME
                raise UsageError(f"{path} does not fit this run ({error}): remove it to begin anew") from None
            self.saved = self.saved._replace(state={})

    @contextlib.contextmanager
    def writing(self, trainer: Trainer) -> Iterator[None]:
        """Write the log while inside."""
        with self._telling_what_is_left():
            log = LogWriter(self._place.directory, self._lines(trainer))
        with log as self._log:
            yield

    def keep(self, epoch: Epoch, trainer: Trainer) -> None:
        """Put an epoch on disk, and with it, where it is time, the run.

        Raises `UsageError` where the disk does not take it.
        """
        due = self._keeps and (epoch.epoch % self._place.every == 0 or epoch.epoch == self._run.recipe.epochs)
        with self._telling_what_is_left():
            self._log.append(epoch)
            if due:
                checkpoint.write(
                    self._place.directory,
                    Checkpoint(
                        settings=self._run.settings,
                        epoch=epoch.epoch,
                        minibatches=epoch.minibatches,
                        seconds=epoch.seconds,
                        state=trainer.state_dict(),
                    ),
                )

    @contextlib.contextmanager
    def _telling_what_is_left(self) -> Iterator[None]:
        """Turn what a disk refuses into a `UsageError` that says how the run goes on."""
        try:
            yield
        except OSError as error:
            if not self._keeps:
                then = "its log is whole up to there, the run is not kept"
            elif self._place.resume:
                then = "with room again the same command goes on from the last checkpoint"
            else:
                then = "with room again the same command with --resume goes on from the last checkpoint"
            raise UsageError(f"{self._place.directory} cannot be written ({error.strerror or error}): {then}") from None

    def _lines(self, trainer: Trainer) -> list[Line]:
        """Return the log up to where the run goes on."""
        here = environment.describe()
        if self.saved is None or self._before is None:
            lines: list[Line] = [self._header(trainer, here)]
        else:
            done = self.saved.epoch
            before: list[Epoch | Resumed] = [*self._before.epochs, *self._before.resumed]
            # A line that says that the run was resumed after an epoch stands behind that epoch's own.
            before.sort(key=lambda line: (line.epoch, isinstance(line, Resumed)))
            lines = [self._before.header, *(line for line in before if line.epoch <= done)]
        if self.saved is not None:
            lines.append(
                Resumed(epoch=self.saved.epoch, environment=here, command=self._place.command, started_at=now())
            )
        return lines

    def _header(self, trainer: Trainer, here: dict[str, Any]) -> Header:
        run = self._run
        held_out = run.dataset.held_out_y
        return Header(
            settings=run.settings,
            scenario=run.scenario,
            environment=here,
            command=self._place.command,
            started_at=now(),
            training_instances=run.instances,
            held_out_instances=0 if held_out is None else len(held_out),
            lanes=trainer.lanes,
            lane_kind=trainer.lane_kind,
            components=trainer.components,
            effective_parameters=trainer.effective_parameters,
            affiliated_parameters=trainer.affiliated_parameters,
            notes=list(trainer.notes),
        )


def now() -> str:
    """Return the time, ISO 8601 with time zone."""
    return datetime.now(UTC).isoformat(timespec="seconds")
