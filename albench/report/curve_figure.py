"""Curve figure: held-out accuracy against seconds of training, who is first at which accuracy.

What matters happens in the last few percent, so the upright scale is that of errors: each equal step up halves them,
and it is marked with the accuracies that go with them. The seconds are logarithmic too, because contenders differ in
speed by factors.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from albench.report.axes import legend, plain_log_ticks
from albench.report.drawing import WIDTH_INCHES, Drawing, drawing_of
from albench.report.learning_curves import LearningCurves, runs_words
from albench.report.style import BAND_OPACITY, Look, looks
from albench.report.words import counted, number, percent

SMALLEST_ERROR = 5e-4
"""Where the scale ends: half a mistake in a thousand. Perfect scores are drawn there."""
TICKS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)
PANEL_INCHES = 3.0


def curve_drawing(panels: Sequence[LearningCurves], name: str) -> Drawing:
    """Draw up to two sets of learning curves under each other: the first of `panels` and the last."""
    shown = [panels[0], panels[-1]] if len(panels) > 1 else list(panels)
    look = looks([curve for one in panels for curve in one.curves])
    figure = Figure(figsize=(WIDTH_INCHES, 1.2 + PANEL_INCHES * len(shown)), layout="constrained")
    for axes, one in zip(figure.subplots(len(shown), 1, squeeze=False)[:, 0], shown, strict=True):
        _panel(axes, one, look)
    present = dict.fromkeys(curve.name for one in shown for curve in one.curves)
    legend(figure, {name: look[name] for name in present})
    several = any(len(curve.runs) > 1 for one in shown for curve in one.curves)
    others = len(panels) - len(shown)
    return drawing_of(
        figure,
        name=name,
        title="Accuracy against seconds of training, " + " and ".join(one.title for one in shown),
        alt="Held-out accuracy against seconds of training, both axes logarithmic, accuracy in errors: "
        + "; ".join(f"{one.title}: {_ends(one)}" for one in shown)
        + ".",
        reading="Further up is better, further to the left is sooner; read along a level line to see who is there "
        "first. The upright scale is that of errors: each equal step halves them."
        + (
            f" Lines are medians of {runs_words([c for one in shown for c in one.curves])}, shaded from the worst to "
            "the best of them."
            if several
            else " Each line is one run."
        ),
        limits="It does not show the best that anyone can do: each trains by one stated recipe. Seconds are of this "
        "machine, and of training only."
        + (f" {counted(others, 'more depth')} {'are' if others > 1 else 'is'} in the tables." if others > 0 else ""),
        work=panels[0].work,
    )


def _panel(axes: Axes, found: LearningCurves, look: dict[str, Look]) -> None:
    shown: list[float] = []
    for curve in found.curves:
        points = curve.median_curve()
        seconds = [point.seconds for point in points]
        own = look[curve.name]
        axes.plot(seconds, [_error(point.accuracy) for point in points], markersize=4, **(own.line | own.marks))
        if len(curve.runs) > 1:
            worst, best = [_error(point.worst) for point in points], [_error(point.best) for point in points]
            axes.fill_between(seconds, worst, best, color=own.colour, alpha=BAND_OPACITY, linewidth=0)
        shown += [_error(accuracy) for point in points for accuracy in (point.worst, point.best)]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(min(1.0, 1.5 * max(shown)), min(shown) / 1.2)  # turned about: few errors are above
    axes.yaxis.set_major_locator(FixedLocator([1 - tick for tick in TICKS]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda error, _: number(100 * (1 - error), 4).rstrip("0").rstrip(".")))
    axes.yaxis.set_minor_locator(NullLocator())
    plain_log_ticks(axes.xaxis, *axes.get_xlim())
    axes.set_xlabel("seconds of training")
    axes.set_ylabel("held-out accuracy, %")
    axes.set_title(found.title)


def _error(accuracy: float) -> float:
    return max(1 - accuracy, SMALLEST_ERROR)


def _ends(found: LearningCurves) -> str:
    """Return where each curve ends, in words."""
    told = []
    for curve in found.curves:
        if points := curve.median_curve():
            told.append(f"{curve.name} {percent(points[-1].accuracy, 1)} after {number(points[-1].seconds)} s")
    return ", ".join(told)
