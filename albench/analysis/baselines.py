"""Baselines: who trains most in a second on the same work, by how much, and how near each pipeline comes to its ideal.

A ratio of two speeds is told with an interval that pairs each side's best end with the other's worst. That is wider
than either deserves, and it needs no assumption on how the two vary together. Only a ratio whose whole interval lies on
one side of 1 is called a difference; a time without an interval (measured once) decides nothing.

A pipeline of back-propagation loses time by design, the *bubble*: lanes wait for the first microbatch to arrive and for
the last to leave, in every mini-batch anew. With K lanes, M microbatches and v chunks a lane, equal stages and a
hand-over that costs nothing, the speed-up over one lane is at most

    GPipe, 1F1B          K·M / (M + K - 1)
    Interleaved 1F1B     K·v·M / (v·M + K - 1)       the bubble is v times shorter, the messages v times more
    Zero bubble          K                           forward, input and weight gradients take equally long, M ≥ 2K - 1

The *efficiency* is the measured speed-up over BP on one lane as a share of that. What is missing to 100 % is what the
schedule does not explain: stages of unequal cost, small matrix products, messages, waiting at the end of a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from albench.analysis.statistics import Interval

Side = Literal["al", "bp", "pipeline", "data-parallel"]
"""Whose idea a contender is: local objectives, one process, stages, or shares of each mini-batch."""

Outcome = Literal["faster", "slower", "unclear"]


@dataclass(frozen=True, kw_only=True)
class Ideal:
    """The law of a schedule's best speed-up, and what it takes for granted."""

    formula: str
    assumption: str


EQUAL_STAGES = "stages of equal cost, a hand-over that costs nothing, an optimizer that no lane waits for"
IDEALS = {
    "gpipe": Ideal(formula="K·M / (M + K - 1)", assumption=EQUAL_STAGES),
    "1f1b": Ideal(formula="K·M / (M + K - 1)", assumption=EQUAL_STAGES),
    "interleaved-1f1b": Ideal(
        formula="K·v·M / (v·M + K - 1) with v chunks a lane",
        assumption=f"{EQUAL_STAGES}, M a multiple of K",
    ),
    "zero-bubble": Ideal(
        formula="K, for M ≥ 2K - 1",
        assumption=f"{EQUAL_STAGES}; forward pass, input gradients and weight gradients take equally long",
    ),
}
"""By method."""


def ideal_speedup(method: str, *, lanes: int, microbatches: int, chunks: int = 1) -> float | None:
    """Return the most that `method` could gain over one lane, times as fast; None where no law says."""
    if method in ("gpipe", "1f1b"):
        return lanes * microbatches / (microbatches + lanes - 1)
    if method == "interleaved-1f1b":
        return lanes * chunks * microbatches / (chunks * microbatches + lanes - 1)
    if method == "zero-bubble" and microbatches >= 2 * lanes - 1:
        return float(lanes)
    return None


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One contender: what it is and how long it takes for a mini-batch."""

    name: str
    method: str
    engine: str
    side: Side
    lanes: int
    """K, places that work at once."""
    microbatches: int | None
    """M; None where a mini-batch is not cut."""
    chunks: int
    """Stages a lane holds."""
    instances: int
    """Training instances in a mini-batch."""
    minibatch_seconds: Interval
    """Median over the rounds; its ends are NaN where there was one round."""
    rounds: int
    effective_parameters: int | None = None
    affiliated_parameters: int | None = None
    flops_per_minibatch: int | None = None

    @property
    def samples_per_second(self) -> float:
        """Training instances a second."""
        return self.instances / self.minibatch_seconds.estimate

    @property
    def ideal(self) -> float | None:
        """The most that its schedule could gain over one lane; None where no law says."""
        if self.microbatches is None:
            return None
        return ideal_speedup(self.method, lanes=self.lanes, microbatches=self.microbatches, chunks=self.chunks)


def speed(own: Standing, rival: Standing) -> Interval:
    """Return how many times as many samples a second `own` trains as `rival`; NaN ends where either ran once."""
    mine, theirs = own.minibatch_seconds, rival.minibatch_seconds
    return Interval(
        estimate=theirs.estimate / mine.estimate,
        low=theirs.low / mine.high,
        high=theirs.high / mine.low,
        confidence=min(mine.confidence, theirs.confidence),
    )


def outcome(ratio: Interval) -> Outcome:
    """Return what a ratio of speeds decides: nothing where its interval holds 1, or where there is none."""
    if ratio.low > 1:
        return "faster"
    return "slower" if ratio.high < 1 else "unclear"


def efficiency(own: Standing, one_lane: Standing) -> Interval | None:
    """Return the speed-up over BP on one lane as a share of the ideal of the schedule; None where no law says."""
    ideal = own.ideal
    if ideal is None:
        return None
    ratio = speed(own, one_lane)
    return Interval(ratio.estimate / ideal, ratio.low / ideal, ratio.high / ideal, ratio.confidence)


def best(standings: Iterable[Standing], side: Side) -> Standing | None:
    """Return the contender of a side that trains most in a second; None where the side has none."""
    return max((one for one in standings if one.side == side), key=lambda one: one.samples_per_second, default=None)


def one_lane(standings: Iterable[Standing]) -> Standing | None:
    """Return BP's fastest way on one lane, the measure of speed-ups; None where it was not measured."""
    return best((one for one in standings if one.lanes == 1), "bp")


def ranked(standings: Iterable[Standing]) -> tuple[Standing, ...]:
    """Return the contenders, most samples a second first; equals by name, so that the order is always the same."""
    return tuple(sorted(standings, key=lambda one: (-one.samples_per_second, one.name)))


def lowest_confidence(standings: Iterable[Standing]) -> float:
    """Return the least that any interval of these times is worth, in [0, 1]; NaN where there is no time."""
    return min((one.minibatch_seconds.confidence for one in standings), default=math.nan)
