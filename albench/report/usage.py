"""Usage: what cores and GPUs did while a run went on, for a few telling runs.

A mean says that a lane waited, and not when. So of each kind of work the longest run is taken of AL's fastest series at
the deepest network, of BP's, and of the best pipeline's, with the readings that its record keeps. A run that was too
short for readings is told as that, and is not replaced by a slower series that was long enough.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from albench.analysis.baselines import Side
from albench.harness.records import Record
from albench.harness.telemetry import Telemetry
from albench.report.contests import side_of
from albench.report.grouping import by_series
from albench.report.regimes import Regime, Series, Work

SIDES: tuple[Side, ...] = ("al", "bp", "pipeline")


@dataclass(frozen=True, kw_only=True)
class UsageCase:
    """One run."""

    name: str
    side: Side
    hidden_layers: int
    minibatches: int
    round: int
    telemetry: Telemetry

    @property
    def is_told(self) -> bool:
        """Whether there are readings over time."""
        return self.telemetry.series is not None and bool(self.telemetry.series.seconds)

    @property
    def why_not(self) -> str:
        """Why there are none, in a line."""
        return self.telemetry.too_short or "no readings over time were kept"


@dataclass(frozen=True, kw_only=True)
class Usage:
    """The telling runs of one kind of work."""

    work: Work
    title: str
    cores: int | None
    """Usable cores of the machine."""
    cases: tuple[UsageCase, ...]


def usages_of(regimes: Sequence[Regime], timed: Sequence[Record]) -> list[Usage]:
    """Return the usage of each kind of work of which at least one telling run has readings."""
    groups: dict[Work, list[Record]] = defaultdict(list)
    for record in timed:
        if record.telemetry is not None and record.scenario.lane_kind == "stream":
            groups[Work.of(record.scenario)].append(record)
    usages = []
    for regime in regimes:
        names = {one.name: one for side in SIDES if (one := _fastest(regime, side)) is not None}
        records = by_series(groups[regime.work]) if names and groups[regime.work] else {}
        cases = tuple(_case(one, records[name]) for name, one in names.items() if records.get(name))
        if any(case.is_told for case in cases):
            found = [record.environment.get("usable_cores") for name in names for record in records.get(name, [])]
            known = {count for count in found if isinstance(count, int)}
            usages.append(Usage(work=regime.work, title=regime.title, cores=max(known, default=None), cases=cases))
    return usages


def _fastest(regime: Regime, side: Side) -> Series | None:
    """Return the series of a side with the least time per mini-batch at the deepest network that the side ran."""
    own = [one for one in regime.series if side_of(one.method) == side and one.method != "al-ddp"]
    depth = max((depth for one in own for depth in one.depths), default=0)
    at_depth = [(point, one) for one in own if (point := one.shown(depth, regime.minibatches)) is not None]
    return min(at_depth, key=lambda pair: pair[0].milliseconds.estimate)[1] if at_depth else None


def _case(series: Series, records: Sequence[Record]) -> UsageCase:
    """Return the longest run of a series, the one with the most readings among its rounds."""
    depth = series.depths[-1]
    deepest = [record for record in records if record.scenario.hidden_layers == depth] or list(records)
    most = max(record.scenario.minibatches for record in deepest)
    longest = [record for record in deepest if record.scenario.minibatches == most]
    chosen = max(longest, key=lambda record: (_readings(record), -record.round))
    assert chosen.telemetry is not None
    return UsageCase(
        name=series.name,
        side=side_of(series.method),
        hidden_layers=chosen.scenario.hidden_layers,
        minibatches=most,
        round=chosen.round,
        telemetry=chosen.telemetry,
    )


def _readings(record: Record) -> int:
    series = record.telemetry.series if record.telemetry is not None else None
    return 0 if series is None else len(series.seconds)
