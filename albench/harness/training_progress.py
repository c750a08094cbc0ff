"""Training progress: how a run tells a person how far it is and how long it will take.

On a terminal a bar with the time left. Elsewhere too, once three seconds of training have shown the pace, one line says
how long all of it takes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress

from albench.harness.progress import duration

Item = TypeVar("Item")

TELL_AFTER_SECONDS = 3.0
"""Of training; the first steps are slower than those that follow."""


class TrainingProgress:
    """Shows a training run; use as a context manager."""

    def __init__(self, console: Console, *, plain: bool, description: str, epochs: int, total: int, done: int) -> None:
        """`total` mini-batches in so many epochs, `done` of them in an earlier process."""
        self._console = console
        self._what = f"what is left of {epochs} epochs" if done else f"{epochs} epochs"
        self._left = total - done
        self._bar = Progress(console=console, transient=True, disable=plain or not console.is_terminal)
        self._task = self._bar.add_task(description, total=total, completed=done)
        self._trained = 0
        self._seconds = 0.0
        self._told = False

    def counted(self, batches: Iterable[Item]) -> Iterator[Item]:
        """Yield mini-batches, each counted when the next one is asked for."""
        start = time.perf_counter()
        before = self._seconds
        for batch in batches:
            yield batch
            self._trained += 1
            self._bar.advance(self._task)
            self._seconds = before + time.perf_counter() - start
            if not self._told and self._seconds >= TELL_AFTER_SECONDS:
                self._tell()

    def _tell(self) -> None:
        self._told = True
        seconds = self._seconds / self._trained * self._left
        self._console.print(f"{self._what}: about {duration(seconds)} of training", markup=False)

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
