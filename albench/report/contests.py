"""Contests: all contenders on one kind of work, at one depth and one number of mini-batches.

Regimes ask how time grows, and need a sweep for it. A contest asks who trains most in a second, and needs one point
that everyone has run: AL on its engines, BP on its own, pipelines of BP and data parallelism. It is made from the same
records, where they hold more than AL and BP: any method that cuts mini-batches into microbatches, or two others.
What failed stays in: a contest that everybody else could not even start is not won.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from albench.analysis import baselines
from albench.analysis.baselines import Side, Standing
from albench.harness.records import Record, is_measured
from albench.harness.scenario import Scenario
from albench.methods import FOLDED, METHODS, method_named
from albench.methods.cutting import PIPELINES
from albench.report.failures import Failure, failures_of
from albench.report.grouping import by_series, spread, titles_of
from albench.report.regimes import Work, scaled

FEWEST_OTHERS = 2
"""Methods beside AL and BP that make a contest, where none of them is a pipeline."""

Fairness = str
EQUAL_DEPTH: Fairness = "equal depth"
EQUAL_PARAMETERS: Fairness = "equal effective parameters"


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Everyone who ran, or should have run, the same mini-batches of the same work."""

    work: Work
    title: str
    hidden_layers: int
    minibatches: int
    standings: tuple[Standing, ...]
    """Most samples a second first."""
    failures: tuple[Failure, ...]
    failed_cuts: frozenset[tuple[str, str, int, int]]
    """(method, engine, lanes, M) of pipelines that failed whenever they were tried."""

    @property
    def fairness(self) -> Fairness:
        """What both sides have in common: with one-layer bridges depth, with the paper's bridges parameters."""
        return EQUAL_DEPTH if self.work.bridge_width is None else EQUAL_PARAMETERS

    def best(self, side: Side) -> Standing | None:
        """The contender of a side that trains most in a second."""
        return baselines.best(self.standings, side)

    @cached_property
    def one_lane(self) -> Standing | None:
        """BP's fastest way on one lane."""
        return self.one_lane_beside("")

    def one_lane_beside(self, way: str) -> Standing | None:
        """BP's fastest way on one lane of the kind that `way` has; None where it was not measured."""
        return baselines.one_lane(one for one in self.standings if kind_of_lanes(one.engine) == kind_of_lanes(way))

    @property
    def effective_parameters(self) -> tuple[int, ...]:
        """The different numbers of parameters that the contenders predict with."""
        return tuple(sorted({one.effective_parameters for one in self.standings if one.effective_parameters}))


def contests_of(records: Sequence[Record]) -> list[Contest]:
    """Return the contests that the records of time sweeps hold, measured or failed; small work first."""
    groups: dict[tuple[Work, int, int], list[Record]] = defaultdict(list)
    for record in records:
        scenario = record.scenario
        if scenario.purpose == "time":
            groups[Work.of(scenario), scenario.hidden_layers, scenario.minibatches].append(record)
    held = {key: found for key, found in groups.items() if _is_contest(found)}
    keys = sorted(held, key=lambda key: (key[0].order, *key[1:]))
    titles = titles_of(list(dict.fromkeys(work for work, _, _ in keys)))
    return [_contest(*key, title=titles[key[0]], records=held[key]) for key in keys]


def _is_contest(records: Sequence[Record]) -> bool:
    """Whether there is more in the records than AL and BP."""
    others = {record.scenario.method for record in records} - {"al", "bp"}
    return bool(others & set(PIPELINES)) or len(others) >= FEWEST_OTHERS


