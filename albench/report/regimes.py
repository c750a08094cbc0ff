"""Regimes: measured times, grouped the way a reader compares them.

A *regime* is a kind of work: one network, width, batch size, data set, precision and bridge. Only inside a regime is
one time comparable with another, because only there is the same work done. In a regime a *series* is one line of the
figures ("AL fused", "BP, 2 threads"): points over ℓ and n, and the verdict on how its time grows.

What is *projected* (measured task times, replayed on lanes that this machine does not have) is a series too, but it is
kept apart and carries a flag: it is never compared, never called fastest, and never drawn as measured.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

from albench.analysis.complexity import Verdict, product_ratio
from albench.analysis.statistics import Interval
from albench.data import dataset_named
from albench.harness.scenario import Scenario
from albench.methods import lanes_run_components
from albench.networks import BridgeForm


@dataclass(frozen=True, kw_only=True)
class Work:
    """What makes times comparable: the same network on the same data in the same arithmetic."""

    network: str
    width: int
    batch_size: int
    dataset: str
    precision: str
    bridge_width: int | None
    device: str = "cpu"
    bridge: BridgeForm = "flat"

    @classmethod
    def of(cls, scenario: Scenario) -> Work:
        """Return the work of a scenario."""
        return cls(**{name: getattr(scenario, name) for name in cls.__dataclass_fields__})

    @property
    def epoch_minibatches(self) -> float | None:
        """Mini-batches that hold as many instances as the data set trains on; None where no epoch means anything."""
        instances = dataset_named(self.dataset).training_instances
        return None if instances is None else instances / self.batch_size

    @property
    def order(self) -> tuple[object, ...]:
        """Sort key: small work first."""
        return (
            self.network,
            self.width,
            self.batch_size,
            self.dataset,
            self.precision,
            self.bridge_width or 0,
            self.device,
            self.bridge,
        )


WORK_COLUMNS = tuple(Work.__dataclass_fields__)
"""The columns of a table in which a row says what its work was, in the order of `dataclasses.asdict`."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One (ℓ, N) of a series: all its rounds."""

    hidden_layers: int
    minibatches: int
    instances: int
    seconds: Interval
    """Median over the rounds, with its interval."""
    rounds: int
    lanes: int
    """Lanes that really ran."""
    accuracy: float | None = None
    """Held-out accuracy after these mini-batches, median over the rounds."""
    accuracy_reason: str = ""
    effective_parameters: int | None = None
    affiliated_parameters: int | None = None
    peak_memory_bytes: int | None = None

    @property
    def milliseconds(self) -> Interval:
        """Milliseconds per mini-batch."""
        return scaled(self.seconds, 1e3 / self.minibatches)

    @property
    def samples_per_second(self) -> float:
        """Training instances a second."""
        return self.instances / self.seconds.estimate

    @property
    def rate(self) -> Interval:
        """Training instances a second with their interval: the longest time gives the least."""
        seconds = self.seconds
        return Interval(
            self.samples_per_second, self.instances / seconds.high, self.instances / seconds.low, seconds.confidence
        )


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of the figures, with the verdict on how its time grows."""

    name: str
    method: str
    engine: str
    lanes: int | None
    """Lanes asked for; None: one lane a component."""
    points: tuple[Point, ...]
    verdict: Verdict
    projected: bool = False

    @property
    def has_lanes(self) -> bool:
        """Whether each lane runs components of its own, so that time is flat in depth until the lanes are full."""
        return has_lanes(self.method, self.engine)

    @property
    def swept(self) -> bool:
        """Whether it has more than one point: a single one says nothing of how its time grows."""
        return len(self.points) > 1

    @property
    def depths(self) -> list[int]:
        """The depths that were measured, shallow to deep."""
        return sorted({point.hidden_layers for point in self.points})

    def at(self, hidden_layers: int, minibatches: int | None = None) -> Point | None:
        """Return the point at a depth: with `minibatches` if there is one, else (None) the longest run."""
        here = [point for point in self.points if point.hidden_layers == hidden_layers]
        if minibatches is not None:
            return next((point for point in here if point.minibatches == minibatches), None)
        return max(here, key=lambda point: point.minibatches, default=None)

    def shown(self, hidden_layers: int, minibatches: int) -> Point | None:
        """Return the point at a depth that tables and figures show: the regime's N, else the longest run."""
        return self.at(hidden_layers, minibatches) or self.at(hidden_layers)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """AL's fastest engine against BP's fastest, on the same mini-batches at one depth."""

    hidden_layers: int
    minibatches: int
    al: str
    al_milliseconds: Interval
    bp: str
    bp_milliseconds: Interval

    @property
    def speedup(self) -> Interval:
        """BP's time over AL's: above 1, AL is faster. The ends pair each side's best end with the other's worst."""
        al, bp = self.al_milliseconds, self.bp_milliseconds
        return Interval(estimate=bp.estimate / al.estimate, low=bp.low / al.high, high=bp.high / al.low)


