"""Overrides: axes that a person gives in place of a suite's own, on the command line or in a file.

Methods and engines filter contenders; every other axis takes the place of the grid's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from albench.errors import UsageError, unknown_name
from albench.harness.grid import Contender, Grid
from albench.machine import LANE_KINDS, LaneKind
from albench.methods import METHODS, method_named
from albench.networks import BRIDGE_FORMS, network_named

AXES_OF_CONTENDERS = ("lanes", "microbatches", "replicas")
"""Numbers that belong to a contender and not to the grid: they change only contenders to which they mean something."""
DISTINCT_TARGETS: dict[str, bool | Literal["auto"]] = {"auto": "auto", "on": True, "off": False}


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """Axes given on the command line or in a file; None leaves a suite's own."""

    methods: tuple[str, ...] | None = None
    engines: tuple[str, ...] | None = None
    hidden_layers: tuple[int, ...] | None = None
    widths: tuple[int, ...] | None = None
    batch_sizes: tuple[int, ...] | None = None
    minibatches: tuple[int, ...] | None = None
    lanes: tuple[int, ...] | None = None
    seeds: tuple[int, ...] | None = None
    datasets: tuple[str, ...] | None = None
    microbatches: tuple[int, ...] | None = None
    replicas: tuple[int, ...] | None = None
    lane_kinds: tuple[str, ...] | None = None
    distinct_targets: tuple[str, ...] | None = None
    """Such as "auto", "on" and "off"."""
    lane_sms: int | None = None
    """Multiprocessors of a share of a GPU: lanes there are such shares then."""
    device: str | None = None
    precision: str | None = None
    learning_rate: float | None = None
    bridge_factor: int | None = None
    initial_scale: float | None = None
    network: str | None = None
    bridge: str | None = None

    def __post_init__(self) -> None:
        """Refuse unknown names, and numbers of lanes, microbatches and replicas under one."""
        for method in self.methods or ():
            method_named(method)
        known = sorted({engine for method in METHODS.values() for engine in method.engines})
        for engine in self.engines or ():
            if engine not in known:
                raise unknown_name("engine", engine, known)
        if self.lane_sms is not None and self.lane_kinds == ("stream",):
            raise UsageError(
                f"lane SMs is {self.lane_sms}: plain streams have none of their own, give lane kind sm-share"
            )
        for kind in self.lane_kinds or ():
            if kind not in LANE_KINDS:
                raise unknown_name("lane kind", kind, LANE_KINDS)
        if self.network is not None:
            network_named(self.network)
        if self.bridge is not None and self.bridge not in BRIDGE_FORMS:
            raise unknown_name("bridge", self.bridge, BRIDGE_FORMS)
        for word in self.distinct_targets or ():
            if word not in DISTINCT_TARGETS:
                raise unknown_name("distinct targets", word, DISTINCT_TARGETS)
        for name in AXES_OF_CONTENDERS:
            for value in getattr(self, name) or ():
                if value < 1:
                    raise UsageError(f"{name} is {value}: give a whole number of at least 1")

    def over(self, below: Overrides) -> Overrides:
        """Return these axes, and those of `below` where nothing is given here."""
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return dataclasses.replace(below, **{name: value for name, value in given.items() if value is not None})

    def _on_kinds(self, contender: Contender) -> list[Contender]:
        """Return a contender on each kind of lanes that was given, shares of the size that was; a size alone is one."""
        if not contender.takes_lane_kind:
            return [contender]
        kinds = self.lane_kinds or ((contender.lane_kind,) if self.lane_sms is None else ("sm-share",))
        size = contender.lane_sms if self.lane_sms is None else self.lane_sms
        return [
            dataclasses.replace(
                contender, lane_kind=cast("LaneKind", kind), lane_sms=None if kind == "stream" else size
            )
            for kind in kinds
        ]

    def apply(self, grid: Grid) -> list[Grid]:
        """Return the grid with these axes, one a data set."""
        contenders = [
            contender
            for contender in grid.contenders
            if (self.methods is None or contender.method in self.methods)
            and (self.engines is None or contender.engine in self.engines)
        ]
        # What the lanes are before how many: BP takes several threads, and one share of a GPU.
        contenders = [one for contender in contenders for one in self._on_kinds(contender)]
        axes: dict[str, Sequence[Any] | None] = {name: getattr(self, name) for name in AXES_OF_CONTENDERS}
        if self.distinct_targets is not None:
            axes["distinct_targets"] = [DISTINCT_TARGETS[word] for word in self.distinct_targets]
        for name, values in axes.items():
            if values is not None:
                contenders = [
                    dataclasses.replace(contender, **{name: value})
                    for contender in contenders
                    for value in (values if getattr(contender, f"takes_{name}") else (getattr(contender, name),))
                ]
        changed = dataclasses.replace(
            grid,
            contenders=tuple(dict.fromkeys(contenders)),
            hidden_layers=self.hidden_layers or grid.hidden_layers,
            widths=self.widths or grid.widths,
            batch_sizes=self.batch_sizes or grid.batch_sizes,
            minibatches=self.minibatches or grid.minibatches,
            seeds=self.seeds or grid.seeds,
            **{
                name: getattr(grid if getattr(self, name) is None else self, name)
                for name in (
                    "device",
                    "precision",
                    "learning_rate",
                    "bridge_factor",
                    "initial_scale",
                    "network",
                    "bridge",
                )
            },
        )
        if grid.one_point:  # one case tells its share, however many points the other axes get
            return [dataclasses.replace(changed.at_one_point(), dataset=(self.datasets or (grid.dataset,))[0])]
        return [dataclasses.replace(changed, dataset=name) for name in self.datasets or (grid.dataset,)]
