"""Usage figure: cores, and on a GPU utilisation, clock and power, while the telling runs went on.

A column a run, a row a quantity, one scale a row. Columns have time axes of their own, because runs take as long as
they take.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from albench.report.contest_figure import SIDES
from albench.report.drawing import WIDTH_INCHES, Drawing, drawing_of
from albench.report.style import MUTED, SMALL
from albench.report.usage import Usage, UsageCase
from albench.report.words import number, percent

ROW_INCHES = 1.35
LETTERS = 43
"""How many fit beside each other over the whole width, at the size of a column's title."""
WHOLE_MACHINE: Any = {"color": MUTED, "linewidth": 1.0, "linestyle": (0, (2, 1.5))}


@dataclass(frozen=True)
class Quantity:
    """One row."""

    label: str
    column: str
    """End of the column's name in a record."""
    factor: float = 1.0
    """From the record's unit to the label's."""
    top: float | None = None
    """Upper end of the scale; None: as far as the readings go."""


CORES = Quantity("cores busy", "own cores")
GPU_QUANTITIES = (
    Quantity("GPU\nutilisation, %", " utilisation", 100.0, 105.0),
    Quantity("SM clock, MHz", " sm_clock_hertz", 1e-6),
    Quantity("power, W", " power_watts"),
)
PER_CORE = "each core, %"


