"""Complexity: O(nℓ), O(n+ℓ) or neither, judged from measured times.

Real back-propagation has a fixed cost a step and a real pipeline pays a little for every layer, so neither pure law
fits either of them, and asking which one fits better answers the wrong question. What is judged is size. In

    T = c + a·n + b·ℓ + γ·n·ℓ

the *product share* p = γ·ℓmax / (a + γ·ℓmax) is the part of the steady cost at the deepest network that is proportional
to depth: 0 for a perfect pipeline, near 1 for back-propagation. The verdict follows from the interval of p; where that
does not decide, the verdict is "inconclusive" and says why.

One bias is known. A pipeline whose ticks get longer with depth fills in a time that grows with ℓ², which the four terms
cannot hold; part of it lands in γ. The error runs against the pipeline, and shrinks as n grows.

What a sceptic would ask; the counts are in ``reports/verdict-error-rates``, over made-up sweeps with known laws:

* *What are the intervals made of?* Of cells, the medians of each (n, ℓ), not of rounds: rounds tell how a cell
  scatters, and nothing of how wrong the law is there, which all rounds of a cell share. More rounds narrow an interval
  only as far as they bring the medians nearer to the law. Errors are dealt to all cells alike; where short runs scatter
  more than long ones that is not so, and the table has such noise.
* *Are nine cells enough?* Three depths and three n leave five degrees of freedom, and the resamples are widened for it.
  What that costs is decisions, not truth: there the judge abstains the most.
* *Why divide by the measured time?* Because noise is relative. A cell that came out fast by chance then weighs more, so
  all coefficients come out low alike, and p, a ratio of them, does not notice.
* *Coefficients that cannot be negative have no smooth bootstrap at zero* (Andrews, 2000). So p's interval may be too
  narrow at 0 and at 1, far from both thresholds; shares near the thresholds are in the table.
* *A law with a knee fits nearly anything.* So the lane law has to win three times: on AICc, on the deepest ℓ, which it
  has not seen, and against luck (`LUCKY_LEAD`). Where the sweep does not show a knee, nothing is said of one.
* *Four terms may be the wrong law.* Then the interval of p, which takes misfit for noise, gets wide; it does not get
  right. The verdict is on the size of a term, and no promise that the law holds between or past the cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from albench.analysis import laws
from albench.analysis.laws import LANE_LAW, PRODUCT_LAW, PURE_PRODUCT, PURE_SUM, Array, Law, Sweep
from albench.analysis.statistics import CONFIDENCE, Interval
from albench.errors import UsageError

Complexity = Literal["O(nℓ)", "O(n+ℓ)", "O(nℓ/K)", "mixed", "inconclusive"]

Comparison = Literal["wins", "ties", "loses", "not tested"]
"""How the lane law fares against the product law."""

PIPELINE_SHARE = 0.2
"""Under this upper bound of p the verdict is O(n+ℓ): at the deepest network at most a fifth of the steady cost grows
with depth. A pipeline that is worth its name; no real one reaches 0, as every layer costs some bookkeeping."""
PRODUCT_SHARE = 0.5
"""Over this lower bound of p the verdict is O(nℓ): most of the steady cost at the deepest network grows with depth, so
from there on doubling the depth nearly doubles the time."""
FEWEST_DEPTHS = 3
"""Two depths cannot tell a line from a bend."""
FEWEST_SIZES = 3
"""Nor can two values of n tell a start-up cost from a fill."""
SMALLEST_DEPTH_RANGE = 4.0
"""Deepest over shallowest. Over less, a fixed cost hides the growth or noise passes for it."""
FEWEST_CELLS = 6
"""Different (n, ℓ): four coefficients and two to spare, or the fit says nothing about its own error."""
DEEP_ENOUGH = 2.0
"""How many times deeper than 2K the sweep must go to show what happens when K lanes are full."""
FEWEST_FLAT_DEPTHS = 2
"""Depths at or under 2K: with one, the flat part is a single point and every straight line has one."""
AICC_MARGIN = 6.0
"""How much lower AICc must be to prefer a law. Differences under 2 mean nothing and from 4 to 7 "considerably less
support" (Burnham & Anderson, 2002, §2.6); one coefficient fewer alone is worth about 4 on a grid of 15 cells."""
LUCKY_LEAD = 0.025
"""The lane law is not believed where a steady growth would lose to it by as much more often than this. On small grids
AICc cannot see to that: on nine cells one coefficient fewer is worth 12, and the margin is passed by no evidence at all
(on made-up sweeps of nine cells at 20 % noise, lanes that do not help were taken for the lane law in 13 of 40 before
this was asked)."""

