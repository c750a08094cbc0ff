"""Lane sweeps: how many times as fast everyone gets on K lanes as on one, at the same mini-batches of the same network.

What one lane is, is the whole question, so each line says what it was measured against:

    BP, AL fused, BP compiled      itself on one lane (one intra-op thread)
    AL on lanes of its own         itself on one lane; AL serial where that was not measured
    pipelines of BP, DDP           BP's fastest way on one lane
    AL + DDP                       AL serial

The ideal is K lanes K times as fast. A pipeline of BP waits by design, and has an ideal of its own under that
(`albench.analysis.baselines`), which depends on its number of microbatches M: at each K its best M is shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from albench.analysis import baselines
from albench.analysis.baselines import Side, Standing
from albench.analysis.statistics import Interval
from albench.harness.records import Record
from albench.methods import METHODS, lanes_run_components
from albench.report.contests import standing_of
from albench.report.grouping import by_series, titles_of
from albench.report.regimes import Work


@dataclass(frozen=True, kw_only=True)
class LanePoint:
    """One number of lanes of a line: its fastest way there."""

    lanes: int
    speedup: Interval
    """Times as fast as the line's measure."""
    ideal: float
    """The most that it could be: K, or what a pipeline's schedule allows."""
    microbatches: int | None = None


@dataclass(frozen=True, kw_only=True)
class LaneLine:
    """One method on one engine, over lanes."""

    name: str
    side: Side
    measure: str
    """Series whose time on one lane is 1."""
    points: tuple[LanePoint, ...]
    """Few lanes first; where the line is its own measure, one lane is among them."""


@dataclass(frozen=True, kw_only=True)
class LaneSweep:
    """Everyone who ran the same mini-batches on several numbers of lanes."""

    work: Work
    title: str
    hidden_layers: int
    minibatches: int
    lane_sms: int | None
    """Multiprocessors of each lane, where lanes are shares of a GPU."""
    lines: tuple[LaneLine, ...]

    @property
    def lane_counts(self) -> list[int]:
        """Every K that was measured; one lane is where all lines start."""
        return sorted({1} | {point.lanes for line in self.lines for point in line.points})


def lane_sweeps_of(timed: Sequence[Record]) -> list[LaneSweep]:
    """Return the lane sweep of each kind of work, small work first: at the ℓ and N that were run on the most lanes.

    Shares of a GPU are lanes where each is as large however many there are; an even split of one card is not more
    hardware with more of them, and is left out.
    """
    groups: dict[Work, dict[tuple[int | None, int, int], list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in timed:
        scenario = record.scenario
        if scenario.lane_kind == "stream" or scenario.lane_sms is not None:
            place = scenario.lane_sms, scenario.hidden_layers, scenario.minibatches
            groups[Work.of(scenario)][place].append(record)
    works = sorted(groups, key=lambda work: work.order)
    titles = titles_of(works)
    sweeps = []
    for work in works:
        lane_sms, hidden_layers, minibatches = best = max(
            groups[work], key=lambda place: _size(groups[work][place], place)
        )
        if lines := _lines(groups[work][best]):
            sweeps.append(
                LaneSweep(
                    work=work,
                    title=f"ℓ = {hidden_layers}, {titles[work]}, N = {minibatches}",
                    hidden_layers=hidden_layers,
                    minibatches=minibatches,
                    lane_sms=lane_sms,
                    lines=lines,
                )
            )
    return sweeps


def _size(records: Sequence[Record], place: tuple[int | None, int, int]) -> tuple[int, ...]:
    """Return how much a place tells of lanes: how many K, how many (method, engine, K), then how deep and long."""
    ways = {(record.scenario.method, record.scenario.engine, _lanes(record)) for record in records}
    return len({lanes for _, _, lanes in ways}), len(ways), place[1], place[2], place[0] or 0


def _lanes(record: Record) -> int:
    return record.lanes * record.scenario.replicas


def _lines(records: Sequence[Record]) -> tuple[LaneLine, ...]:
    """Return the lines of the records of one place; whoever ran on one lane only is no line."""
    standings = [standing_of(name, group) for name, group in by_series(records).items()]
    ways: dict[tuple[str, str], list[Standing]] = defaultdict(list)
    for one in standings:
        ways[one.method, one.engine.partition(" on ")[0]].append(one)
    lines = []
    for (method, engine), own in ways.items():
        measure = _measure(method, engine, own, standings)
        fastest: dict[int, Standing] = {}
        for one in own:
            if one.lanes not in fastest or one.samples_per_second > fastest[one.lanes].samples_per_second:
                fastest[one.lanes] = one
        if measure is not None and max(fastest) > 1:
            points = [_point(fastest[lanes], measure) for lanes in sorted(fastest)]
            lines.append(
                LaneLine(name=_name(method, engine), side=own[0].side, measure=measure.name, points=tuple(points))
            )
    return tuple(lines)


def _measure(method: str, engine: str, own: Sequence[Standing], everyone: Sequence[Standing]) -> Standing | None:
    """Return what a line's speed is told in; None where it was not measured."""
    if method not in ("al", "al-ddp", "bp"):
        return baselines.one_lane(everyone)
    itself = max((one for one in own if one.lanes == 1), key=lambda one: one.samples_per_second, default=None)
    if itself is None and (method == "al-ddp" or (method == "al" and lanes_run_components(method, engine))):
        return next((one for one in everyone if (one.method, one.engine) == ("al", "serial")), None)
    return itself


def _point(one: Standing, measure: Standing) -> LanePoint:
    return LanePoint(
        lanes=one.lanes,
        speedup=Interval(1.0, 1.0, 1.0) if one is measure else baselines.speed(one, measure),
        ideal=one.ideal or float(one.lanes),
        microbatches=one.microbatches,
    )


def _name(method: str, engine: str) -> str:
    """Return what a method on an engine is called: AL's engines are always named, others where it is not the first."""
    title, engines = METHODS[method].title, METHODS[method].engines
    return title if method != "al" and engine == engines[0] else f"{title} {engine}"
