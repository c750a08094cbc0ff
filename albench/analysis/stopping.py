"""Stopping: rules that say when enough was measured, and why.

A rule is an object that is fed numbers, one measured time after the other, and knows nothing of clocks, cases and
files. So it can be tested on made-up sequences, and those who measure need no policy of their own:

    rule = FirstOf(rules=(MedianKnown(relative_half_width=0.02), TotalTime(seconds=60)))
    while not rule.stop:
        rule.add(measure())
    print(rule.stop.reason)

Every rule ends, whatever it is fed. Times may be NaN or infinite, alternate between two values for ever or drift away,
and then no interval gets narrow and no sum gets large; each rule therefore gives up after `most` numbers, and says that
it did. A constant ends a rule early: it is as well known as six equal samples can make it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Protocol

from albench.analysis.statistics import CONFIDENCE, median_interval, relative_half_width
from albench.errors import UsageError

MOST = 10_000
"""Numbers after which any rule gives up: more would take longer than a person waits, at a millisecond each or at a
second each."""
LONGEST_SECONDS = 1e18
"""A time that is longer than the universe is old (4e17 s) is none; statistics of such numbers overflow."""


@dataclass(frozen=True, kw_only=True)
class Stop:
    """That a rule has ended."""

    met: bool
    """Whether it has what it waited for; False where it gave up."""
    reason: str
    """Why it ended, in words."""


class Rule(Protocol):
    """When to stop."""

    def add(self, seconds: float) -> None:
        """Take one measured time; any number, finite or not."""

    @property
    def stop(self) -> Stop | None:
        """Why to stop; None while measuring should go on. Once told it stands: later numbers are not listened to."""


@dataclass(kw_only=True)
class _Counted(ABC):
    """What single rules share: they count what they are fed, keep what can be a time, and give up in the end."""

    most: int = MOST
    """Numbers after which the rule gives up."""
    _samples: list[float] = field(default_factory=list, init=False, repr=False)
    _total: float = field(default=0.0, init=False, repr=False)
    _fed: int = field(default=0, init=False, repr=False)
    _stop: Stop | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse a rule that would measure nothing."""
        _at_least_one("most", self.most)

    def add(self, seconds: float) -> None:
        """Take one measured time; what cannot be one counts, and is kept out of every statistic."""
        if self._stop is not None:
            return
        self._fed += 1
        if abs(seconds) <= LONGEST_SECONDS:  # false for NaN
            self._samples.append(seconds)
        if seconds > 0:  # neither NaN nor a clock that went back takes time away; an infinite time is all of it
            self._total += seconds

    @property
    def stop(self) -> Stop | None:
        """Why to stop; None while measuring should go on. It is worked out when it is asked for, from all numbers."""
        if self._stop is None and self._fed:
            reason = self._reason()
            if reason:
                self._stop = Stop(met=True, reason=reason + self._left_out())
            elif self._fed >= self.most:
                self._stop = Stop(met=False, reason=f"gave up after {self._fed} samples: {self._missing()}")
        return self._stop

    @abstractmethod
    def _reason(self) -> str:
        """Return why the rule is met by what it was fed; empty where it is not."""

    @abstractmethod
    def _missing(self) -> str:
        """Return what is still not so when the rule gives up."""

    def _left_out(self) -> str:
        left_out = self._fed - len(self._samples)
        return f" ({left_out} that are no times left out)" if left_out else ""


@dataclass(kw_only=True)
class MedianKnown(_Counted):
    """Stops when half the interval of the median is within a share of the median."""

    relative_half_width: float
    """Such as 0.02: within 2 % of the median, to either side."""
    confidence: float = CONFIDENCE
    """That the interval must have: at 95 % at least six samples."""

    def __post_init__(self) -> None:
        """Refuse a width that nothing meets."""
        super().__post_init__()
        _above_zero("relative half width", self.relative_half_width)
        if not 0 < self.confidence < 1:
            raise UsageError(f"confidence is {self.confidence}: give a number between 0 and 1, such as {CONFIDENCE}")

    def _width(self) -> float:
        if not self._samples:
            return math.inf
        return relative_half_width(median_interval(self._samples, self.confidence), self.confidence)

    def _reason(self) -> str:
        width = self._width()
        if width > self.relative_half_width:
            return ""
        return f"the median is known within {width:.2g} of itself from {len(self._samples)} samples"

    def _missing(self) -> str:
        if not self._samples:
            return "none of them is a time"
        width = self._width()
        known = f"known within {width:.2g} of itself" if math.isfinite(width) else "not known"
        return f"the median is {known}, {self.relative_half_width:g} was asked for"


@dataclass(kw_only=True)
class TotalTime(_Counted):
    """Stops when the times add up to enough."""

    seconds: float
    """The sum to reach."""

    def __post_init__(self) -> None:
        """Refuse a time that is over before it starts."""
        super().__post_init__()
        _above_zero("seconds", self.seconds)

    def _reason(self) -> str:
        if self._total < self.seconds:
            return ""
        return f"{self._total:.3g} s were measured, {self.seconds:g} s are enough"

    def _missing(self) -> str:
        return f"they add up to {self._total:.3g} s, {self.seconds:g} s were asked for"


@dataclass(kw_only=True)
class SampleCount(_Counted):
    """Stops after so many times."""

    samples: int
    """How many."""

    def __post_init__(self) -> None:
        """Refuse no samples, and more than the rule would wait for."""
        super().__post_init__()
        _at_least_one("samples", self.samples)
        if self.samples > self.most:
            raise UsageError(f"samples is {self.samples}: give at most {self.most}, after which the rule gives up")

    def _reason(self) -> str:
        return f"all {self.samples} samples are taken" if len(self._samples) >= self.samples else ""

    def _missing(self) -> str:
        return f"{len(self._samples)} of {self.samples} are times"


@dataclass(kw_only=True)
class _Joined:
    """What rules made of rules share: each of these is fed every number."""

    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        """Refuse no rule at all: the first of none would never come, and all of none would be there at once."""
        if not self.rules:
            raise UsageError("there is no rule to stop by: give at least one")

    def add(self, seconds: float) -> None:
        """Feed all rules."""
        for rule in self.rules:
            rule.add(seconds)

    def _stops(self) -> list[Stop]:
        return [rule.stop for rule in self.rules if rule.stop is not None]


@dataclass(kw_only=True)
class FirstOf(_Joined):
    """Stops as soon as one of its rules does: a goal, and what may be spent on it."""

    @property
    def stop(self) -> Stop | None:
        """The stop of the rule that ended; of several the first that is met."""
        stops = self._stops()
        return next((stop for stop in stops if stop.met), stops[0]) if stops else None


@dataclass(kw_only=True)
class AllOf(_Joined):
    """Stops when all of its rules have: several goals at once, such as a narrow interval and at least a second."""

    @property
    def stop(self) -> Stop | None:
        """One stop for all of them: met where each was."""
        stops = self._stops()
        if len(stops) < len(self.rules):
            return None
        return Stop(met=all(stop.met for stop in stops), reason="; ".join(stop.reason for stop in stops))


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise UsageError(f"{name} is {value}: give a whole number of at least 1")


def _above_zero(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise UsageError(f"{name} is {value}: give a number above 0")