NO_STEADY_COST = "The time does not grow with n, so there is no steady cost to judge."


@dataclass(frozen=True, kw_only=True)
class LawFit:
    """How well one law fits."""

    law: str
    parameters: int
    """Coefficients of the law."""
    coefficients: tuple[float, ...]
    """In the order of the law's terms; seconds, per instance and per layer."""
    aicc: float
    """Akaike's criterion, corrected for few rows; lower is better, comparable within one verdict only."""
    held_out_error: float
    """Median relative error on the deepest ℓ of the law fitted to all others."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the times of one method say. Plain data: ``dataclasses.asdict`` gives JSON."""

    complexity: Complexity
    product_share: Interval
    """p, in [0, 1]."""
    exponent_n: Interval
    """Mean exponent of n at the deepest ℓ over the measured range of n: 1 is proportional."""
    exponent_depth: Interval
    """Mean exponent of ℓ in the steady cost a + γ·ℓ over the measured depths: 0 is flat, 1 is proportional."""
    growth: Interval
    """Steady cost of an instance at the deepest network over that at the shallowest."""
    depth_range: float
    """Deepest ℓ over shallowest: what a proportional cost would have grown by."""
    coefficients: dict[str, Interval]
    """c, a, b and gamma of the product law: seconds, a instance, a layer, an instance and layer."""
    fits: tuple[LawFit, ...]
    """Every law that was fitted."""
    reasons: tuple[str, ...]
    """Why the verdict is what it is, in sentences."""

    def predict(self, n: ArrayLike, hidden_layers: ArrayLike, lanes: ArrayLike | None = None) -> Array:
        """Return the seconds of the law that the verdict rests on: the lane law for O(nℓ/K), else the product law."""
        law = LANE_LAW if self.complexity == LANE_LAW.name else PRODUCT_LAW
        found = next((one for one in self.fits if one.law == law.name), None)
        instances, depths, lane_counts = np.broadcast_arrays(
            np.asarray(n, float), np.asarray(hidden_layers, float), np.asarray(1 if lanes is None else lanes, float)
        )
        if found is None:
            return np.full(instances.shape, math.nan)
        columns = law.columns(instances.ravel(), depths.ravel(), lane_counts.ravel())
        seconds: Array = (columns @ np.array(found.coefficients)).reshape(instances.shape)
        return seconds