@dataclass(frozen=True, kw_only=True)
class ProjectionCheck:
    """A projection onto lanes that this machine has, beside what those lanes measured."""

    hidden_layers: int
    minibatches: int
    series: str
    measured_seconds: float
    projected_seconds: float

    @property
    def ratio(self) -> float:
        """Measured over projected: 1 is a perfect projection, above 1 reality is slower."""
        return self.measured_seconds / self.projected_seconds


@dataclass(frozen=True, kw_only=True)
class Regime:
    """Everything measured on one kind of work, and what was projected from it."""

    work: Work
    title: str
    series: tuple[Series, ...]
    projected: tuple[Series, ...]
    minibatches: int
    """N of the figures and tables over ℓ: the number of mini-batches that most points share."""
    comparisons: tuple[Comparison, ...]
    checks: tuple[ProjectionCheck, ...]
    rule: str = ""
    """"launches" or "arithmetic" where the report's regimes differ enough to tell, else empty."""

    @property
    def everything(self) -> tuple[Series, ...]:
        """Measured series, then projected ones."""
        return self.series + self.projected

    @property
    def swept(self) -> tuple[Series, ...]:
        """The series whose growth can be asked about, measured ones first."""
        return tuple(series for series in self.everything if series.swept)

    @property
    def depths(self) -> list[int]:
        """Every depth that any series measured."""
        return sorted({depth for series in self.series for depth in series.depths})

    def of_method(self, method: str) -> list[Series]:
        """The measured series of one method."""
        return [series for series in self.series if series.method == method]

    def first_at(self, method: str, hidden_layers: int) -> Point | None:
        """A point of a method at a depth, whichever series has one: for what no engine changes, such as parameters."""
        return next((point for series in self.of_method(method) if (point := series.at(hidden_layers))), None)

    @cached_property
    def baseline(self) -> Series | None:
        """The BP series that is fastest at the deepest network it shares with the others: *the* baseline."""
        return self.fastest("bp", max((d for s in self.of_method("bp") for d in s.depths), default=0))

    def fastest(self, method: str, hidden_layers: int) -> Series | None:
        """The measured series of `method` with the lowest time per mini-batch at a depth."""
        times = [
            (point.milliseconds.estimate, index)
            for index, series in enumerate(self.series)
            if series.method == method and (point := series.shown(hidden_layers, self.minibatches)) is not None
        ]
        return self.series[min(times)[1]] if times else None

    def product_ratio(self, series: Series) -> Interval | None:
        """γ of a series as a share of the baseline's: what an extra layer costs it, BP's extra layer being 1."""
        if self.baseline is None or self.baseline is series:
            return None
        return product_ratio(series.verdict, self.baseline.verdict)

    @cached_property
    def flops_per_second(self) -> float | None:
        """The rate of an extra layer of BP: 6·width² operations an instance over the time the layer adds."""
        if self.baseline is None or len(self.baseline.depths) < 2 or self.work.network != "mlp":
            return None
        depths = self.baseline.depths
        first, last = (self.baseline.shown(depth, self.minibatches) for depth in (depths[0], depths[-1]))
        if first is None or last is None:
            return None
        per_instance = last.seconds.estimate / last.instances - first.seconds.estimate / first.instances
        layers = last.hidden_layers - first.hidden_layers
        return 6 * self.work.width**2 * layers / per_instance if per_instance > 0 else None


def has_lanes(method: str, engine: str) -> bool:
    """Whether the lanes of a method run components of AL's: stages of BP wait for each other at any depth."""
    return method == "al" and lanes_run_components(method, engine)


def scaled(interval: Interval, factor: float) -> Interval:
    """Return the interval in another unit."""
    return dataclasses.replace(
        interval, estimate=interval.estimate * factor, low=interval.low * factor, high=interval.high * factor
    )
