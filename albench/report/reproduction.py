"""Reproduction: a table or figure of the paper beside ours, as a page, Markdown, CSV and for the terminal.

One table of rows, one of runs, and the figure where it is one; everything printed prints these, as in the other
reports. Numbers of the paper stand with the digits that it printed.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from dataclasses import dataclass
from pathlib import Path

from matplotlib import rc_context
from rich.table import Table as RichTable

from albench.methods import method_named
from albench.report.curve_figure import curve_drawing
from albench.report.drawing import Drawing
from albench.report.files import figure_files, write_files
from albench.report.learning_curves import (
    LearningCurve,
    LearningCurves,
    time_to_accuracy_sentences,
    time_to_accuracy_tables,
)
from albench.report.style import STYLE
from albench.report.tables import NO_CELL, Cell, Row, Table, markdown, markdown_text, terminal
from albench.report.templating import rendered
from albench.report.words import counted, listed, number
from albench.reproduction.comparison import Compared, Reached
from albench.reproduction.plan import RunPlan, components_of, target_named
from albench.reproduction.published import Published, published

NETWORK_TITLES = {"mlp": "MLP", "cnn": "vanilla CNN", "resnet20": "ResNet-20", "resnet32": "ResNet-32", "vgg": "VGG"}
DATASET_TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
LOSS_DIGITS = 5
"""Of losses, which the paper prints as powers of ten."""
ACCURACY_DIGITS = {"%": 2, "": 4}
"""Digits behind the point of accuracies: as fine as one of 10,000 test instances."""


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A table or figure of the paper, and what there is of it."""

    target: str
    """Such as "table2"."""
    rows: tuple[Compared, ...]
    plans: tuple[RunPlan, ...]
    reached: tuple[Reached, ...]
    """The runs that have begun."""
    drawings: tuple[Drawing, ...] = ()


def write_reproduction(found: Reproduction, out: Path, *, command: str) -> Path:
    """Write the page, ``summary.md``, ``summary.csv`` and figures into a directory; return the path of the page.

    The learning curves are drawn beside what `found` has.

    A directory that cannot be written is a `UsageError`.
    """
    found = dataclasses.replace(found, drawings=(*found.drawings, *curve_drawings(found)))
    files: dict[str, bytes | str] = {**figure_files(found.drawings)}
    if found.rows:
        files["summary.csv"] = reproduction_csv(found)
    files["summary.md"] = reproduction_markdown(found, command=command)
    files["index.html"] = reproduction_html(found, command=command)
    write_files(out, files)
    return out / "index.html"


def headline(found: Reproduction) -> str:
    """Say in one sentence how much of the table or figure is there."""
    begun, planned = len(found.reached), len(found.plans)
    if target_named(found.target).kind == "figure":
        state = "is drawn" if found.drawings else "cannot be drawn yet"
        return f"The figure {state}: {begun} of {counted(planned, 'run')} begun."
    printed = published(found.target)  # all of them, however few were asked for
    there = [row for row in found.rows if row.published is not None and row.ours is not None]
    whole = [row for row in there if not row.partial]
    if not there:
        return f"None of the paper's {counted(len(printed), 'number')} is there yet."
    by = "all by the whole recipe" if len(whole) == len(there) else f"{len(whole)} of them by the whole recipe"
    verb = "is" if len(there) == 1 else "are"
    return f"Of the paper's {counted(len(printed), 'number')} {len(there)} {verb} there, {by}."


