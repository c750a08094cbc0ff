"""Pace: what one more mini-batch costs once a pipeline is full, and what filling and draining it costs beside that.

A run of N mini-batches from an empty to a drained pipeline takes

    T(N) = c + s·N        s: seconds a further mini-batch        c: seconds of fill and drain, and of starting

A schedule of equal ticks with C slots takes N + C - 1 of them, so there c = (C - 1)·s; back-propagation has nothing to
fill. Two lengths of run give the line and nothing to check it by; with three and more, how far the worst lies off it
says whether it is one. Each error counts as a share of its time: long runs do not drown the short ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from albench.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The line through the times of runs of several lengths."""

    step_seconds: float
    """s, seconds of each further mini-batch."""
    fill_seconds: float
    """c, seconds beside those of the mini-batches: below 0 where short runs were faster than the line."""
    lengths: int
    """How many lengths of run there are."""
    worst_error: float | None
    """The largest distance of a time from the line, as a share of that time; None where two lengths are the line."""

    @property
    def fill_minibatches(self) -> float:
        """c / s: how many mini-batches could have been trained while the pipeline filled and drained."""
        return self.fill_seconds / self.step_seconds


def pace(minibatches: Sequence[int], seconds: Sequence[float]) -> Pace | None:
    """Return the line through (N, T); None where there are fewer than two lengths, or where time does not grow with N.

    Raises `UsageError` for numbers that are no times of runs.
    """
    N, T = np.asarray(minibatches, dtype=float), np.asarray(seconds, dtype=float)
    if N.shape != T.shape or N.ndim != 1:
        raise UsageError(f"{N.size} numbers of mini-batches and {T.size} times: give one time for each")
    if not (np.isfinite(N).all() and np.isfinite(T).all() and (N > 0).all() and (T > 0).all()):
        raise UsageError("numbers of mini-batches and their times must be finite and above 0")
    lengths = len(set(N.tolist()))
    if lengths < 2:
        return None
    # Least squares of the relative errors: (c + s·N - T) / T.
    (fill, step), *_ = np.linalg.lstsq(np.stack([1 / T, N / T], 1), np.ones_like(T))
    if step <= 0:
        return None
    worst = float(np.abs((fill + step * N) / T - 1).max()) if lengths > 2 else None
    return Pace(step_seconds=float(step), fill_seconds=float(fill), lengths=lengths, worst_error=worst)
