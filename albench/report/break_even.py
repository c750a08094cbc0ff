"""Break-even: from which ℓ, n, B and K on AL is faster than the fastest BP, by the fits and by the measured points.

The two are told beside each other. The fits say where between two measured values the curves cross, and are no better
than the laws; the points assume no law, and say no more than that they were measured.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from albench.analysis import laws
from albench.analysis.break_even import BreakEven, Fitted, along_depth, along_instances, along_measured, contradicted
from albench.analysis.laws import LANE_LAW, PRODUCT_LAW
from albench.analysis.statistics import Interval
from albench.report.regimes import Point, Regime, Series, Work
from albench.report.tables import NO_CELL, Cell, Row, Table
from albench.report.words import ends, number

COLUMNS = ("AL", "along", "where", "by the fits", "by the measured points")
TONES = {"always": "good", "from": "part", "until": "part", "behind at the end": "bad", "never": "bad"}


@dataclass(frozen=True, kw_only=True)
class Along:
    """The break-even of AL with the fastest BP along one axis."""

    name: str
    """Which AL."""
    axis: str
    """ℓ, N, K or B."""
    where: str
    """What is held, such as "N = 128"."""
    fitted: BreakEven | None
    """By the fits; None where there are none, as along K and B."""
    ratios: dict[int, Interval]
    """By value of the axis, the fastest BP's time over AL's, where both were measured on the same mini-batches."""

    @property
    def measured(self) -> BreakEven | None:
        """By the measured points; None where the two were never measured on the same work."""
        return along_measured(list(self.ratios), list(self.ratios.values())) if self.ratios else None

    @property
    def contradicted(self) -> bool:
        """Whether the points deny what the fits say."""
        return self.fitted is not None and contradicted(self.fitted, list(self.ratios), list(self.ratios.values()))


def break_evens(regime: Regime, regimes: Sequence[Regime] = ()) -> list[Along]:
    """Return every break-even that can be asked of a regime: of each AL along ℓ and N, and along K and B.

    `regimes`: all of a report, for what differs from this one in nothing but the batch size.
    """
    al, bp = regime.of_method("al"), regime.of_method("bp")
    if not al or not bp:
        return []
    found = []
    for series in al:
        if len(series.depths) > 1:
            found.append(_along_depth(series, regime))
        if len(_lengths(series)) > 1:
            found.append(_along_lengths(series, regime))
    found += [*_along_lanes(regime), *_along_batches(regime, regimes)]
    return [one for one in found if one.fitted or one.ratios]


def _along_depth(series: Series, regime: Regime) -> Along:
    bp, minibatches = regime.of_method("bp"), _length(series, regime)
    places = {depth: (depth, minibatches) for depth in series.depths}
    fit, rivals = _contenders(series, bp, places.values())
    n = minibatches * regime.work.batch_size
    return Along(
        name=series.name,
        axis="ℓ",
        where=f"N = {minibatches}",
        fitted=along_depth(fit, rivals, n=n) if fit and rivals else None,
        ratios=_known({depth: _ratio([series], bp, *place) for depth, place in places.items()}),
    )


def _along_lengths(series: Series, regime: Regime) -> Along:
    bp, deepest = regime.of_method("bp"), series.depths[-1]
    places = {length: (deepest, length) for length in _lengths(series)}
    fit, rivals = _contenders(series, bp, places.values())
    fitted = along_instances(fit, rivals, hidden_layers=deepest) if fit and rivals else None
    return Along(
        name=series.name,
        axis="N",
        where=f"ℓ = {deepest}",
        fitted=_divided(fitted, regime.work.batch_size) if fitted else None,
        ratios=_known({length: _ratio([series], bp, *place) for length, place in places.items()}),
    )


def break_even_table(regime: Regime, regimes: Sequence[Regime] = ()) -> Table | None:
    """Return from where on AL is faster than the fastest BP; None where the two were not measured along any axis."""
    found = break_evens(regime, regimes)
    if not found:
        return None
    return Table(
        caption=f"From where on AL is faster than the fastest BP, {regime.title}",
        columns=COLUMNS,
        rows=tuple(map(_row, found)),
        note="By the fits: where the fitted times cross [95 % interval, of pairs of resamples], BP being the fastest "
        "of its series at each place; past the last measured value a crossing is extrapolated, and says nothing of "
        "what is really there. Where a point denies a fit, the law does not hold there, and the point does. By the "
        "measured points: the smallest measured value from which on the intervals of AL's and BP's times lie apart at "
        "every larger one; with a single round there is no interval, and nothing is decided. Along N the fill of the "
        "pipeline counts; along K, BP has no more threads than AL has lanes.",
        prose=True,
    )


def break_even_sentence(regime: Regime) -> str:
    """Say from which depth on AL's fastest engine at the deepest network is faster; empty where none can be said."""
    al, bp = regime.of_method("al"), regime.of_method("bp")
    series = regime.fastest("al", max((depth for one in al for depth in one.depths), default=0))
    if series is None or not bp or len(series.depths) < 2:
        return ""
    found = _along_depth(series, regime)
    if found.measured is None:
        return ""
    points = f"by the measured points {_point_words(found)}"
    fits = f"by the fits {_words(found.fitted, 'ℓ')}" if found.fitted else ""
    if found.contradicted:
        said = f"{points}; the fits, which these deny, would have it {fits.removeprefix('by the fits ')}"
    else:
        said = "; ".join(part for part in (fits, points) if part)
    return f"{series.name} beside the fastest BP, {found.where}: {said}."


