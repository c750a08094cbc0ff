"""Memory figure: what training took at its peak against ℓ, on the device where there is one, else on the host."""

from __future__ import annotations

from albench.analysis.statistics import Interval
from albench.report.answers import heading
from albench.report.axes import depth_axis, legend, line, log_axis
from albench.report.drawing import Drawing, canvas, drawing_of
from albench.report.regimes import Regime
from albench.report.resources import WorkResources
from albench.report.style import Look
from albench.report.words import MEBIBYTE, number

COLUMNS = {"device": "device memory, MiB", "host": "host memory, MiB"}
"""Names in `albench.report.resources`."""
LEAST = 0.01
"""MiB at which a run is drawn that took no more than that, so that it has a place on a logarithmic axis."""


def memory_lines(resources: WorkResources | None) -> tuple[str, dict[str, dict[int, float]]]:
    """Return where memory is told of ("device" or "host"), and by series and ℓ the MiB of the longest run.

    Empty where no series has two depths.
    """
    for place, column in COLUMNS.items():
        lines: dict[str, dict[int, float]] = {}
        for case in resources.cases if resources else ():  # by N within a depth, so that the longest run stays
            if column in case.used:
                lines.setdefault(case.series, {})[case.hidden_layers] = case.used[column] / MEBIBYTE
        if any(len(values) > 1 for values in lines.values()):
            return place, lines
    return "", {}


def memory_drawing(regime: Regime, resources: WorkResources, look: dict[str, Look], tag: str) -> Drawing:
    """Draw MiB against ℓ, a line a series."""
    place, everyone = memory_lines(resources)
    shown = {series.name for series in regime.series}
    lines = {name: values for name, values in everyone.items() if name in shown}
    figure, axes = canvas(4.6)
    for name, values in lines.items():
        depths = sorted(values)
        line(axes, depths, [_exactly(values[depth]) for depth in depths], look[name])
    depth_axis(axes, [depth for values in lines.values() for depth in values])
    log_axis(axes, f"MiB of {place} memory at the peak")
    axes.set_title("Peak memory of training against depth")
    legend(figure, {name: look[name] for name in lines})
    return drawing_of(
        figure,
        name=f"{tag}-memory-against-depth",
        title=f"Memory against depth, {heading(regime)}",
        alt=f"MiB of {place} memory that training took at its peak: "
        + "; ".join(
            f"{name} " + ", ".join(f"{number(values[depth])} at ℓ = {depth}" for depth in sorted(values))
            for name, values in lines.items()
        )
        + ".",
        reading="Weights, optimizer state, activations and buffers, beyond libraries and data: a line that doubles "
        "with each step to the right takes the same for every layer. AL's lines hold its affiliated functions "
        "too, and its lanes several mini-batches at once.",
        limits="It does not show what is free to be given back, nor time: memory is taken in a pass of its own, of a "
        "few mini-batches, once a case."
        + (" A method that runs in processes of its own pays for their libraries too." if place == "host" else ""),
        work=regime.work,
    )


def _exactly(mebibytes: float) -> Interval:
    shown = max(mebibytes, LEAST)
    return Interval(shown, shown, shown)