def judge(n: ArrayLike, hidden_layers: ArrayLike, seconds: ArrayLike, lanes: ArrayLike | None = None) -> Verdict:
    """Judge the times of one method over a grid of n and ℓ.

    `n`: training instances; `hidden_layers`: ℓ; `seconds`: wall time; three equal-length 1-D array-likes, repeats being
    rows of their own. `lanes`: the lanes of each row, where the method ran on lanes. Thin data gives "inconclusive";
    data that cannot be times raises `UsageError`.
    """
    sweep = laws.cells(*_checked(n, hidden_layers, seconds, lanes))
    thin = _thin(sweep)
    if thin:
        return _undecided(thin)
    with_lanes = lanes is not None and bool(sweep.lanes.max() > 1)
    candidates = (PRODUCT_LAW, PURE_PRODUCT, PURE_SUM, *((LANE_LAW,) if with_lanes else ()))
    fits = tuple(_fit(law, sweep) for law in candidates)
    found = np.array(fits[0].coefficients)
    resampled = laws.bootstrap(PRODUCT_LAW, sweep)
    deepest, shallowest = float(sweep.hidden_layers.max()), float(sweep.hidden_layers.min())

    def interval(quantity: Callable[[Array], Array]) -> Interval:
        estimate = float(quantity(found[None])[0])
        values = quantity(resampled)
        finite = values[np.isfinite(values)]
        if not len(finite):
            return Interval(estimate=estimate, low=math.nan, high=math.nan)
        tail = 100 * (1 - CONFIDENCE) / 2
        low, high = np.percentile(finite, [tail, 100 - tail])
        # A percentile interval may miss the estimate by rounding, or where a coefficient sits at zero.
        return Interval(estimate=estimate, low=min(float(low), estimate), high=max(float(high), estimate))

    def steady(fits: Array, depth: float) -> Array:
        return fits[:, 1] + fits[:, 3] * depth

    def ratio(above: Array, below: Array) -> Array:
        nothing = np.where(above > 0, math.inf, math.nan)  # of nothing and nothing there is no ratio
        quotient: Array = np.divide(above, below, out=nothing, where=below > 0)
        return quotient

    few, many = float(sweep.n.min()), float(sweep.n.max())

    def exponent_n(fits: Array) -> Array:
        times = [PRODUCT_LAW.columns(np.array([n]), np.array([deepest]), np.ones(1))[0] for n in (few, many)]
        exponents: Array = np.log(ratio(fits @ times[1], fits @ times[0])) / math.log(many / few)
        return exponents

    share = interval(lambda fits: _share(fits, deepest))
    growth = interval(lambda fits: ratio(steady(fits, deepest), steady(fits, shallowest)))
    exponent_depth = interval(
        lambda fits: np.log(ratio(steady(fits, deepest), steady(fits, shallowest))) / math.log(deepest / shallowest)
    )
    lane_law = _lane_law(sweep, fits) if with_lanes else ("not tested", "")
    complexity, reasons = _decide(share, growth, deepest / shallowest, deepest, lane_law)
    # The interval of p is that of the resamples that have a steady cost: of some, it would say nothing of the others.
    if np.mean(np.isnan(_share(resampled, deepest))) > 1 - CONFIDENCE:
        complexity, reasons = "inconclusive", [NO_STEADY_COST]
    return Verdict(
        complexity=complexity,
        product_share=share,
        exponent_n=interval(exponent_n),
        exponent_depth=exponent_depth,
        growth=growth,
        depth_range=deepest / shallowest,
        coefficients={
            name: interval(lambda fits, i=i: fits[:, i])  # type: ignore[misc]
            for i, name in enumerate(("c", "a", "b", "gamma"))
        },
        fits=fits,
        reasons=tuple(reasons),
    )


def product_ratio(verdict: Verdict, baseline: Verdict) -> Interval:
    """Return γ as a share of a baseline's γ: what an extra layer costs a method of what it costs the baseline.

    The interval pairs each one's best end with the other's worst, which is wider than either deserves. NaN where the
    baseline has no γ.
    """
    mine, theirs = verdict.coefficients.get("gamma"), baseline.coefficients.get("gamma")
    if mine is None or theirs is None or not theirs.estimate > 0:
        return _unknown()
    return Interval(
        estimate=mine.estimate / theirs.estimate,
        low=mine.low / theirs.high,
        high=mine.high / theirs.low if theirs.low > 0 else math.inf,
    )


def _share(fits: Array, deepest: float) -> Array:
    product = fits[:, 3] * deepest
    total = fits[:, 1] + product
    # No steady cost at all cannot be: such a fit puts everything into c and b, and says nothing about p.
    share: Array = np.divide(product, total, out=np.full(len(fits), math.nan), where=total > 0)
    return share


