"""Learning figure: time above, held-out accuracy below, on the same axis ℓ; fast and useless must be seen together."""

from __future__ import annotations

from matplotlib.figure import Figure

from albench.analysis.statistics import Interval
from albench.report.accuracy import Accuracy
from albench.report.answers import heading
from albench.report.axes import depth_axis, legend, line, log_axis
from albench.report.drawing import WIDTH_INCHES, Drawing, drawing_of
from albench.report.regimes import Regime
from albench.report.style import FIRST_OF_AL, FIRST_RIVAL, Look, looks
from albench.report.words import percent


def learning_drawing(regime: Regime | None, accuracy: Accuracy, tag: str) -> Drawing:
    """Draw time above and held-out accuracy below, on the same axis ℓ."""
    with_time = regime is not None and bool(regime.comparisons)
    figure = Figure(figsize=(WIDTH_INCHES, 6.0 if with_time else 4.4), layout="constrained")
    grid = figure.subplots(2 if with_time else 1, 1, sharex=True, squeeze=False)
    look = looks(accuracy.series)
    shown_looks: dict[str, Look] = {}
    plain = {series.name for series in accuracy.series} <= {"AL", "BP"}  # then one name serves both halves
    depths = {point.hidden_layers for series in accuracy.series for point in series.points}
    if with_time and regime is not None:
        upper = grid[0][0]
        shown = regime.comparisons
        depths |= {one.hidden_layers for one in shown}
        x = [one.hidden_layers for one in shown]
        for values, name, style in (
            ([one.al_milliseconds for one in shown], "AL", FIRST_OF_AL),
            ([one.bp_milliseconds for one in shown], "BP", FIRST_RIVAL),
        ):
            shown_looks[name if plain else f"fastest {name}, time"] = style
            line(upper, x, values, style)
        log_axis(upper, "fastest, ms a mini-batch")
        upper.set_title("Time, and what was learnt, against depth")
    lower = grid[-1][0]
    for series in accuracy.series:
        x = [point.hidden_layers for point in series.longest]
        means = [point.mean for point in series.longest]
        percents = [Interval(estimate=100 * m.estimate, low=100 * m.low, high=100 * m.high) for m in means]
        shown_looks[f"{series.name}, accuracy" if with_time and not plain else series.name] = look[series.name]
        line(lower, x, percents, look[series.name])
    lower.set_ylim(0, 104)
    lower.set_ylabel("held-out accuracy, %")
    if not with_time:
        lower.set_title("What was learnt, against depth")
    depth_axis(lower, sorted(depths))
    if with_time:
        grid[0][0].set_xlabel("")
    legend(figure, shown_looks)
    several = any(point.seeds > 1 for series in accuracy.series for point in series.points)
    scatter = "; bars are 95 % intervals of the mean over seeds" if several else ""
    kind = "training to the end" if accuracy.trained_to_the_end else "the longest timed runs, which stop early"
    return drawing_of(
        figure,
        name=f"{tag}-accuracy-against-depth",
        title=f"Accuracy against depth, {heading(regime) if regime else accuracy.title}",
        alt=f"Held-out accuracy after {kind}, against hidden layers: "
        + "; ".join(
            f"{series.name} "
            + ", ".join(f"{percent(p.mean.estimate, 1)} at ℓ = {p.hidden_layers}" for p in series.longest)
            for series in accuracy.series
        )
        + ".",
        reading=(
            "Look at one depth in both halves: speed above is worth having only where accuracy below holds up. "
            if with_time
            else "Higher is better. "
        )
        + f"Accuracy is on instances that were never trained on, after {kind}{scatter}.",
        limits=_limits(accuracy),
        work=accuracy.work,
    )


def _limits(accuracy: Accuracy) -> str:
    """Say what the figure does not show."""
    if not accuracy.trained_to_the_end:
        return "It does not show how well the networks can learn: these runs stop after a few mini-batches."
    recipes = {(point.minibatches, point.learning_rates) for one in accuracy.series for point in one.longest}
    trained = "one stated recipe, and none was tuned for each depth" if len(recipes) == 1 else "the stated recipes only"
    return f"It does not show the best that either method can do: both train by {trained}."
