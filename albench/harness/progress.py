"""Progress: how a sweep tells a person how far it is and how long it still takes.

On a terminal a bar with the time left; elsewhere, and with ``--no-progress``, one plain line a case. Cases differ a
hundredfold in length, so progress is counted in estimated seconds, and the time left is scaled by how the estimates
fared so far.
"""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from albench.harness.records import Record
from albench.harness.scenario import Scenario


class SweepProgress:
    """Shows a sweep; use as a context manager."""

    def __init__(self, console: Console, *, plain: bool, limit_seconds: float | None = None) -> None:
        self._console = console
        self._plain = plain or not console.is_terminal
        self._limit_seconds = limit_seconds
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._started = time.monotonic()
        self._estimated = self._done = 0.0
        self._cases = self._number = 0

    def planned(self, estimated_seconds: float, cases: int) -> None:
        """So much work lies ahead."""
        self._estimated, self._cases = estimated_seconds, cases
        self._started = time.monotonic()
        if not self._plain:
            self._bar = Progress(
                TextColumn("{task.percentage:>3.0f} %"),
                BarColumn(),
                TextColumn("{task.fields[left]}"),
                TextColumn("{task.description}", markup=False),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task("starting", total=max(estimated_seconds, 1e-9), left="")
            self._bar.start()

    def added(self, estimated_seconds: float, cases: int) -> None:
        """So much more work has come up."""
        self._estimated += estimated_seconds
        self._cases += cases
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=max(self._estimated, 1e-9))

    def started(self, scenario: Scenario, number: int) -> None:
        """A case starts."""
        self._number += 1
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=f"{scenario.describe()} (round {number + 1})")

    def finished(self, record: Record, estimated_seconds: float) -> None:
        """A case has its record."""
        self._done += estimated_seconds
        left = f"{duration(self._seconds_left())} left"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=estimated_seconds, left=left)
        result = f"{record.seconds:.4g} s" if record.seconds is not None else f"{record.status}: {record.reason}"
        line = f"[{self._number}/{self._cases}] {record.scenario.describe()}: {result}"
        if self._plain:
            self._console.print(f"{line}  ({left})", markup=False, highlight=False, soft_wrap=True)
        elif record.status != "measured":
            self._console.print(line, markup=False, highlight=False)

    def _seconds_left(self) -> float:
        """Return the estimate of what is left, scaled by how estimates fared, at most what the limit leaves."""
        elapsed = time.monotonic() - self._started
        left = elapsed / max(self._done, 1e-9) * max(self._estimated - self._done, 0.0)
        return left if self._limit_seconds is None else min(left, max(self._limit_seconds - elapsed, 0.0))

    def __enter__(self) -> SweepProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def duration(seconds: float) -> str:
    """Return a number of seconds as a person says it."""
    whole = max(0, round(seconds))
    for large, small, length, part in (("d", "h", 86_400, 3600), ("h", "min", 3600, 60), ("min", "s", 60, 1)):
        if whole >= length:
            return f"{whole // length} {large} {whole % length // part:02d} {small}"
    return f"{whole} s"