def _decide(
    share: Interval, growth: Interval, depth_range: float, deepest: float, lane_law: tuple[Comparison, str]
) -> tuple[Complexity, list[str]]:
    """Return the verdict and its reasons."""
    size = (
        f"At ℓ = {deepest:g} the part of the steady cost that is proportional to depth is {share.estimate:.2f} "
        f"[{share.low:.2f}, {share.high:.2f}]; the steady cost grew {growth.estimate:.2g} times "
        f"while depth grew {depth_range:g} times."
    )
    if math.isnan(share.estimate):
        return "inconclusive", [NO_STEADY_COST]
    if share.high < PIPELINE_SHARE:
        return "O(n+ℓ)", [size, f"That is under {PIPELINE_SHARE:g} with its whole interval."]
    comparison, sentence = lane_law
    if comparison == "wins":
        return "O(nℓ/K)", [size, sentence]
    if comparison == "ties":
        return "inconclusive", [size, sentence]
    if sentence:
        size = f"{size} {sentence}"
    if share.low > PRODUCT_SHARE:
        return "O(nℓ)", [size, f"That is over {PRODUCT_SHARE:g} with its whole interval."]
    if share.low >= PIPELINE_SHARE and share.high <= PRODUCT_SHARE:
        between = f"That is between {PIPELINE_SHARE:g} and {PRODUCT_SHARE:g} with its whole interval"
        return "mixed", [size, f"{between}: depth costs something, but less than the rest."]
    straddled = " and ".join(
        f"{threshold:g}" for threshold in (PIPELINE_SHARE, PRODUCT_SHARE) if share.low <= threshold <= share.high
    )
    return "inconclusive", [size, f"The interval straddles {straddled}: more rounds or a wider range would decide."]


def _lane_law(sweep: Sweep, fits: tuple[LawFit, ...]) -> tuple[Comparison, str]:
    """Return how the lane law fares against the product law, and the sentence that says so."""
    product, lane = fits[0], fits[-1]
    lanes = float(sweep.lanes.max())
    flat = np.unique(sweep.hidden_layers[sweep.hidden_layers <= 2 * lanes])
    shallow_enough = len(flat) >= FEWEST_FLAT_DEPTHS
    deep_enough = sweep.hidden_layers.max() >= DEEP_ENOUGH * 2 * lanes
    if sweep.hidden_layers.max() <= 2 * lanes:
        return "not tested", ""  # never full: the lane law is flat here, and the product law can be that too
    if not (shallow_enough and deep_enough):
        missing = (
            f"{FEWEST_FLAT_DEPTHS} depths at or under that"
            if not shallow_enough
            else f"a depth of at least {DEEP_ENOUGH * 2 * lanes:g}"
        )
        return "ties", (
            f"The {lanes:g} lanes are full at ℓ = {2 * lanes:g}: to tell growth from there on from a steady growth, "
            f"{missing} must be measured."
        )
    luck = laws.chance_of_lead(LANE_LAW, PRODUCT_LAW, sweep)
    figures = (
        f"AICc {lane.aicc:.1f} against {product.aicc:.1f}, error on the deepest ℓ, held out, "
        f"{lane.held_out_error:.1%} against {product.held_out_error:.1%}, and by luck alone it would look so in "
        f"{luck:.1%} of such sweeps"
    )
    law = f"flat until the {lanes:g} lanes are full at ℓ = {2 * lanes:g} and growing after"
    better = lane.aicc < product.aicc - AICC_MARGIN and lane.held_out_error < product.held_out_error
    if better and luck < LUCKY_LEAD:
        return "wins", f"{law[0].upper()}{law[1:]} explains the times better than a steady growth: {figures}."
    if product.aicc < lane.aicc - AICC_MARGIN:
        return "loses", f"A steady growth explains the times better than {law}: {figures} (lanes against growth)."
    return "ties", f"Whether time is {law} or grows steadily cannot be told: {figures}."