def comparison_table(found: Reproduction) -> Table | None:
    """Return the paper's numbers beside ours; None for a figure."""
    target = target_named(found.target)
    if not found.rows:
        return None
    unit = found.rows[0].unit
    several = len({row.measure.dataset for row in found.rows}) > 1
    return Table(
        caption=target.title,
        columns=("", "paper", "here", "here - paper", "seeds", "what is less or other than the recipe"),
        rows=tuple(
            Row(
                cells=(
                    Cell(_name(row, with_dataset=several)),
                    Cell(_printed(row.published), value=row.published.value) if row.published else Cell(NO_CELL),
                    _cell(row, row.ours, row.deviation),
                    _cell(row, row.difference, None, sign=True),
                    Cell(str(len(row.seeds)), value=len(row.seeds)),
                    Cell("; ".join(row.remarks) or NO_CELL),
                )
            )
            for row in found.rows
        ),
        note=f"{'Accuracies in %. ' if unit == '%' else ''}Behind ± here: the standard deviation over seeds; the paper "
        f"does not say what its own is. {target.note}".strip(),
    )


def run_table(found: Reproduction) -> Table:
    """Return every run that was asked for and how far it is."""
    begun = {one.plan: one for one in found.reached}
    rows = []
    for plan in found.plans:
        run = begun.get(plan)
        state = "not begun" if run is None else "finished" if run.epochs >= run.planned_epochs else "begun"
        rows.append(
            Row(
                cells=(
                    Cell(plan.name),
                    Cell(state),
                    Cell(NO_CELL) if run is None else Cell(f"{run.epochs} of {run.planned_epochs}", value=run.epochs),
                    Cell(NO_CELL) if run is None else Cell(number(run.seconds), value=run.seconds),
                )
            )
        )
    return Table(
        caption="Runs",
        columns=("run", "state", "epochs", "training seconds"),
        rows=tuple(rows),
        note=" ".join(
            [
                "Each run is a folder of this name, with its epochs and a checkpoint.",
                *(
                    f"Trained on {machine}."
                    for machine in dict.fromkeys(run.machine for run in found.reached)
                    if machine
                ),
            ]
        ),
    )


def learning_curves(found: Reproduction) -> list[LearningCurves]:
    """Return accuracy against seconds of training, a set for each data set and network; of a table of accuracies only.

    Runs that differ in their seeds are one contender's.
    """
    if target_named(found.target).kind not in ("accuracy", "depth"):
        return []
    groups: dict[tuple[str, str], dict[str, list[Reached]]] = {}
    for run in found.reached:
        if any(point.accuracy is not None for point in run.learning_curve):
            plan = run.plan
            name = method_named(plan.method).title
            if target_named(found.target).kind == "depth":
                name += f", {counted(components_of(plan), 'component layer')}"
            groups.setdefault((plan.dataset, plan.network), {}).setdefault(name, []).append(run)
    return [
        LearningCurves(
            title=f"{NETWORK_TITLES.get(network, network)} on {DATASET_TITLES.get(dataset, dataset)}",
            curves=tuple(
                LearningCurve(name=name, method=runs[0].plan.method, runs=tuple(run.learning_curve for run in runs))
                for name, runs in own.items()
            ),
        )
        for (dataset, network), own in groups.items()
    ]


def curve_drawings(found: Reproduction) -> list[Drawing]:
    """Draw the learning curves, a figure for each data set and network."""
    with rc_context(STYLE):
        return [
            curve_drawing([one], f"{i}-accuracy-against-seconds") for i, one in enumerate(learning_curves(found), 1)
        ]


def terminal_tables(found: Reproduction) -> list[RichTable]:
    """Return the tables for a terminal."""
    return [terminal(table) for table in (comparison_table(found), run_table(found)) if table]


