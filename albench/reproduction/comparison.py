"""Comparison: what the paper printed beside what was reached here, one row a number.

A row says of how many seeds it is the mean, how far they scatter (the standard deviation of a sample, so of one seed
there is none), and everything in which the runs are less than or other than the recipe: fewer epochs or seeds, another
batch size, rate or data set. A run that still goes on has a row too. No row says that a reproduction succeeded: the
paper does not say what its "±" is, and three seeds do not tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from albench.analysis.time_to_accuracy import CurvePoint
from albench.reproduction.plan import SEEDS, RunPlan, components_of, target_named
from albench.reproduction.published import SCALES, Measure, Published, Quantity, published

QUANTITIES: dict[str, tuple[Quantity, ...]] = {
    "accuracy": ("test accuracy",),
    "distances": ("inter-class distance", "intra-class distance", "ratio"),
    "table5": ("associated loss",),
    "table6": ("training accuracy", "test accuracy"),
}
"""What a kind of table, or a table, tells of a run."""


@dataclass(frozen=True, kw_only=True)
class Reached:
    """What is known of a run, whether it is finished or not."""

    plan: RunPlan
    epochs: int
    """Epochs trained."""
    planned_epochs: int
    """Epochs that were asked for; where these are trained the run is finished."""
    recipe_epochs: int
    """Epochs of the recipe as the paper has it."""
    seconds: float
    """Wall seconds of training."""
    machine: str = ""
    """Where it was trained, in words."""
    changes: tuple[str, ...] = ()
    """In what it differs from the recipe, such as "batch size 256, not 32"."""
    values: Mapping[tuple[Quantity, int | None], float]
    """Each quantity, and for associated losses the layer; accuracies are shares."""
    learning_curve: tuple[CurvePoint, ...] = ()
    """What it had reached at the end of each epoch."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One number of the paper, or one that it could have had, beside ours."""

    measure: Measure
    published: Published | None
    """None: the paper has no such number."""
    ours: float | None
    """The mean over seeds, in the table's unit; None: there is no run yet."""
    deviation: float | None
    """Standard deviation over seeds, in the same unit; None with fewer than two."""
    seeds: tuple[int, ...]
    unit: str
    remarks: tuple[str, ...] = ()
    """In what these runs are less or other than the recipe; empty: nothing."""

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's, in the table's unit."""
        return None if self.published is None or self.ours is None else self.ours - self.published.value

    @property
    def partial(self) -> bool:
        """Whether there is a number, of less or other than the recipe."""
        return self.ours is not None and bool(self.remarks)


def compare(target: str, plans: Sequence[RunPlan], reached: Sequence[Reached]) -> tuple[Compared, ...]:
    """Return the rows of a table, in the paper's order, what it has not behind; rows of networks not planned are left.

    `plans` are the runs that were asked for, `reached` what there is of them; others among these are not counted.
    """
    prints = {one.measure: one for one in published(target)}
    unit = next((one.unit for one in prints.values()), "")
    measures = dict.fromkeys(measure for plan in plans for measure in _measures(target, plan))
    order = list(prints)
    behind = len(order)
    asked = set(plans)
    rows = []
    for measure in sorted(measures, key=lambda one: order.index(one) if one in prints else behind):
        key = (measure.quantity, measure.layer)
        runs = [
            one for one in reached if one.plan in asked and measure in _measures(target, one.plan) and key in one.values
        ]
        rows.append(_row(measure, prints.get(measure), key, sorted(runs, key=lambda one: one.plan.seed), unit))
    return tuple(rows)


def _measures(target: str, plan: RunPlan) -> list[Measure]:
    """Return the cells of a table that a run adds to."""
    found = target_named(target)
    deep = found.kind == "depth"
    components = components_of(plan) if deep else None
    quantities = QUANTITIES.get(target) or QUANTITIES.get(found.kind, ())
    layers: Sequence[int | None] = range(1, components_of(plan) + 1) if target == "table5" else (None,)
    return [
        Measure(
            dataset=plan.dataset,
            network=plan.network,
            method=plan.method,
            quantity=quantity,
            components=components,
            layer=layer,
        )
        for quantity in quantities
        for layer in layers
    ]


def _row(
    measure: Measure,
    printed: Published | None,
    key: tuple[Quantity, int | None],
    runs: Sequence[Reached],
    unit: str,
) -> Compared:
    values = [SCALES[unit] * run.values[key] for run in runs]
    finite = all(map(math.isfinite, values))
    return Compared(
        measure=measure,
        published=printed,
        ours=fmean(values) if values else None,
        deviation=stdev(values) if len(values) > 1 and finite else None,
        seeds=tuple(run.plan.seed for run in runs),
        unit=unit,
        remarks=tuple(_remarks(runs)) if runs else (),
    )


def _remarks(runs: Sequence[Reached]) -> list[str]:
    """Say in what runs are less or other than the recipe."""
    remarks = []
    fewest, most = min(run.epochs for run in runs), max(run.epochs for run in runs)
    whole = {run.recipe_epochs for run in runs}
    if any(run.epochs < run.recipe_epochs for run in runs):
        trained = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        remarks.append(f"{trained} of {max(whole)} epochs")
    if len(runs) < len(SEEDS):
        remarks.append("1 seed" if len(runs) == 1 else f"{len(runs)} seeds")
    changes = [set(run.changes) for run in runs]
    for change in dict.fromkeys(change for run in runs for change in run.changes):
        everywhere = all(change in own for own in changes)
        remarks.append(change if everywhere else f"{change} in some")
    return remarks
