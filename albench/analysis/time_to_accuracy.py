"""Time to accuracy: how long training takes until held-out instances are predicted well enough.

A method that is fast an epoch and learns little in it is not fast. So a run is seen as what it had reached by when, at
the ends of its epochs, and the question is when it first was where it should be:

    held-out accuracy
    target ┼────────────────●━━━━━━━━━━      the answer is the end of the third epoch, whatever comes after it
           │          ●
           │    ●
           └──────────────────────────── seconds of training

Between two epochs nothing was looked at, so the true moment lies up to an epoch before.

A pipeline is drained where it is looked at: the clock has the fill and the drain of every epoch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from albench.errors import UsageError


class CurvePoint(NamedTuple):
    """What a run had reached at the end of an epoch: a point of its learning curve."""

    instances: int
    """Trained on since the run began."""
    seconds: float
    """Of training since the run began."""
    accuracy: float | None
    """Share of held-out instances predicted, in [0, 1]; None: not known."""


@dataclass(frozen=True, kw_only=True)
class TimeToAccuracy:
    """When some runs of one kind, which differ in their seeds, reached an accuracy."""

    accuracy: float
    """In [0, 1]."""
    seconds: tuple[float | None, ...]
    """Of each run; None: it never did."""

    @property
    def runs_that_reached_it(self) -> int:
        """How many did."""
        return sum(one is not None for one in self.seconds)

    @property
    def median_seconds(self) -> float | None:
        """The median over all runs, those that never reached it being later than any; None: the median never did."""
        if not self.seconds:
            return None
        found = median(math.inf if one is None else one for one in self.seconds)
        return found if math.isfinite(found) else None


def first_reached(run: Sequence[CurvePoint], accuracy: float) -> float | None:
    """Return the seconds of training after which a run first had at least this accuracy; None: it never had."""
    return next((one.seconds for one in run if one.accuracy is not None and one.accuracy >= accuracy), None)


def time_to_accuracy(runs: Iterable[Sequence[CurvePoint]], accuracy: float) -> TimeToAccuracy:
    """Return when each run first had at least this accuracy, in [0, 1].

    Raises `UsageError` for an accuracy that none can have.
    """
    if not 0 < accuracy <= 1:
        raise UsageError(f"accuracy is {accuracy}: give a share of instances above 0 and of at most 1")
    return TimeToAccuracy(accuracy=accuracy, seconds=tuple(first_reached(run, accuracy) for run in runs))
