"""Break-even: from which depth, length of run, batch size or number of lanes on one side is faster than the other.

A verdict says how time grows; who trains a network asks where the growth begins to pay. Along ℓ and n the answer comes
from the fitted laws of both sides, where the curves cross:

    T_own(n, ℓ) < T_rival(n, ℓ)        the rival being the fastest of several at each ℓ and n

Its interval comes from pairs of resamples, one of each side, each with a crossing of its own. Along batch sizes and
lanes no law is fitted: there the answer is a measured value.

Only what was measured is decided. A crossing beyond the measured range is told as extrapolated, up to `REACH` times the
range's end, and decides nothing: a law that holds up to ℓ = 64 need not hold at 200. Nor need it hold within: where a
measured point denies what the fits say, the points are right (`contradicted`). Whoever is fastest of several is
chosen after the fact, so where rivals are close their fastest is a little faster than any of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from albench.analysis import laws
from albench.analysis.laws import Array, Law, Sweep
from albench.analysis.statistics import CONFIDENCE, UNKNOWN, Interval
from albench.errors import UsageError

Kind = Literal["always", "from", "until", "behind at the end", "never", "not decided"]
"""always      faster at all that was measured
from        faster from some value on, up to the largest that was measured
until       faster up to some value only
behind at the end    slower at the largest value that was measured; whether faster at a smaller one is not known
never       slower at all that was measured
not decided the intervals do not say which is faster at the largest value that was measured"""

REACH = 4.0
"""How far past the largest measured value a crossing is looked for. Farther off the interval of any measured slope has
opened so wide that the number is decoration."""
STEPS, STEPS_BEYOND = 256, 64
"""Places at which the curves are compared, within the measured range and beyond it; between two of them a straight line
is drawn, as the laws are straight lines but for where one rival takes over from another."""


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """From which value on one side is faster."""

    kind: Kind
    value: Interval
    """The smallest value from which on it is faster (for "until": the largest up to which it is); infinite where there
    is none within reach, NaN where nothing can be said."""
    low: float
    """The smallest value that was measured of both sides."""
    high: float
    """The largest one."""

    @property
    def extrapolated(self) -> bool:
        """Whether the value lies beyond what was measured."""
        return math.isfinite(self.value.estimate) and self.value.estimate > self.high


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """One contender: its law, and its coefficients as found and in each resample."""

    law: Law
    coefficients: Array
    """[1 + resamples, terms]; the first row is the fit itself."""
    sweep: Sweep

    @classmethod
    def of(cls, sweep: Sweep, law: Law, *, seed: int) -> Fitted:
        """Fit a law to a sweep. Contenders that are compared need seeds of their own."""
        resampled = laws.bootstrap(law, sweep, seed=seed)
        if not np.isfinite(resampled).all():
            raise UsageError(f"{len(sweep.seconds)} cells are too few to fit {law.name}: measure more depths or n")
        return cls(law=law, coefficients=np.vstack([laws.fit(law, sweep), resampled]), sweep=sweep)

    def seconds(self, n: Array, hidden_layers: Array) -> Array:
        """Return the seconds of the law [1 + resamples, places] at each (n, ℓ)."""
        most = float(self.sweep.lanes.max())
        lanes = np.clip(hidden_layers / 2, 1.0, most)  # as it runs: no more lanes than components
        predicted: Array = self.coefficients @ self.law.columns(n, hidden_layers, lanes).T
        return predicted


def along_depth(own: Fitted, rivals: Sequence[Fitted], *, n: float) -> BreakEven:
    """Return the smallest ℓ from which on `own` is faster than the fastest of its rivals, at `n` instances."""
    return _crossing(own, rivals, "hidden_layers", held=n)


def along_instances(own: Fitted, rivals: Sequence[Fitted], *, hidden_layers: float) -> BreakEven:
    """Return the smallest n from which on `own` is faster than the fastest of its rivals, at depth ℓ."""
    return _crossing(own, rivals, "n", held=hidden_layers)


def _crossing(own: Fitted, rivals: Sequence[Fitted], axis: Literal["n", "hidden_layers"], *, held: float) -> BreakEven:
    if not rivals:
        raise UsageError("there is no rival to compare with: give at least one")
    spans = [_span(one, axis) for one in rivals]
    low, high = _span(own, axis)
    high = min(high, max(end for _, end in spans))
    low = max(low, min(start for start, end in spans if end >= high))
    if not low < high:
        return BreakEven(kind="not decided", value=UNKNOWN, low=low, high=high)
    # Who was not measured over all of that range is no rival here: its law would be stretched, unseen.
    whole = [one for one, (start, end) in zip(rivals, spans, strict=True) if start <= low and end >= high]
    if not whole:
        return BreakEven(kind="not decided", value=UNKNOWN, low=low, high=high)
    places = np.concatenate([np.geomspace(low, high, STEPS), np.geomspace(high, REACH * high, STEPS_BEYOND + 1)[1:]])
    places[STEPS - 1] = high  # rounding would put it past the end
    other = np.full(len(places), float(held))

    def seconds(one: Fitted) -> Array:
        return one.seconds(other, places) if axis == "hidden_layers" else one.seconds(places, other)

    return decide(places, seconds(own) - np.min([seconds(one) for one in whole], axis=0), high=high)


def _span(one: Fitted, axis: Literal["n", "hidden_layers"]) -> tuple[float, float]:
    values: Array = getattr(one.sweep, axis)
    return float(values.min()), float(values.max())


def decide(places: Array, lead: Array, *, high: float) -> BreakEven:
    """Return the break-even of curves that were compared at ascending `places`, of which `high` is the last measured.

    `lead` [1 + resamples, places]: own seconds minus the rival's, below 0 where own is faster; the first row is the
    estimate.
    """
    last = int(np.searchsorted(places, high))
    ahead = lead < 0
    sure = (1 + CONFIDENCE) / 2

    def certain(found: NDArray[np.bool_]) -> bool:
        return float(np.mean(found)) >= sure

    within = ahead[:, : last + 1]
    at_start, at_end = within[:, 0], within[:, last]
    low = float(places[0])
    if certain(at_end):
        kind: Kind = "always" if certain(np.asarray(within.all(axis=1))) else "from"
        value = _starts(places, lead, last)
    elif certain(~at_end):
        kind = "behind at the end"
        value = _starts(places, lead, last)
        if certain(np.logical_not(within.any(axis=1))):
            kind = "never"
        elif certain(at_start):
            # Seen from the other side: where does the rival begin to be faster for good?
            kind, value = "until", _starts(places[: last + 1], -lead[:, : last + 1], last)
    else:
        kind, value = "not decided", _starts(places, lead, last)
    return BreakEven(kind=kind, value=_spread(value), low=low, high=high)


def _starts(places: Array, lead: Array, last: int) -> Array:
    """Return for each row the smallest place from which on it is below 0; infinite where it is nowhere at the end.

    Who is ahead at the last measured place is asked where that began; who is not, whether it begins farther out.
    """
    rows, ends = np.arange(len(lead)), np.where(lead[:, last] < 0, last, len(places) - 1)
    behind = (lead >= 0) & (np.arange(len(places)) <= ends[:, None])
    i = len(places) - 1 - behind[:, ::-1].argmax(axis=1)  # the last place at which it is not ahead
    i = np.minimum(i, ends - 1)
    before, after = lead[rows, i], lead[rows, i + 1]
    with np.errstate(divide="ignore", invalid="ignore"):  # in rows that are chosen otherwise below
        crossing = places[i] + (places[i + 1] - places[i]) * before / (before - after)
    starts: Array = np.where(behind.any(axis=1), crossing, places[0])
    starts[lead[rows, ends] >= 0] = math.inf
    return starts


def _spread(values: Array) -> Interval:
    """Return the first of the values with the percentile interval of the others, some of which may be infinite."""
    tail = 100 * (1 - CONFIDENCE) / 2
    low = float(np.percentile(values[1:], tail, method="lower"))
    high = float(np.percentile(values[1:], 100 - tail, method="higher"))
    estimate = float(values[0])
    return Interval(estimate, min(low, estimate), max(high, estimate))


def contradicted(found: BreakEven, values: Sequence[float], ratios: Sequence[Interval]) -> bool:
    """Whether a measured value denies what the fits say: certainly slower where they have it faster, or the reverse.

    The intervals of a fit know how far the times scatter around its law, and not that the law may be the wrong one.
    `ratios` are as in `along_measured`; one whose interval holds 1 denies nothing.
    """

    def claim(value: float) -> Literal["faster", "slower", ""]:
        if found.kind in ("always", "never"):
            return "faster" if found.kind == "always" else "slower"
        if found.kind in ("from", "until") and not found.value.low <= value <= found.value.high:
            return "faster" if (value > found.value.high) == (found.kind == "from") else "slower"
        return "slower" if found.kind == "behind at the end" and value >= found.high else ""

    def denies(value: float, ratio: Interval) -> bool:
        said = claim(value)
        return (said == "faster" and ratio.high < 1) or (said == "slower" and ratio.low > 1)

    return any(
        found.low <= value <= found.high and denies(value, ratio) for value, ratio in zip(values, ratios, strict=True)
    )


def along_measured(values: Sequence[float], ratios: Sequence[Interval]) -> BreakEven:
    """Return the smallest measured value from which on all ratios are above 1 with their whole interval.

    `values` are ascending, such as batch sizes; `ratios` the rival's time over the own one at each, NaN ends where it
    was measured once, which decides nothing. The interval of the answer is the gap between two measured values: the
    break-even lies above the last value at which it was not certain. A single value is no axis.
    """
    if len(values) != len(ratios) or list(values) != sorted(set(values)):
        raise UsageError(f"{len(values)} values and {len(ratios)} ratios: give ascending values, and a ratio for each")
    if len(values) < 2:
        only = float(values[0]) if values else math.nan
        return BreakEven(kind="not decided", value=UNKNOWN, low=only, high=only)
    low, high = float(values[0]), float(values[-1])
    confidence = min(ratio.confidence for ratio in ratios)
    faster, slower = [ratio.low > 1 for ratio in ratios], [ratio.high < 1 for ratio in ratios]
    if faster[-1]:
        first = next((i + 1 for i in reversed(range(len(values))) if not faster[i]), 0)
        value = Interval(float(values[first]), float(values[max(first - 1, 0)]), float(values[first]), confidence)
        return BreakEven(kind="from" if first else "always", value=value, low=low, high=high)
    none = Interval(math.inf, math.inf, math.inf, confidence)
    if not slower[-1]:
        return BreakEven(kind="not decided", value=UNKNOWN, low=low, high=high)
    if all(slower):
        return BreakEven(kind="never", value=none, low=low, high=high)
    if faster[0]:
        lost = next(i for i in range(len(values)) if not faster[i])
        value = Interval(float(values[lost - 1]), float(values[lost - 1]), float(values[lost]), confidence)
        return BreakEven(kind="until", value=value, low=low, high=high)
    return BreakEven(kind="behind at the end", value=none, low=low, high=high)