def usage_drawing(usage: Usage, name: str) -> Drawing:
    """Draw what each telling run used over time."""
    quantities = [CORES, *[one for one in GPU_QUANTITIES if any(_lines(case, one) for case in usage.cases)]]
    per_core = usage.work.device == "cpu" and any(case.telemetry.core_use for case in usage.cases)
    rows, columns = len(quantities) + per_core, len(usage.cases)
    figure = Figure(figsize=(WIDTH_INCHES, 1.7 + ROW_INCHES * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey="row")
    for column, case in enumerate(usage.cases):
        for row, quantity in enumerate(quantities):
            if _lines(case, quantity):
                _panel(grid[row][column], case, quantity, usage.cores)
            else:
                _empty(grid[row][column], _why(case) if row == 0 else "")
            grid[row][column].tick_params(labelsize=SMALL, labelbottom=row == len(quantities) - 1)
        grid[0][column].set_title(_title(case, columns), fontsize=SMALL)
        if case.is_told:
            grid[len(quantities) - 1][column].set_xlabel("seconds", fontsize=SMALL)
        if per_core:
            _core_bars(grid[-1][column], case)
    for row, label in enumerate([*(one.label for one in quantities), *([PER_CORE] if per_core else [])]):
        grid[row][0].set_ylabel(label, fontsize=SMALL)
    figure.suptitle(f"What was busy meanwhile, {usage.title}", x=0.02, ha="left", fontsize=12, fontweight="bold")
    handles = [
        Line2D([], [], color="#000000", linewidth=1.6, label="the run"),
        Line2D([], [], **WHOLE_MACHINE, label="the whole machine"),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=2)
    gpu = len(quantities) > 1
    return drawing_of(
        figure,
        name=name,
        title=f"Use of cores{' and GPU' if gpu else ''} over time, {usage.title}",
        alt="Means over the run: " + "; ".join(map(_told, usage.cases)) + ".",
        reading=(
            "A gap under the top is cores without work: at the ends while a pipeline fills and drains, elsewhere while "
            "lanes wait for each other."
            if usage.work.device == "cpu"
            else "A gap under a GPU's utilisation is time in which no kernel ran, for whatever it waited."
        )
        + (" Below: how much of the run each core worked, for whomever." if per_core else "")
        + (
            " Utilisation is NVML's: the share of its own last window in which any kernel ran."
            if any(quantity.column == " utilisation" for quantity in quantities)
            else ""
        ),
        limits="It does not show what is shorter than the time between readings, "
        f"{_intervals(usage.cases)}, nor the other rounds: these are single runs.",
        work=usage.work,
    )


def _title(case: UsageCase, columns: int) -> str:
    """Return what a column shows, in lines that fit over it."""
    lines: list[str] = []
    for part in case.name.split(", "):
        if lines and len(lines[-1]) + 2 + len(part) <= LETTERS // columns:
            lines[-1] += f", {part}"
        else:
            lines.append(part)
    return "\n".join([*lines, f"ℓ = {case.hidden_layers}, N = {case.minibatches}"])


def _panel(axes: Axes, case: UsageCase, quantity: Quantity, cores: int | None) -> None:
    """Draw one quantity of one run."""
    found = _lines(case, quantity)
    seconds = case.telemetry.series.seconds if case.telemetry.series else []
    colour = SIDES[case.side][1].colour
    if quantity is CORES:
        for values in _columns(case, "busy cores"):
            axes.plot(seconds, values, **WHOLE_MACHINE)
        if cores:
            axes.set_ylim(0, 1.08 * cores)
    for values in found:
        axes.plot(seconds, np.array(values) * quantity.factor, color=colour, linewidth=1.6)
    axes.set_xlim(0, case.telemetry.window_seconds)
    if quantity.top is not None:
        axes.set_ylim(0, quantity.top)
    elif quantity is not CORES:
        axes.set_ylim(bottom=0)


def _why(case: UsageCase) -> str:
    """Return why a run has empty panels."""
    if not case.telemetry.too_short:
        return "not read"
    return f"too short:\n{case.telemetry.samples} readings\nin {number(1e3 * case.telemetry.window_seconds)} ms"


def _empty(axes: Axes, words: str) -> None:
    """Leave a panel empty, with the words that say why."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=MUTED, fontsize=SMALL)
    axes.grid(visible=False)
    axes.set_xticks([])


def _core_bars(axes: Axes, case: UsageCase) -> None:
    """Draw how much of the run each core worked."""
    axes.tick_params(labelsize=SMALL)
    axes.set_ylim(0, 108)
    use = case.telemetry.core_use
    if not use:
        _empty(axes, "")
        return
    colour = SIDES[case.side][1].colour
    axes.bar(range(len(use)), [100 * share for share in use], color=colour, width=0.7)
    axes.set_xlim(-0.6, len(use) - 0.4)
    axes.set_xticks([] if len(use) > 16 else range(len(use)))
    axes.set_xlabel("core", fontsize=SMALL)
    axes.grid(axis="x", visible=False)


def _columns(case: UsageCase, end: str) -> list[list[float]]:
    """Return the columns whose name ends so, a gap where a reading failed."""
    series = case.telemetry.series
    if series is None:
        return []
    return [
        [math.nan if value is None else value for value in values]
        for name, values in series.columns.items()
        if name.endswith(end)
    ]


def _lines(case: UsageCase, quantity: Quantity) -> list[list[float]]:
    """Return what a panel draws, a line a GPU; nothing where no reading is a number."""
    return [values for values in _columns(case, quantity.column) if not all(map(math.isnan, values))]


def _told(case: UsageCase) -> str:
    """Return the means of a run in words."""
    start = f"{case.name} at ℓ = {case.hidden_layers}, N = {case.minibatches}"
    telemetry = case.telemetry
    if not case.is_told:
        return f"{start}, no readings, {case.why_not}"
    parts = [f"{number(telemetry.window_seconds)} s"]
    if telemetry.own_cores is not None:
        parts.append(f"{number(telemetry.own_cores, 2)} cores busy")
    gpus = [gpu for gpu in telemetry.gpus if gpu.used is not False]
    told: tuple[tuple[str, Callable[[float], str]], ...] = (
        ("mean_utilisation", lambda value: f"GPU utilisation {percent(value)}"),
        ("mean_sm_clock_hertz", lambda value: f"SM clock {number(value / 1e6)} MHz"),
        ("mean_power_watts", lambda value: f"{number(value)} W"),
    )
    for gpu in gpus:
        parts += [say(value) for field, say in told if (value := getattr(gpu, field)) is not None]
    return f"{start}, {', '.join(parts)}"


def _intervals(cases: Sequence[UsageCase]) -> str:
    """Return the time between readings, of the runs that have some."""
    found = sorted(case.telemetry.interval_seconds for case in cases if case.is_told)
    low, high = (number(1e3 * value, 2) for value in (found[0], found[-1]))
    return f"{low} ms here" if low == high else f"{low} to {high} ms here"