def _fit(law: Law, sweep: Sweep) -> LawFit:
    coefficients = laws.fit(law, sweep)
    return LawFit(
        law=law.name,
        parameters=len(coefficients),
        coefficients=tuple(map(float, coefficients)),
        aicc=laws.aicc(law, sweep),
        held_out_error=laws.held_out_error(law, sweep),
    )


def _thin(sweep: Sweep) -> list[str]:
    """Return why the data cannot decide, whatever the times are; empty if it can."""
    depths, sizes = np.unique(sweep.hidden_layers), np.unique(sweep.n)
    reasons = []
    if len(depths) < FEWEST_DEPTHS:
        reasons.append(f"Only {_count(len(depths), 'depth')} measured: at least {FEWEST_DEPTHS} are needed.")
    if len(sizes) < FEWEST_SIZES:
        reasons.append(f"Only {_count(len(sizes), 'value')} of n measured: at least {FEWEST_SIZES} are needed.")
    if len(depths) > 1 and depths[-1] / depths[0] < SMALLEST_DEPTH_RANGE:
        reasons.append(
            f"The deepest ℓ is {depths[-1] / depths[0]:.2g} times the shallowest: at least {SMALLEST_DEPTH_RANGE:g} "
            "times are needed."
        )
    if not reasons and len(sweep.seconds) < FEWEST_CELLS:
        reasons.append(f"Only {len(sweep.seconds)} pairs of n and ℓ measured: at least {FEWEST_CELLS} are needed.")
    if not reasons and np.linalg.matrix_rank(_normalised(laws.design(PRODUCT_LAW, sweep))) < 4:
        reasons.append("n and ℓ were varied together, never one alone, so their costs cannot be told apart.")
    return reasons


def _normalised(matrix: Array) -> Array:
    normalised: Array = matrix / np.linalg.norm(matrix, axis=0)
    return normalised


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _unknown() -> Interval:
    return Interval(estimate=math.nan, low=math.nan, high=math.nan)


def _undecided(reasons: list[str]) -> Verdict:
    return Verdict(
        complexity="inconclusive",
        product_share=_unknown(),
        exponent_n=_unknown(),
        exponent_depth=_unknown(),
        growth=_unknown(),
        depth_range=math.nan,
        coefficients={name: _unknown() for name in ("c", "a", "b", "gamma")},
        fits=(),
        reasons=tuple(reasons),
    )


def _checked(
    n: ArrayLike, hidden_layers: ArrayLike, seconds: ArrayLike, lanes: ArrayLike | None
) -> tuple[Array, Array, Array, Array]:
    """Return n, ℓ, lanes and seconds as arrays, or raise `UsageError`."""
    given: dict[str, Any] = {"n": n, "hidden_layers": hidden_layers, "seconds": seconds}
    if lanes is not None:
        given["lanes"] = lanes
    arrays = {}
    for name, values in given.items():
        try:
            arrays[name] = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise UsageError(f"{name} holds something that is not a number: give numbers only") from None
        if arrays[name].ndim != 1:
            raise UsageError(f"{name} has {arrays[name].ndim} dimensions: give a flat list of numbers")
        least = 0.0 if name == "seconds" else 1.0
        for value in arrays[name]:
            if not math.isfinite(value) or value < least or value == 0:
                wanted = "finite and above 0" if name == "seconds" else "finite and at least 1"
                raise UsageError(f"{name} holds {value:g}: every value must be {wanted}")
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise UsageError(f"the lengths differ ({', '.join(f'{k} {v}' for k, v in lengths.items())}): give one a row")
    lane_counts = arrays.get("lanes", np.ones(len(arrays["n"])))
    return arrays["n"], arrays["hidden_layers"], lane_counts, arrays["seconds"]
