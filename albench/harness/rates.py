"""Rates: a learning rate that goes down in steps while training lasts, as a function of the mini-batch index k.

    rate
    1e-4 ┌────────────────┐
    1e-5 │                └───────┐
    1e-6 │                        └───────┐
    1e-7 │                                └───┐
    5e-8 │                                    └──
         0               0.4     0.6     0.8 0.9 1    share of all mini-batches

Steps stand at shares of all mini-batches, as in the authors' code, so a shorter run has the same steps. It follows
that a longer run is another run from the first step on, not this one continued.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from albench.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class RateStep:
    """One step of a rate."""

    at: float
    """The share of all mini-batches after which it comes, in (0, 1)."""
    factor: float
    """What the rate is multiplied by, above 0."""

    def __post_init__(self) -> None:
        """Refuse what is no step."""
        if not 0 < self.at < 1:
            raise UsageError(f"a step of the rate is at {self.at}: give a share of all mini-batches between 0 and 1")
        if not (math.isfinite(self.factor) and self.factor > 0):
            raise UsageError(f"a step of the rate has factor {self.factor}: give a number above 0")


def check_steps(steps: Sequence[RateStep]) -> None:
    """Refuse steps out of order, as a `UsageError`."""
    for before, after in itertools.pairwise(steps):
        if after.at <= before.at:
            raise UsageError(f"a step of the rate is at {after.at} and follows one at {before.at}: give them in order")


@dataclass(frozen=True, kw_only=True)
class SteppedRate:
    """The base rate of each mini-batch of a run of N."""

    base: float
    """Before the first step."""
    steps: tuple[RateStep, ...]
    """In order."""
    minibatches: int
    """N."""

    @cached_property
    def _from(self) -> list[tuple[int, float]]:
        """The mini-batches from which a rate holds, and the rate, the last first."""
        found = [(0, self.base)]
        for step in self.steps:
            found.append((round(step.at * self.minibatches), found[-1][1] * step.factor))
        return found[::-1]

    def __call__(self, minibatch: int) -> float:
        """Return the base rate of mini-batch k, counted from 0."""
        return next(rate for first, rate in self._from if minibatch >= first)
