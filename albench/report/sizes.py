"""Sizes: kinds of work that differ in one size only, the batch or the width, and what can be told across them.

Inside a regime one time is comparable with another. Across regimes it is not, but two things are: training instances a
second against the batch size, with everything else equal (`BatchSweep`), and the ratio of AL's fastest to BP's fastest,
which is taken inside each regime before it is laid beside the others (`SizeMap`).
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from albench.report.regimes import Comparison, Point, Regime, Series, Work

Axis = Literal["batch_size", "width"]
AXES: tuple[Axis, ...] = ("batch_size", "width")
AXIS_WORDS: dict[Axis, str] = {"batch_size": "batch size B", "width": "width"}

FEWEST = 2
"""Sizes, and depths of a map: with one there is nothing to lay side by side."""


@dataclass(frozen=True, kw_only=True)
class BatchLine:
    """One series over batch sizes, at one depth."""

    series: Series
    """The series at one of the batch sizes: what it is called and how it looks."""
    points: tuple[tuple[int, Point], ...]
    """(B, the point that tables show there), small batches first."""

    @property
    def name(self) -> str:
        """What the line is called."""
        return self.series.name


@dataclass(frozen=True, kw_only=True)
class BatchSweep:
    """Training instances a second against the batch size."""

    title: str
    hidden_layers: int
    lines: tuple[BatchLine, ...]

    @property
    def batch_sizes(self) -> list[int]:
        """Every B that was measured."""
        return sorted({size for line in self.lines for size, _ in line.points})


@dataclass(frozen=True, kw_only=True)
class SizeMap:
    """AL's fastest against BP's fastest over depth and one other size."""

    title: str
    axis: Axis
    cells: dict[tuple[int, int], Comparison]
    """By (ℓ, size)."""

    @property
    def depths(self) -> list[int]:
        """Every ℓ with a cell."""
        return sorted({depth for depth, _ in self.cells})

    @property
    def sizes(self) -> list[int]:
        """Every size with a cell."""
        return sorted({size for _, size in self.cells})


def batch_sweeps_of(regimes: Sequence[Regime]) -> list[BatchSweep]:
    """Return a batch sweep for each kind of work that was run with several batch sizes, at its deepest such network."""
    sweeps = []
    for title, alike in _alike(regimes, "batch_size"):
        lines_at = {depth: _batch_lines(alike, depth) for depth in {depth for one in alike for depth in one.depths}}
        depth = max(lines_at, key=lambda depth: (len(lines_at[depth]) > 0, depth))
        if lines_at[depth]:
            sweeps.append(BatchSweep(title=f"ℓ = {depth}, {title}", hidden_layers=depth, lines=lines_at[depth]))
    return sweeps


def size_maps_of(regimes: Sequence[Regime]) -> list[SizeMap]:
    """Return the maps over depth × batch size, then those over depth × width, where there are two of each or more."""
    maps = []
    for axis in AXES:
        for title, alike in _alike(regimes, axis):
            cells = {
                (one.hidden_layers, getattr(regime.work, axis)): one for regime in alike for one in regime.comparisons
            }
            found = SizeMap(title=title, axis=axis, cells=cells)
            if min(len(found.depths), len(found.sizes)) >= FEWEST:
                maps.append(found)
    return maps


def _batch_lines(alike: Sequence[Regime], depth: int) -> tuple[BatchLine, ...]:
    """Return the series that were run at a depth with several batch sizes."""
    points: dict[str, list[tuple[int, Point]]] = defaultdict(list)
    found: dict[str, Series] = {}
    for regime in alike:
        for series in regime.series:
            if point := series.shown(depth, regime.minibatches):
                points[series.name].append((regime.work.batch_size, point))
                found[series.name] = series
    return tuple(BatchLine(series=found[name], points=tuple(own)) for name, own in points.items() if len(own) >= FEWEST)


def _alike(regimes: Sequence[Regime], axis: Axis) -> list[tuple[str, list[Regime]]]:
    """Return the groups of regimes that differ in nothing but `axis`, small sizes first, each with its title."""
    groups: dict[tuple[object, ...], list[Regime]] = defaultdict(list)
    for regime in regimes:
        groups[_rest(regime.work, axis)].append(regime)
    found = []
    for own in groups.values():
        if len(own) >= FEWEST:
            own.sort(key=lambda regime: getattr(regime.work, axis))
            found.append((_title([regime.work for regime in regimes], own[0].work, axis), own))
    return found


def _rest(work: Work, axis: Axis) -> tuple[object, ...]:
    """Return all that makes a kind of work but `axis`; bridges count in widths, as wider networks have wider ones."""
    bridge = None if work.bridge_width is None else Fraction(work.bridge_width, work.width)
    names = [field.name for field in dataclasses.fields(work) if field.name not in (axis, "bridge_width")]
    return (*[getattr(work, name) for name in names], bridge)


def _title(everything: Sequence[Work], own: Work, axis: Axis) -> str:
    """Return what the group has in common: its other size, and whatever else is not the same in all of the report."""
    parts = [f"width {own.width}" if axis == "batch_size" else f"batch {own.batch_size}"]
    parts += [
        str(getattr(own, name))
        for name in ("network", "dataset", "precision", "device")
        if len({getattr(work, name) for work in everything}) > 1
    ]
    if len({work.bridge for work in everything}) > 1:
        parts.append(f"{own.bridge} bridges")
    if len({work.bridge_width is None for work in everything}) > 1:
        parts.append("one-layer bridges" if own.bridge_width is None else "bridges with a hidden layer")
    return ", ".join(parts)