def _contest(work: Work, hidden_layers: int, minibatches: int, *, title: str, records: Sequence[Record]) -> Contest:
    """Return the contest of records that all did the same work."""
    measured = [record for record in records if is_measured(record)]
    standings = [standing_of(name, group) for name, group in by_series(measured).items()]
    return Contest(
        work=work,
        title=f"ℓ = {hidden_layers}, {title}, N = {minibatches}, {work.dataset}",
        hidden_layers=hidden_layers,
        minibatches=minibatches,
        standings=baselines.ranked(standings),
        failures=tuple(failures_of(records)),
        failed_cuts=frozenset({_cut(record) for record in records} - {_cut(record) for record in measured}),
    )


def _cut(record: Record) -> tuple[str, str, int, int]:
    scenario = record.scenario
    return scenario.method, _way(scenario), scenario.lanes, scenario.microbatches


def _way(scenario: Scenario) -> str:
    """Return the engine, and what its lanes are where they are not the usual ones."""
    if scenario.lane_kind == "stream":
        return scenario.engine
    return f"{scenario.engine} on {f'shares of {scenario.lane_sms} SMs' if scenario.lane_sms else 'SM shares'}"


def kind_of_lanes(way: str) -> str:
    """Return what the lanes of an engine are, as in "graph on shares of 8 SMs"; empty where they are the usual ones."""
    return way.partition(" on ")[2]


def side_of(method: str) -> Side:
    """Return whose idea a method is; AL with data parallelism on top is AL's."""
    if method in FOLDED:
        return "al"
    if method in PIPELINES:
        return "pipeline"
    return "bp" if method == "bp" else "data-parallel"


def standing_of(name: str, records: Sequence[Record]) -> Standing:
    """Return the standing of a contender from its rounds."""
    last, scenario = records[-1], records[-1].scenario
    known = {
        field: next((value for one in reversed(records) if (value := getattr(one, field)) is not None), None)
        for field in ("effective_parameters", "affiliated_parameters", "flops_per_minibatch")
    }
    return Standing(
        name=name,
        method=scenario.method,
        engine=_way(scenario),
        side=side_of(scenario.method),
        # Lanes that really ran; AL's copies have so many each.
        lanes=scenario.replicas * scenario.lanes if scenario.method == "al-ddp" else last.lanes,
        microbatches=scenario.microbatches if scenario.method in PIPELINES else None,
        chunks=method_named(scenario.method).chunks,
        instances=scenario.batch_size,
        minibatch_seconds=scaled(spread([one.seconds or math.nan for one in records]), 1 / scenario.minibatches),
        rounds=len(records),
        **known,
    )


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A pipeline's speed over lanes and microbatches, BP on one lane being 1."""

    name: str
    method: str
    way: str
    """Its engine, and what its lanes are where they are not the usual ones."""
    lanes: tuple[int, ...]
    microbatches: tuple[int, ...]
    cells: dict[tuple[int, int], Standing]
    failed: frozenset[tuple[int, int]]


def grids_of(contest: Contest) -> list[Grid]:
    """Return a grid for each pipeline on each engine that was tried, in the program's order."""
    tried: dict[tuple[str, str], dict[tuple[int, int], Standing | None]] = defaultdict(dict)
    for method, engine, lanes, microbatches in contest.failed_cuts:
        if method in PIPELINES:
            tried[method, engine][lanes, microbatches] = None
    for one in contest.standings:
        if one.microbatches is not None:
            tried[one.method, one.engine].setdefault((one.lanes, one.microbatches), one)
    grids = []
    for method in PIPELINES:
        engines = METHODS[method].engines
        ways = sorted((engines.index(way.split()[0]), way) for one, way in tried if one == method)
        for _, engine in ways:
            places = tried[method, engine]
            title = METHODS[method].title
            grids.append(
                Grid(
                    name=title if engine == engines[0] else f"{title} {engine}",
                    method=method,
                    way=engine,
                    lanes=tuple(sorted({lanes for lanes, _ in places})),
                    microbatches=tuple(sorted({microbatches for _, microbatches in places})),
                    cells={place: one for place, one in places.items() if one is not None},
                    failed=frozenset(place for place, one in places.items() if one is None),
                )
            )
    return grids
