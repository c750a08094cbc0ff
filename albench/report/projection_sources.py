"""Projection sources: what the records of one kind of work hold that a projection can be made from.

Times on **one lane** are measured; what they would give on many is worked out. What one task of each component of AL
takes is timed by the serial engine. What a pipeline of back-propagation does with a microbatch is not timed by itself,
so it is taken, for each number of microbatches M, from the best source that the records hold:

    1. the pipeline itself on one lane, with the same M: all its microbatches, its update and its own overhead
    2. the pipeline itself on few lanes, with the same M, less the waiting that its schedule explains
    3. BP on one lane with a batch of B/M, M times: an upper bound, for each of them pays for an update
    4. BP on one lane with a batch of B: in proportion, as if small matrix products were as efficient as large ones
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TypeVar

from albench.analysis.projection import (
    TURNS,
    Layer,
    on_lanes,
    operations,
    seconds_at_depth,
    stages_on_lanes,
    twin_layers,
)
from albench.harness.control import latest
from albench.harness.records import Record, is_measured
from albench.harness.scenario import Scenario
from albench.methods import lanes_run_components, method_named
from albench.report.grouping import by_series
from albench.report.regimes import Work
from albench.report.words import counted, number

Key = TypeVar("Key")

STAGE_ENGINES = {"cpu": ("eager",), "cuda": ("graph", "eager")}
"""BP's engines that do on one lane what a stage does, by device: the same launches, one by one or recorded."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A kind of work and what a lane is: times are comparable inside it only."""

    work: Work
    lane_kind: str
    lane_sms: int | None

    @classmethod
    def of(cls, scenario: Scenario) -> Place:
        """Return the place of a scenario."""
        return cls(work=Work.of(scenario), lane_kind=scenario.lane_kind, lane_sms=scenario.lane_sms)

    @property
    def lane(self) -> str:
        """What a lane is, in words."""
        if self.work.device == "cpu":
            return "a CPU core"
        if self.lane_kind == "stream":
            return "a whole GPU"
        return (
            f"a share of {self.lane_sms} multiprocessors" if self.lane_sms else "an even share of the multiprocessors"
        )


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """Seconds of one task of each component."""

    seconds: tuple[float, ...]
    source: str
    """Where they come from, in words."""
    is_mean: bool = False
    """Whether they are the time of one lane, spread evenly."""


