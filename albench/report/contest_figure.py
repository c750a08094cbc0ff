"""Contest figure: who trains most in a second on the same lanes, one mark a contender.

Everyone who took part is there, winners and losers; of a pipeline that was tried with several numbers of microbatches M
all are drawn, the best of them filled. The two lines to compare with are the best BP and the best pipeline.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from albench.analysis.baselines import Side, Standing
from albench.analysis.statistics import Interval
from albench.report.contests import Contest
from albench.report.drawing import WIDTH_INCHES, Drawing, drawing_of
from albench.report.style import SMALL, Look
from albench.report.words import listed, number

SIDES: dict[Side, tuple[str, Look]] = {
    "al": ("AL", Look("#0072B2", "o")),
    "bp": ("BP in one process", Look("#1f2328", "s")),
    "pipeline": ("pipeline of BP", Look("#D55E00", "^")),
    "data-parallel": ("data parallelism", Look("#009E73", "D")),
}
"""What a side is called, and how its marks look."""

ROW_INCHES = 0.27


def standings_drawing(contest: Contest, name: str) -> Drawing:
    """Draw samples a second of every contender, most first, with the lines of the best BP and the best pipeline."""
    standings = contest.standings
    figure = Figure(figsize=(WIDTH_INCHES, 1.9 + ROW_INCHES * len(standings)), layout="constrained")
    axes = figure.subplots()
    _marks(axes, contest)
    lines = [one for side in ("bp", "pipeline") if (one := contest.best(side)) is not None]
    for one in lines:
        axes.axvline(one.samples_per_second, color=SIDES[one.side][1].colour, linewidth=1.0, linestyle=":", zorder=0.5)
    axes.set_yticks(range(len(standings)), [one.name for one in standings], fontsize=SMALL)
    axes.set_ylim(len(standings) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, 4)))
    axes.set_xlabel("training instances a second")
    axes.grid(axis="y", visible=False)
    title = f"Who trains most in a second,\nat {contest.fairness}"
    figure.suptitle(title, x=0.02, ha="left", fontsize=12, fontweight="bold")
    looks = [SIDES[side] for side in dict.fromkeys(one.side for one in standings)]
    handles = [Line2D([], [], linestyle="none", **look.marks, label=label) for label, look in looks]
    figure.legend(handles=handles, loc="outside lower left", ncols=2)
    told = listed(f"the best {'BP' if one.side == 'bp' else 'pipeline'} ({one.name})" for one in lines)
    return drawing_of(
        figure,
        name=name,
        title=f"Who trains most in a second, at {contest.fairness}, {contest.title}",
        alt="Training instances a second: "
        + "; ".join(f"{one.name} {number(one.samples_per_second)}" for one in standings)
        + ".",
        reading="Further to the right is faster. Bars are the intervals of the medians: where two overlap, which of "
        "the two is faster is not certain."
        + (f" Dotted lines: {told}." if lines else "")
        + (" Hollow: another number of microbatches did better." if _has_hollow(contest) else ""),
        limits="It does not show accuracy: AL learns by other objectives than the rest, and so many instances a second "
        "are not the same progress. Nor does it show more lanes than there were.",
        work=contest.work,
    )


def _marks(axes: Axes, contest: Contest) -> None:
    """Draw a mark with its interval for each contender, from top to bottom."""
    for row, one in enumerate(contest.standings):
        look = SIDES[one.side][1]
        speeds = _samples_per_second(one)
        ends = [[reach(speeds.estimate - speeds.low)], [reach(speeds.high - speeds.estimate)]]
        style = look.marks | ({"markerfacecolor": "white"} if _is_beaten_by_itself(one, contest.standings) else {})
        axes.errorbar([speeds.estimate], [row], xerr=ends, capsize=2.5, elinewidth=1.1, linestyle="none", **style)


def _samples_per_second(one: Standing) -> Interval:
    """Return training instances a second with its interval: the longest time gives the least."""
    seconds = one.minibatch_seconds
    return Interval(
        one.samples_per_second, one.instances / seconds.high, one.instances / seconds.low, seconds.confidence
    )


def reach(length: float) -> float:
    """Return a bar's length; an interval that does not exist has none."""
    return max(length, 0.0) if math.isfinite(length) else 0.0


def _is_beaten_by_itself(one: Standing, standings: Sequence[Standing]) -> bool:
    """Whether the same schedule on the same lanes does better with another number of microbatches."""
    return one.microbatches is not None and any(
        (other.method, other.engine, other.lanes) == (one.method, one.engine, one.lanes)
        and other.samples_per_second > one.samples_per_second
        for other in standings
    )


def _has_hollow(contest: Contest) -> bool:
    return any(_is_beaten_by_itself(one, contest.standings) for one in contest.standings)