def _row(found: Along) -> Row:
    cells = [Cell(found.name), Cell(found.axis), Cell(found.where)]
    if found.fitted is None:
        cells.append(Cell(NO_CELL))
    elif found.contradicted:
        cells.append(Cell("denied by the points:", _words(found.fitted, found.axis), tone="open"))
    else:
        cells.append(Cell(_words(found.fitted, found.axis), tone=TONES.get(found.fitted.kind, "open")))
    points = found.measured
    cells.append(Cell(_point_words(found), tone=TONES.get(points.kind, "open")) if points else Cell(NO_CELL))
    return Row(cells=tuple(cells))


def _point_words(found: Along) -> str:
    """Say what the measured points show; of one round each, nothing can be told."""
    if found.measured is None or all(math.isnan(ratio.low) for ratio in found.ratios.values()):
        return "not decided: one round cannot tell"
    return _words(found.measured, found.axis, gap=True)


def _words(found: BreakEven, axis: str, *, gap: bool = False) -> str:
    """Say what a break-even is, in few words that keep apart what was measured and what was not.

    `gap`: the value is a measured one, and its interval no more than the gap to the one before.
    """
    low, high = f"{found.low:g}", f"{found.high:g}"
    value = f"{axis} = {found.value.estimate:g}" if gap else f"{axis} = {_estimate(found.value)}"
    if found.kind == "always":
        return f"faster everywhere, {axis} = {low} to {high}"
    if found.kind == "from":
        return f"faster from {value} on"
    if found.kind == "until":
        return f"faster up to {value} only"
    extrapolated = f"; extrapolated: faster from {value} on" if found.extrapolated else ""
    if found.kind == "never":
        return f"slower everywhere, {axis} = {low} to {high}{extrapolated}"
    if found.kind == "behind at the end":
        return f"slower at {axis} = {high}{extrapolated}"
    if math.isfinite(found.value.estimate) and not found.extrapolated:
        return f"not decided: perhaps faster from {value} on"
    return f"not decided{extrapolated}"


def _estimate(interval: Interval) -> str:
    """Return an estimate and its ends, of which the upper one may be infinite."""
    if math.isinf(interval.high) and math.isfinite(interval.low):
        return f"{number(interval.estimate)} [{number(interval.low)}, ∞]"
    return f"{number(interval.estimate)} {ends(interval)}".rstrip()


def _lengths(series: Series) -> list[int]:
    return sorted({point.minibatches for point in series.points})


def _length(series: Series, regime: Regime) -> int:
    """Return the N of a series that stands for it: the regime's, else the longest."""
    lengths = _lengths(series)
    return regime.minibatches if regime.minibatches in lengths else lengths[-1]