def reproduction_csv(found: Reproduction) -> str:
    """Return the rows as comma-separated values, in the units of the paper's table."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        [
            *("target", "dataset", "network", "method", "components", "layer", "quantity", "unit"),
            *("paper", "paper_deviation", "here", "here_deviation", "difference", "seeds", "remarks"),
        ]
    )
    for row in found.rows:
        measure, printed = row.measure, row.published
        writer.writerow(
            [
                *(found.target, measure.dataset, measure.network, measure.method, measure.components, measure.layer),
                *(measure.quantity, row.unit, printed and printed.value, printed and printed.deviation),
                *(row.ours, row.deviation, row.difference, " ".join(map(str, row.seeds)), "; ".join(row.remarks)),
            ]
        )
    return stream.getvalue()


def reproduction_markdown(found: Reproduction, *, command: str) -> str:
    """Return everything in Markdown."""
    lines = [f"# {markdown_text(target_named(found.target).title)}", "", f"**{markdown_text(headline(found))}**", ""]
    if (table := comparison_table(found)) is not None:
        lines.append(markdown(table))
    for drawing in found.drawings:
        lines += [
            f"![{markdown_text(drawing.alt)}](figures/{drawing.name}.png)",
            f"\n{markdown_text(drawing.reading)} {markdown_text(drawing.limits)}\n",
        ]
    lines += [f"- {markdown_text(sentence)}" for sentence in _sentences(found)]
    lines += ["", *map(markdown, time_to_accuracy_tables(learning_curves(found)))]
    lines += ["", markdown(run_table(found)), "## Reproduce", "", "```", command.replace("```", ""), "```", ""]
    return "\n".join(lines)


def reproduction_html(found: Reproduction, *, command: str) -> str:
    """Return the page, complete in itself."""
    return rendered(
        "reproduction.html.j2",
        title=target_named(found.target).title,
        summary=headline(found),
        sentences=_sentences(found),
        comparison=comparison_table(found),
        figures=found.drawings,
        clocks=time_to_accuracy_tables(learning_curves(found)),
        runs=run_table(found),
        command=command,
        has_numbers=bool(found.rows),
    )


def _sentences(found: Reproduction) -> list[str]:
    """Say what is missing, and of a figure in what its runs are less or other than the recipe."""
    sentences = time_to_accuracy_sentences(learning_curves(found))
    begun = {one.plan for one in found.reached}
    if missing := [plan.name for plan in found.plans if plan not in begun]:
        shown = missing if len(missing) <= 5 else [*missing[:4], f"{len(missing) - 4} more"]
        sentences.append(f"Not begun: {listed(shown)}.")
    if not found.rows:  # a table has them row by row
        for run in found.reached:
            less = [f"{run.epochs} of {run.recipe_epochs} epochs"] if run.epochs < run.recipe_epochs else []
            if remarks := [*less, *run.changes]:
                sentences.append(f"{run.plan.name}: {'; '.join(remarks)}.")
    return sentences


def _name(row: Compared, *, with_dataset: bool) -> str:
    """Return what a number is of, as a person says it."""
    measure = row.measure
    parts = [DATASET_TITLES.get(measure.dataset, measure.dataset)] if with_dataset else []
    if measure.components is not None:
        parts.append(counted(measure.components, "component layer"))
    else:
        parts += [NETWORK_TITLES.get(measure.network, measure.network), method_named(measure.method).title]
    if measure.layer is not None:
        parts.append(f"layer {measure.layer}")
    elif measure.components is not None or measure.quantity.endswith("distance") or measure.quantity == "ratio":
        parts.append(measure.quantity)
    return ", ".join(parts)


def _printed(printed: Published) -> str:
    """Return a number of the paper with the digits that it printed."""
    if printed.measure.quantity == "associated loss":
        return number(printed.value, printed.digits + 1)
    deviation = "" if printed.deviation is None else f" ± {printed.deviation:.{printed.digits}f}"
    return f"{printed.value:.{printed.digits}f}{deviation}"


def _cell(row: Compared, value: float | None, deviation: float | None, *, sign: bool = False) -> Cell:
    """Return a number of ours, or a difference, with as many digits as it is worth."""
    if value is None:
        return Cell(NO_CELL)
    if row.measure.quantity == "associated loss":
        shown = number(value, LOSS_DIGITS)
        spread = "" if deviation is None else f"± {number(deviation, 2)}"
    else:
        digits = ACCURACY_DIGITS[row.unit] if "accuracy" in row.measure.quantity else 2
        shown = f"{value:{'+' if sign else ''}.{digits}f}"
        spread = "" if deviation is None else f"± {deviation:.{digits}f}"
    return Cell(shown, spread, value=value)