@dataclass(frozen=True, kw_only=True)
class Microbatches:
    """Seconds of all microbatches of a mini-batch, one after the other on one lane, update included."""

    seconds: float
    source: str
    from_lanes: int = 1
    """How many lanes they were measured on."""
    is_bound: bool = False
    """Whether they are in proportion only: the pipeline cannot be faster than what is projected from them."""


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Seconds of one mini-batch on one lane, by depth."""

    name: str
    engine: str
    seconds: Mapping[int, float]

    def at(self, hidden_layers: int, layers_of: Callable[[int], Sequence[Layer]]) -> tuple[float, str]:
        """Return the seconds at a depth, and where they come from if that depth was not measured.

        `layers_of` gives the linear layers at a depth.
        """
        found = seconds_at_depth(self.seconds, hidden_layers)
        depths = ", ".join(map(str, sorted(self.seconds)))
        if found is not None:
            measured = hidden_layers in self.seconds
            return found, "" if measured else f"on the line through its times at ℓ = {depths}"
        deepest = max(self.seconds)
        ratio = operations(layers_of(hidden_layers)) / operations(layers_of(deepest))
        return self.seconds[deepest] * ratio, f"from ℓ = {deepest}, in proportion to the operations"


class Sources:
    """The measured times of one place, and those of its work at other batch sizes."""

    def __init__(self, place: Place, records: Sequence[Record], others: Mapping[Place, Sequence[Record]]) -> None:
        """`records`: measured, of time sweeps, of this place; `others`: those of all places."""
        self.place = place
        self.records = records
        self._smaller = {
            other.work.batch_size: found
            for other, found in others.items()
            if dataclasses.replace(other, work=dataclasses.replace(other.work, batch_size=place.work.batch_size))
            == place
        }

    @cached_property
    def tasks(self) -> dict[int, Tasks]:
        """Task times of AL by depth."""
        found: dict[int, Tasks] = {}
        for name, group in by_series(self.records).items():
            if group[0].scenario.method != "al":
                continue
            for depth, rounds in _by_depth(group).items():
                timed = [record.task_seconds for record in rounds if record.task_seconds]
                if timed and depth not in found:
                    found[depth] = Tasks(
                        seconds=tuple(median(one) for one in zip(*timed, strict=True)),
                        source=f"in {name}, task by task, the median of {counted(len(timed), 'round')}",
                    )
        for name, group in by_series(self.records).items():
            for depth, rounds in _by_depth(group).items():
                one = rounds[0]
                alone = runs_tasks(one) and one.lanes == 1
                if depth not in found and alone and one.components and one.components > 1:
                    share = _minibatch_seconds(rounds) / one.components
                    found[depth] = Tasks(
                        seconds=(share,) * one.components,
                        source=f"in {name} on one lane, spread evenly over the components",
                        is_mean=True,
                    )
        return found

    def tasks_at(self, hidden_layers: int, *, below: int | None = None) -> Tasks | None:
        """Return AL's task times at a measured depth, as long as they are on lanes that work at once; None: unknown.

        Lanes that share a machine slow each other down, and handing over takes time. Where AL was measured on several
        lanes, all its tasks are made so much longer that what is projected for the fewest of these is what was measured
        there, as those of pipelines are by `microbatches`; `below` means what it means there.
        """
        alone = self.tasks.get(hidden_layers)
        several = [
            record
            for record in self.records
            if record.scenario.hidden_layers == hidden_layers
            and runs_tasks(record)
            and 1 < record.lanes < (below or math.inf)
            and has_lanes_of_its_own(record)
        ]
        if alone is None or not several:
            return alone
        fewest = min(record.lanes for record in several)
        ways = _by((r for r in several if r.lanes == fewest), lambda record: record.scenario.engine)
        ratio = min(
            _minibatch_seconds(rounds) / (on_lanes(alone.seconds, longest, fewest).seconds / longest)
            for rounds in ways.values()
            for longest in [max(record.scenario.minibatches for record in rounds)]
        )
        return Tasks(
            seconds=tuple(ratio * seconds for seconds in alone.seconds),
            source=f"{alone.source}, times {number(ratio)}, with which they take as long as measured on {fewest} lanes",
        )

    @cached_property
    def bp(self) -> list[Steps]:
        """BP on one lane, a series an engine."""
        return _bp_on_one_lane(self.records)

    @cached_property
    def stage_steps(self) -> Steps | None:
        """BP on one lane as a stage does it."""
        return _like_a_stage(self.bp, self.place)

    def fastest_bp(self, hidden_layers: int) -> tuple[str, float, str] | None:
        """Return BP's fastest way on one lane at a depth: name, seconds of a mini-batch, where from if not measured."""
        found = [(*steps.at(hidden_layers, self.layers), steps.name) for steps in self.bp]
        if not found:
            return None
        # What was measured at this depth comes before what was worked out.
        seconds, source, name = min(found, key=lambda one: (bool(one[1]), one[0]))
        return name, seconds, source

    def layers(self, hidden_layers: int) -> list[Layer]:
        """Return the linear layers of BP's network at a depth.

        How many inputs and classes the data have, a record does not say; but parameters and operations of BP's step are
        two equations for them. Where these are missing, both count as wide as a hidden layer.
        """
        work = self.place.work
        inputs, classes = self.ends or (work.width, work.width)
        return twin_layers(
            inputs=inputs,
            width=work.width,
            hidden_layers=hidden_layers,
            classes=classes,
            bridge_width=work.bridge_width,
        )

    @cached_property
    def ends(self) -> tuple[int, int] | None:
        """Inputs and classes; None: no record tells."""
        found = (_inputs_and_classes(record) for record in self.records if record.scenario.method == "bp")
        return next((ends for ends in found if ends), None)

    def microbatches(
        self, method: str, count: int, hidden_layers: int, *, below: int | None = None
    ) -> Microbatches | None:
        """Return what `count` microbatches of a pipeline take on one lane; None where BP was not measured on one lane.

        `below`: use times on fewer lanes than that only, so that what is projected for so many is no echo.
        """
        steps = self.stage_steps
        if steps is None:
            return None
        batch_size = self.place.work.batch_size
        own = self._of_pipelines(method, count, below)
        if own is not None:
            lanes, taken = own
            seconds, grown = taken.at(hidden_layers, self.layers)
            return Microbatches(seconds=seconds, source=_sourced(taken.name, grown), from_lanes=lanes)
        whole, source = steps.at(hidden_layers, self.layers)
        if count == 1:
            return Microbatches(seconds=whole, source=_sourced(steps.name, source))
        smaller = self._smaller.get(batch_size // count, ())
        small = _like_a_stage(_bp_on_one_lane(smaller), self.place)
        if small is not None:
            seconds, grown = small.at(hidden_layers, self.layers)
            how = f"so many steps of {small.name} with a batch of B/M, each with an update"
            return Microbatches(seconds=count * seconds, source=_sourced(how, grown))
        how = f"{steps.name} with a batch of {batch_size}, as if small matrix products were as efficient as large ones"
        return Microbatches(
            seconds=whole, source=_sourced(f"{how}, which flatters these pipelines (≤)", source), is_bound=True
        )

    def _of_pipelines(self, method: str, microbatches: int, below: int | None) -> tuple[int, Steps] | None:
        """Return what a pipeline itself took, as if on one lane, and on how many lanes that was: the fewest."""
        alike = [
            record
            for record in self.records
            if record.scenario.method in TURNS and record.scenario.microbatches == microbatches
        ]
        for name in (method, *TURNS):  # on one lane every schedule does the same
            alone = [record for record in alike if record.scenario.method == name and record.lanes == 1]
            if alone:
                told = "that pipeline" if name == method else method_named(name).title
                return 1, _steps(f"{told} itself with as many microbatches on one lane", alone)
        several = [
            record
            for record in alike
            if record.scenario.method == method
            and 1 < record.lanes < (below or math.inf)
            and has_lanes_of_its_own(record)
        ]
        if not several:
            return None
        seconds: dict[int, float] = {}
        fewest = min(record.lanes for record in several)
        for depth, group in _by_depth(record for record in several if record.lanes == fewest).items():
            unit = stages_on_lanes(
                TURNS[method](fewest, microbatches), self.layers(depth), 1, minibatch_seconds=1.0, row_bytes=0.0
            )
            ways = _by(group, lambda record: record.scenario.engine)
            seconds[depth] = min(map(_minibatch_seconds, ways.values())) / unit.seconds
        name = f"that pipeline itself with as many microbatches on {fewest} lanes, less the waiting of its schedule"
        return fewest, Steps(name=name, engine=several[0].scenario.engine, seconds=seconds)


def sources_of(records: Iterable[Record]) -> list[Sources]:
    """Return the sources of each place that was measured, small work first."""
    groups: dict[Place, list[Record]] = defaultdict(list)
    for record in latest(records):
        if is_measured(record) and record.scenario.purpose == "time":
            groups[Place.of(record.scenario)].append(record)
    places = sorted(groups, key=lambda place: (place.work.order, place.lane_kind, place.lane_sms or 0))
    return [Sources(place, groups[place], groups) for place in places]


def has_lanes_of_its_own(record: Record) -> bool:
    """Whether each lane of a record was what a projection takes it for: as much of a machine as one lane had alone.

    Not streams of one GPU, which share it, nor shares that get smaller the more there are, nor more threads or
    processes than cores.
    """
    if record.lanes == 1:
        return True
    scenario = record.scenario
    if scenario.device == "cpu":
        cores = record.environment.get("usable_cores")
        return not isinstance(cores, int) or record.lanes <= cores
    if scenario.lane_kind == "sm-share":
        return scenario.lane_sms is not None
    return record.lane_kind in ("process", "gpu")


def runs_tasks(record: Record) -> bool:
    """Whether a record is of AL with a task at a time on each lane, and not of all components stacked."""
    scenario = record.scenario
    return scenario.method == "al" and (scenario.engine == "serial" or lanes_run_components("al", scenario.engine))


def _by(records: Iterable[Record], key: Callable[[Record], Key]) -> dict[Key, list[Record]]:
    found: dict[Key, list[Record]] = defaultdict(list)
    for record in records:
        found[key(record)].append(record)
    return found


def _by_depth(records: Iterable[Record]) -> dict[int, list[Record]]:
    return _by(records, lambda record: record.scenario.hidden_layers)


def _minibatch_seconds(records: Sequence[Record]) -> float:
    """Return the median seconds of a mini-batch, of the longest runs."""
    longest = max(record.scenario.minibatches for record in records)
    return median((r.seconds or 0.0) / longest for r in records if r.scenario.minibatches == longest)


def _bp_on_one_lane(records: Sequence[Record]) -> list[Steps]:
    own = [record for record in records if record.scenario.method == "bp" and record.scenario.lanes == 1]
    return [_steps(name, group) for name, group in by_series(own).items()]


def _steps(name: str, records: Sequence[Record]) -> Steps:
    seconds = {depth: _minibatch_seconds(group) for depth, group in _by_depth(records).items()}
    return Steps(name=name, engine=records[0].scenario.engine, seconds=seconds)


def _like_a_stage(bp: Sequence[Steps], place: Place) -> Steps | None:
    """Return the series of BP whose engine does what a stage does."""
    return next((one for engine in STAGE_ENGINES[place.work.device] for one in bp if one.engine == engine), None)


def _inputs_and_classes(record: Record) -> tuple[int, int] | None:
    """Return I and C from BP's parameters P and the operations 2·B·m of its step; None where they do not tell.

    With H weights between hidden layers of U units in all, of which W in the first and the last,

        P = I·W + H + W·C + U + C                m = 2·I·W + 3·H + 3·W·C
    """
    scenario = record.scenario
    if record.effective_parameters is None or record.flops_per_minibatch is None or scenario.width < 3:
        return None
    hidden = twin_layers(
        inputs=0,
        width=scenario.width,
        hidden_layers=scenario.hidden_layers,
        classes=0,
        bridge_width=scenario.bridge_width,
    )
    between = sum(layer.weights for layer in hidden)
    known = record.effective_parameters - between - sum(layer.outputs for layer in hidden)
    passes = record.flops_per_minibatch / (2 * scenario.batch_size) - 3 * between
    classes = (passes - 2 * known) / (scenario.width - 2)
    inputs = (known - classes * (scenario.width + 1)) / scenario.width
    if classes != int(classes) or inputs != int(inputs) or classes < 1 or inputs < 1:
        return None
    return int(inputs), int(classes)


def _sourced(what: str, more: str) -> str:
    return f"{what}, {more}" if more else what