def _contenders(
    series: Series, bp: Sequence[Series], places: Iterable[tuple[int, int]]
) -> tuple[Fitted | None, list[Fitted]]:
    """Return the fits of a series and of its rivals; no rival where the fastest one at some (ℓ, N) has no fit.

    Whoever is faster than the slower rivals only has not broken even with anybody.
    """
    fits = {one.name: _fitted(one, place) for place, one in enumerate(bp, 1)}
    for hidden_layers, minibatches in places:
        timed = [(point.seconds.estimate, one.name) for one in bp if (point := one.at(hidden_layers, minibatches))]
        if timed and fits[min(timed)[1]] is None:
            return None, []
    return _fitted(series), [fit for fit in fits.values() if fit]


def _fitted(series: Series, place: int = 0) -> Fitted | None:
    """Return the law that a series' verdict rests on, fitted to its points; None where its grid was too thin to judge.

    `place` gives each of those that are compared a seed of its own.
    """
    if not series.verdict.fits:
        return None
    law = LANE_LAW if series.verdict.complexity == LANE_LAW.name else PRODUCT_LAW
    n, depths, lanes, seconds = np.array(
        [(point.instances, point.hidden_layers, point.lanes, point.seconds.estimate) for point in series.points]
    ).T
    sweep = laws.cells(n, depths, lanes if series.has_lanes else np.ones_like(lanes), seconds)
    return Fitted.of(sweep, law, seed=laws.SEED + place)


def _known(ratios: dict[int, Interval | None]) -> dict[int, Interval]:
    """Return the ratios of the values at which both sides were measured, small values first."""
    return {value: ratio for value, ratio in sorted(ratios.items()) if ratio is not None}


def _ratio(own: Sequence[Series], rivals: Sequence[Series], hidden_layers: int, minibatches: int) -> Interval | None:
    """Return the fastest rival's time over the fastest own one at one point; None where either was not measured."""
    fastest = [_fastest(side, hidden_layers, minibatches) for side in (own, rivals)]
    if fastest[0] is None or fastest[1] is None:
        return None
    mine, theirs = fastest[0].seconds, fastest[1].seconds
    # Each side's best end with the other's worst, as everywhere in a report.
    return Interval(
        theirs.estimate / mine.estimate,
        theirs.low / mine.high,
        theirs.high / mine.low,
        min(mine.confidence, theirs.confidence),
    )


def _fastest(side: Sequence[Series], hidden_layers: int, minibatches: int) -> Point | None:
    points = [point for one in side if (point := one.at(hidden_layers, minibatches))]
    return min(points, key=lambda point: point.seconds.estimate, default=None)


def _divided(found: BreakEven, batch_size: int) -> BreakEven:
    """Return a break-even in mini-batches instead of instances."""
    value = found.value
    scaled = Interval(value.estimate / batch_size, value.low / batch_size, value.high / batch_size, value.confidence)
    return dataclasses.replace(found, value=scaled, low=found.low / batch_size, high=found.high / batch_size)


def _along_lanes(regime: Regime) -> list[Along]:
    """Return the break-even along K: AL on lanes of its own, against BP with as many threads at most."""
    al = [one for one in regime.of_method("al") if one.has_lanes or one.engine == "serial"]
    counts = sorted({one.lanes for one in al if one.lanes})
    if len(counts) < 2:
        return []
    depth = max(depth for one in al for depth in one.depths)
    ratios = {
        count: _ratio(
            [one for one in al if one.lanes == count],
            [one for one in regime.of_method("bp") if (one.lanes or 1) <= count],
            depth,
            regime.minibatches,
        )
        for count in counts
    }
    where = f"ℓ = {depth}, N = {regime.minibatches}"
    return [Along(name="AL on lanes", axis="K", where=where, fitted=None, ratios=_known(ratios))]


def _along_batches(regime: Regime, regimes: Sequence[Regime]) -> list[Along]:
    """Return the break-even along B at each depth, in the first of the regimes that differ in nothing but B."""

    def otherwise(one: Regime) -> Work:
        return dataclasses.replace(one.work, batch_size=1)

    alike = [one for one in regimes if otherwise(one) == otherwise(regime)]
    if len(alike) < 2 or alike[0] is not regime:
        return []
    found = []
    for depth in regime.depths:
        ratios = {
            one.work.batch_size: next((c.speedup for c in one.comparisons if c.hidden_layers == depth), None)
            for one in alike
        }
        found.append(Along(name="AL's fastest", axis="B", where=f"ℓ = {depth}", fitted=None, ratios=_known(ratios)))
    return found
