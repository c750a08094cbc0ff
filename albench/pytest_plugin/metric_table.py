"""Metric table: what was measured beside the time, as columns, for pytest-benchmark's rows.

    -------------- metrics 'width 64, batch 32': 2 tests --------------
    Name (time in ms)      Median  samples/s  GPU %  accuracy
    -------------------------------------------------------------------
    test_depth[al]         1.2345     12,345      -     0.972
    test_depth[bp]         9.8765      1,234      -     0.968
    -------------------------------------------------------------------

Groups, names and order are those of the table before it, which pytest-benchmark printed. A metric is a value in
``extra_info``; "-" where a benchmark has none. The row of a saved run, with ``--benchmark-compare``, shows the metrics
that were saved with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Row = Mapping[str, Any]
"""A benchmark as pytest-benchmark lists it: names, statistics in seconds, ``extra_info``."""
Group = tuple[str | None, Sequence[Row]]

MISSING = "-"
LONGEST_WORD = 30
"""Characters of a value that is a word; what is longer, such as a whole record, is no value for a column."""
RATES = ("ops",)
COUNTS = ("rounds", "iterations", "outliers")
LABELS = {
    "min": "Min",
    "max": "Max",
    "mean": "Mean",
    "stddev": "StdDev",
    "median": "Median",
    "iqr": "IQR",
    "ops": "OPS",
    "rounds": "Rounds",
    "iterations": "Iterations",
    "outliers": "Outliers",
}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How a value in ``extra_info`` is shown."""

    name: str
    heading: str
    form: str = ",.4g"
    scale: float = 1.0


METRICS = {
    metric.name: metric
    for metric in (
        Metric(name="samples_per_second", heading="samples/s", form=",.0f"),
        Metric(name="milliseconds_per_minibatch", heading="ms/mini-batch"),
        Metric(name="gpu_utilisation", heading="GPU %", form=".1f", scale=100.0),
        Metric(name="held_out_accuracy", heading="accuracy", form=".3f"),
        Metric(name="joules_per_sample", heading="J/sample"),
        Metric(name="peak_memory_bytes", heading="peak MiB", form=",.1f", scale=2.0**-20),
    )
}
STANDARD = ("samples_per_second", "gpu_utilisation", "held_out_accuracy")
"""Shown where nobody says which, if any benchmark has one of them."""


class Terminal(Protocol):
    """What is used of pytest's terminal reporter."""

    def write_line(self, line: str | bytes, **markup: bool) -> None:
        """Write a line."""


def metric_named(name: str) -> Metric:
    """Return how a value of that name is shown; any name may be one of ``extra_info``."""
    return METRICS.get(name, Metric(name=name, heading=name))


def cell(metric: Metric, extra_info: Mapping[str, Any]) -> str:
    """Return a benchmark's value as a cell of the table."""
    value = extra_info.get(metric.name)
    if isinstance(value, bool) or (isinstance(value, str) and 0 < len(value) <= LONGEST_WORD):
        return str(value)
    if not isinstance(value, int | float):
        return MISSING
    if isinstance(value, int) and metric.name not in METRICS:
        return f"{value:,}"
    return f"{value * metric.scale:{metric.form}}"


def print_tables(
    terminal: Terminal,
    groups: Sequence[Group],
    *,
    names: Sequence[str] | None,
    times: Sequence[str],
    sort: str,
    name_format: Callable[[dict[str, Any]], str],
    scale_unit: Callable[..., tuple[str, float]],
    saved: Mapping[str, Mapping[str, Row]],
) -> None:
    """Print a table for each group that has a metric.

    `names`: the metrics to show; None: the standard ones. `times`: pytest-benchmark's columns before them. `saved`: the
    benchmarks of saved runs by path and full name; the rows of `groups` that come from there carry the path.
    """
    groups = [(group, [_with_own_metrics(row, saved) for row in rows]) for group, rows in groups]
    chosen = [metric_named(name) for name in (STANDARD if names is None else names)]
    shown = [
        (group, sorted(rows, key=lambda row: row[sort]))
        for group, rows in groups
        if any(cell(metric, row["extra_info"]) != MISSING for metric in chosen for row in rows)
    ]
    if shown:
        terminal.write_line("")
    for group, rows in shown:
        _print_table(terminal, group, rows, chosen, times, sort, name_format, scale_unit)
    found = {name for _, rows in groups for row in rows for name in row["extra_info"]}
    for name in names or ():
        if found and name not in found:
            terminal.write_line(f"albench: no benchmark has {name!r} in its extra_info; {_known(groups)}", yellow=True)


def _known(groups: Sequence[Group]) -> str:
    """Return the names that could be columns, in words."""
    infos = [row["extra_info"] for _, rows in groups for row in rows]
    fit = sorted({name for info in infos for name in info if cell(metric_named(name), info) != MISSING})
    return f"there are {', '.join(fit)}" if fit else "there is nothing that could be a column"


def _with_own_metrics(row: Row, saved: Mapping[str, Mapping[str, Row]]) -> Row:
    """Return a row with the metrics that belong to it: pytest-benchmark gives a saved run's row those of this run."""
    if row.get("path") is None:
        return row
    benchmark = saved.get(str(row["path"]), {}).get(row["fullname"], {})
    return {**row, "extra_info": benchmark.get("extra_info") or {}}


def _print_table(
    terminal: Terminal,
    group: str | None,
    rows: Sequence[Row],
    metrics: Sequence[Metric],
    times: Sequence[str],
    sort: str,
    name_format: Callable[[dict[str, Any]], str],
    scale_unit: Callable[..., tuple[str, float]],
) -> None:
    unit, per_unit = _scaled(scale_unit, "seconds", rows, sort)
    rate_unit, rate_scale = _scaled(scale_unit, "operations", rows, sort)
    labels = LABELS | {"ops": f"OPS ({rate_unit}ops/s)" if rate_unit else "OPS"}
    columns = [[f"Name (time in {unit}s)", *(name_format(dict(row)) for row in rows)]]
    for time in times:
        if time in COUNTS:
            cells = [str(row[time]) for row in rows]
        else:
            cells = [f"{row[time] * (rate_scale if time in RATES else per_unit):,.4f}" for row in rows]
        columns.append([labels[time], *cells])
    for metric in metrics:
        columns.append([metric.heading, *(cell(metric, row["extra_info"]) for row in rows)])
    widths = [max(map(len, column)) for column in columns]
    heading, *lines = (
        "  ".join([cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))])
        for cells in zip(*columns, strict=True)
    )
    title = f" metrics{'' if group is None else f' {group!r}'}: {len(rows)} test{'' if len(rows) == 1 else 's'} "
    terminal.write_line(title.center(len(heading), "-"), yellow=True)
    terminal.write_line(heading)
    terminal.write_line("-" * len(heading), yellow=True)
    for line in lines:
        terminal.write_line(line)
    terminal.write_line("-" * len(heading), yellow=True)
    terminal.write_line("")


def _scaled(
    scale_unit: Callable[..., tuple[str, float]], unit: str, rows: Sequence[Row], sort: str
) -> tuple[str, float]:
    """Return the prefix and the factor that pytest-benchmark shows this group's numbers with."""
    keys = [key for key in LABELS if key not in COUNTS]
    best = {key: (max if key in RATES else min)(row[key] for row in rows) for key in keys}
    worst = {key: (min if key in RATES else max)(row[key] for row in rows) for key in keys}
    prefix, factor = scale_unit(unit=unit, benchmarks=list(rows), best=best, worst=worst, sort=sort)
    return prefix, factor
