"""Batch figure: training instances a second against batch size, at the deepest network run with several."""

from __future__ import annotations

from albench.report.axes import legend, line, log_axis, ticks
from albench.report.drawing import Drawing, canvas, drawing_of
from albench.report.sizes import BatchSweep
from albench.report.style import Look
from albench.report.words import number

MOST_LINES = 8
"""More cannot be told apart; then each method comes with the series that is fastest at the largest batch."""


def batch_drawing(sweep: BatchSweep, look: dict[str, Look], name: str) -> Drawing:
    """Draw training instances a second against B, a line a series."""
    figure, axes = canvas(4.8)
    drawn = _drawn(sweep)
    for one in drawn.lines:
        line(axes, [size for size, _ in one.points], [point.rate for _, point in one.points], look[one.name])
    axes.set_xscale("log", base=2)
    ticks(axes, drawn.batch_sizes)
    axes.set_xlabel("batch size B")
    log_axis(axes, "training instances a second")
    axes.set_title(f"Throughput against batch size, ℓ = {sweep.hidden_layers}")
    legend(figure, {one.name: look[one.name] for one in drawn.lines})
    counts = sorted({point.minibatches for one in drawn.lines for _, point in one.points})
    runs = f"N = {counts[0]}" if len(counts) == 1 else f"N = {counts[0]} to {counts[-1]}"
    left_out = len(sweep.lines) - len(drawn.lines)
    return drawing_of(
        figure,
        name=name,
        title=f"Throughput against batch size, {sweep.title}",
        alt=f"Training instances a second against batch size, runs of {runs} mini-batches: "
        + "; ".join(
            f"{one.name} "
            + ", ".join(f"{number(point.samples_per_second)} at B = {size}" for size, point in one.points)
            for one in drawn.lines
        )
        + ".",
        reading="A line that doubles with each doubling of B pays per mini-batch, for launches; one that lies flat "
        f"pays per instance, for arithmetic. Runs of {runs} mini-batches, fill included.",
        limits="It does not show how much a mini-batch teaches: fewer, larger ones are fewer steps of the optimizer."
        + (
            f" Of each method only its fastest at the largest batch is drawn; {left_out} more are in the tables."
            if left_out
            else ""
        ),
        work=None,
    )


def _drawn(sweep: BatchSweep) -> BatchSweep:
    """Return the sweep with as many lines as a figure can hold."""
    if len(sweep.lines) <= MOST_LINES:
        return sweep
    best: dict[str, tuple[int, float, str]] = {}
    for one in sweep.lines:
        size, point = one.points[-1]
        method = one.series.method
        best[method] = max(best.get(method, (0, 0.0, "")), (size, point.samples_per_second, one.name))
    kept = {name for _, _, name in best.values()}
    return BatchSweep(
        title=sweep.title,
        hidden_layers=sweep.hidden_layers,
        lines=tuple(one for one in sweep.lines if one.name in kept),
    )
