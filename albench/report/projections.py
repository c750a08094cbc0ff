"""Projections: measured times of one lane, replayed on 1 … 4096 lanes, for AL and its rivals.

A projection is made for one network and batch size at a time (`albench.report.projection_sources`). It carries what it
takes for granted, sentence by sentence, what could not be projected and why, and, where the records hold a time on
several lanes, how far the projection of just that case is from it. What is measured and what is projected are
different types, and no table or figure mixes them without saying which is which.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from albench.analysis.link import FREE, Link
from albench.analysis.projection import TURNS, Projected, deeper, on_lanes, stages_on_lanes
from albench.analysis.surroundings import machines
from albench.errors import UsageError
from albench.harness.records import Record
from albench.methods import method_named
from albench.methods.cutting import PIPELINES, most_lanes, schedule_fault
from albench.report.grouping import titles_of
from albench.report.projection_checks import Check, checks_of, handed_on_bytes, row_bytes
from albench.report.projection_sources import STAGE_ENGINES, Microbatches, Sources, Tasks, sources_of
from albench.report.regimes import Work
from albench.report.words import counted, listed, number, spelt

DEFAULT_LANES = tuple(2**power for power in range(13))
DEFAULT_MICROBATCHES = (1, 4, 8, 32)
MOST = 16_384
"""Components and lanes: a replay of a pipeline of back-propagation on so many takes seconds."""


@dataclass(frozen=True, kw_only=True)
class ProjectionOptions:
    """What to project onto."""

    lanes: tuple[int, ...] = DEFAULT_LANES
    microbatches: tuple[int, ...] | None = None
    """M that the pipelines of back-propagation try, the best one counts; None: `DEFAULT_MICROBATCHES`, and what was
    measured."""
    hidden_layers: int | None = None
    """Which of the measured depths; None: the deepest."""
    components: int | None = None
    """Components of a deeper network than was measured; None: those that were."""
    minibatches: int | None = None
    """N; None: that of the longest run that was measured."""
    link: Link = FREE
    link_source: str = ""
    """Where the link's numbers come from, if they were measured."""

    def __post_init__(self) -> None:
        """Refuse what cannot be projected onto."""
        for name, values in (
            ("lanes", self.lanes),
            ("microbatches", DEFAULT_MICROBATCHES if self.microbatches is None else self.microbatches),
            ("hidden layers", (self.hidden_layers,)),
            ("components", (self.components,)),
            ("mini-batches", (self.minibatches,)),
        ):
            if not values:
                raise UsageError(f"no {name} given: give a whole number of at least 1")
            for value in values:
                if value is not None and value < 1:
                    raise UsageError(f"{name} is {value}: give a whole number of at least 1")
                if value is not None and value > MOST and name in ("lanes", "components"):
                    raise UsageError(f"{name} is {value}: give a whole number of at most {MOST}")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One method (with one M) over lanes, all of it projected."""

    method: str
    name: str
    microbatches: int | None
    points: dict[int, Projected]
    """By lanes, each of which has something to do."""
    end: str
    """Why it has no more lanes than that, in words."""
    is_bound: bool = False
    """Whether it is in truth slower than that, because what its microbatches take was not measured."""


@dataclass(frozen=True, kw_only=True)
class Projection:
    """What was measured of one network and batch size, and what that would give on more lanes."""

    work: Work
    title: str
    lane: str
    """What a lane is, in words."""
    hidden_layers: int
    """ℓ of the projected network."""
    minibatches: int
    asked_lanes: tuple[int, ...]
    curves: tuple[Curve, ...]
    reference: str
    """Whose time on one lane is speed 1."""
    reference_seconds: float
    """Of one mini-batch there."""
    checks: tuple[Check, ...]
    """Cases on lanes that were measured, at every measured depth."""
    assumptions: tuple[str, ...]
    missing: tuple[str, ...]
    """What is not projected, and why."""
    deepened: bool
    """Whether the network is another one than was measured."""

    @property
    def instances(self) -> int:
        """n."""
        return self.minibatches * self.work.batch_size

    def speed(self, seconds: float) -> float:
        """Return how many times as fast as the reference on one lane so many seconds for all mini-batches are."""
        return self.reference_seconds * self.minibatches / seconds

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """The methods that are projected, in the program's order."""
        return tuple(dict.fromkeys(curve.method for curve in self.curves))

    @property
    def has_pipelines(self) -> bool:
        """Whether pipelines of BP are projected, of which the number of microbatches is chosen."""
        return any(curve.microbatches is not None for curve in self.curves)

    def best(self, method: str, lanes: int) -> tuple[Curve, Projected] | None:
        """Return the curve of a method that is fastest on just so many lanes; None where none has so many."""
        found = [
            (curve, curve.points[lanes]) for curve in self.curves if curve.method == method and lanes in curve.points
        ]
        # Of equals the one with the fewest microbatches: rounding must not choose.
        return min(found, key=lambda one: (float(f"{one[1].seconds:.9e}"), one[0].microbatches or 0), default=None)

    def most(self, method: str) -> int:
        """Return the most lanes on which a method is projected."""
        return max(max(curve.points) for curve in self.curves if curve.method == method)

    @property
    def shown(self) -> tuple[Check, ...]:
        """The checks of the network that is projected, so that they may stand beside it."""
        return tuple(c for c in self.checks if c.hidden_layers == self.hidden_layers and not self.deepened)


def projections_of(records: Sequence[Record], options: ProjectionOptions) -> list[Projection]:
    """Return a projection for each network and batch size of which records hold a time on one lane, small work first.

    Raises `UsageError` where there is none, or not at the depth that was asked for.
    """
    usable = [one for one in sources_of(records) if one.tasks or one.stage_steps]
    if not usable:
        raise UsageError(
            "no time of a task, and none of BP on one lane, to project from: measure some with AL's serial engine and "
            "BP, such as `albench run depth --method al,bp`"
        )
    for one in usable:
        _check_network(one.place.work, options)
    depths = sorted({depth for one in usable for depth in _depths(one)})
    if options.hidden_layers is not None and options.hidden_layers not in depths:
        raise UsageError(
            f"hidden layers is {options.hidden_layers}: no network of that depth was measured, give "
            f"{'one of ' if len(depths) > 1 else ''}{', '.join(map(str, depths))}, or a deeper one with components"
        )
    titles = titles_of(list(dict.fromkeys(one.place.work for one in usable)))
    places = [one.place.work for one in usable]
    found = []
    for one in usable:
        if options.hidden_layers is None or options.hidden_layers in _depths(one):
            title = titles[one.place.work]
            title += f", {one.place.lane} a lane" if places.count(one.place.work) > 1 else ""
            found.append(_projection(one, title, options))
    return found


def _check_network(work: Work, options: ProjectionOptions) -> None:
    """Refuse what a network other than the MLP cannot be asked for."""
    if work.network == "mlp":
        return
    if options.components is not None:
        raise UsageError(
            f"components is {options.components}: the depth of network {work.network!r} is fixed, leave components out"
        )
    if not options.link.is_free:
        raise UsageError(
            f"a link is given: no record tells how large the feature maps are that network {work.network!r} hands on, "
            "leave link latency and bandwidth out"
        )


def _depths(sources: Sources) -> list[int]:
    """Return the depths to project: those with task times of AL, else those of BP."""
    return sorted(sources.tasks) or sorted(sources.stage_steps.seconds if sources.stage_steps else ())


def _projection(sources: Sources, title: str, options: ProjectionOptions) -> Projection:
    measured_depth = options.hidden_layers or max(_depths(sources))
    hidden_layers = 2 * options.components if options.components else measured_depth
    minibatches = options.minibatches or max(
        record.scenario.minibatches for record in sources.records if record.scenario.hidden_layers == measured_depth
    )
    assumptions = [
        f"A lane is {sources.place.lane}, as fast as the one that was measured alone, however many there are.",
        _link_words(sources.place.work, options),
    ]
    pooled = machines(record.environment for record in sources.records)
    if len(pooled) > 1:
        assumptions.insert(
            0, f"Times of {counted(len(pooled), 'machine')} are taken for those of one: {spelt(pooled)}."
        )
    missing: list[str] = []
    curves = []
    stages: list[tuple[Curve, Microbatches]] = []
    if sources.place.work.network != "mlp":
        missing.append(f"pipelines of BP: they cut the MLP only, and this is {sources.place.work.network}")
    elif sources.stage_steps is None:
        engines = " or ".join(STAGE_ENGINES[sources.place.work.device])
        missing.append(f"pipelines of BP: no time of BP {engines} on one lane")
    else:
        stages = _stage_curves(sources, hidden_layers, minibatches, options, missing)
    # What pipelines take on few lanes holds that they shared a machine: then AL's tasks are taken from lanes that did.
    alone = all(microbatches.from_lanes == 1 for _, microbatches in stages)
    tasks = sources.tasks.get(measured_depth) if alone else sources.tasks_at(measured_depth)
    if tasks is None:
        missing.insert(0, _no_task_words(sources, measured_depth))
    else:
        curves.append(_al_curve(sources, tasks, hidden_layers // 2, minibatches, options))
        assumptions += _task_words(tasks, measured_depth, hidden_layers, minibatches)
    if not alone and not options.link.is_free:
        assumptions.append("Times that come from several lanes hold their own hand-overs; the link's come on top.")
    curves += [curve for curve, _ in stages]
    assumptions += _stage_words(stages)
    if stages and sources.ends is None:
        assumptions.append(
            "Records tell neither inputs nor classes: first and last layer count as wide as a hidden one."
        )
    fastest = sources.fastest_bp(hidden_layers)
    if fastest is not None:
        name, seconds, how = fastest
        curves.append(_bp_curve(seconds * minibatches))
        reference = f"{name} on one lane"
        told = f"{name} ({how})" if how else name
        assumptions.append(f"BP stays on one lane: {told}, {number(1e3 * seconds)} ms a mini-batch.")
    else:
        assert tasks is not None
        reference, seconds = "AL on one lane (projected)", curves[0].points[1].seconds / minibatches
    return Projection(
        work=sources.place.work,
        title=title,
        lane=sources.place.lane,
        hidden_layers=hidden_layers,
        minibatches=minibatches,
        asked_lanes=tuple(sorted(set(options.lanes))),
        curves=tuple(curves),
        reference=reference,
        reference_seconds=seconds,
        checks=tuple(checks_of(sources, options.link)),
        assumptions=tuple(assumptions),
        missing=tuple(missing),
        deepened=hidden_layers != measured_depth,
    )


def _al_curve(sources: Sources, tasks: Tasks, components: int, minibatches: int, options: ProjectionOptions) -> Curve:
    task_seconds = deeper(tasks.seconds, components)
    handed_on = handed_on_bytes(sources.place.work)
    return Curve(
        method="al",
        name="AL",
        microbatches=None,
        points={
            lanes: on_lanes(task_seconds, minibatches, lanes, link=options.link, handed_on_bytes=handed_on)
            for lanes in _lanes_up_to(components, options.lanes)
        },
        end=counted(components, "component"),
    )


def _stage_curves(
    sources: Sources, hidden_layers: int, minibatches: int, options: ProjectionOptions, missing: list[str]
) -> list[tuple[Curve, Microbatches]]:
    """Return the curves of the pipelines, and what each is made from; what there is not is added to `missing`."""
    layers = sources.layers(hidden_layers)
    work = sources.place.work
    measured = [record.scenario for record in sources.records]
    for method in PIPELINES:
        if method not in TURNS and any(scenario.method == method for scenario in measured):
            missing.append(
                f"{method_named(method).title}: its schedule runs the two parts of a backward pass apart, and no "
                "record has the time of each"
            )
    found = []
    for method in TURNS:
        title = method_named(method).title
        tried = options.microbatches or (
            *DEFAULT_MICROBATCHES,
            *(scenario.microbatches for scenario in measured if scenario.method == method),
        )
        odd = [m for m in tried if work.batch_size % m]
        if odd:
            missing.append(f"{title} with M = {_numbers(odd)}: a batch of {work.batch_size} does not divide so")
        known = {
            m: taken
            for m in sorted({*tried} - {*odd})
            if (taken := sources.microbatches(method, m, hidden_layers)) is not None
        }
        bounds = [m for m, taken in known.items() if taken.is_bound]
        if options.microbatches is None and any(m > 1 and m not in bounds for m in known):
            if bounds:  # a bound would win over what was measured
                missing.append(f"{title} with M = {_numbers(bounds)}: no time of so small a microbatch")
            known = {m: taken for m, taken in known.items() if m not in bounds}
        most = most_lanes(method, len(layers))
        for m, taken in known.items():
            points = {
                lanes: stages_on_lanes(
                    TURNS[method](lanes, m),
                    layers,
                    minibatches,
                    minibatch_seconds=taken.seconds,
                    row_bytes=row_bytes(work, m),
                    link=options.link,
                )
                for lanes in _lanes_up_to(min(most, m) if method == "1f1b" else most, options.lanes)
                if not schedule_fault(method, lanes, m)
            }
            if points:
                limit = f"M = {m}" if method == "1f1b" and m < most else counted(len(layers), "linear layer")
                curve = Curve(
                    method=method,
                    name=f"{title}, M = {m}",
                    microbatches=m,
                    points=points,
                    end=limit,
                    is_bound=taken.is_bound,
                )
                found.append((curve, taken))
        if not any(curve.method == method for curve, _ in found):
            missing.append(f"{title}: fewer layers than stages, or no M that can be")
    return found


def _stage_words(stages: Sequence[tuple[Curve, Microbatches]]) -> list[str]:
    """Say what the curves of pipelines take for granted."""
    if not stages:
        return []
    said = [
        "Stages are cut where the linear layers' multiplications balance. A layer's share of BP's step is its share of "
        "the operations of all matrix products, forward to backward 1 : 2 (1 : 1 in the first layer, whose input needs "
        "no gradient); whatever else a step costs is spread alike.",
        "A pipeline of BP is flushed after every mini-batch, so mini-batches add up.",
    ]
    by_source: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for curve, taken in stages:
        by_source[taken.source][method_named(curve.method).title].append(curve.microbatches or 1)
    for source, titles in by_source.items():
        which = "; ".join(f"{title} with M = {_numbers(counts)}" for title, counts in titles.items())
        said.append(f"All microbatches of a mini-batch, one after the other, take as long as {source}: {which}.")
    return said


def _numbers(values: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(set(values))))


def _bp_curve(seconds: float) -> Curve:
    one_lane = Projected(seconds=seconds, busy_seconds=seconds, lanes=1)
    return Curve(
        method="bp",
        name="BP",
        microbatches=None,
        points={1: one_lane},
        end="one lane at a time",
    )


def _lanes_up_to(most: int, asked: Sequence[int]) -> list[int]:
    """Return 1, the lanes that were asked for, and the most that there can be where more was asked for."""
    if most < 1:
        return []
    return sorted({1, *(lanes for lanes in asked if lanes <= most), *([most] if max(asked) > most else [])})


def _no_task_words(sources: Sources, hidden_layers: int) -> str:
    """Say why AL is missing, and what to measure."""
    remedy = "its serial engine" if sources.place.work.device == "cpu" else "its engine graph or streams on one lane"
    return f"AL: no record has the time of a task at ℓ = {hidden_layers} on {sources.place.lane}, run {remedy} there"


def _task_words(tasks: Tasks, measured: int, hidden_layers: int, minibatches: int) -> list[str]:
    said = [
        f"AL's tasks take as long as {tasks.source}. Its pipeline is filled and drained once in "
        f"{counted(minibatches, 'mini-batch', 'es')}, and the queues between lanes never fill up."
    ]
    if hidden_layers != measured:
        said.append(
            f"The network has {hidden_layers} hidden layers and the one that was measured {measured}: components "
            "between the first and the last take the median of the measured inner ones."
        )
    return said


def _link_words(work: Work, options: ProjectionOptions) -> str:
    link = options.link
    if link.is_free:
        return "Handing over costs nothing, so what is projected is a lower bound of the time."
    parts = []
    if link.latency_seconds:
        parts.append(f"{number(1e6 * link.latency_seconds)} µs of latency")
    if link.bytes_per_second != float("inf"):
        parts.append(f"{number(link.bytes_per_second / 1e9)} GB/s, one message at a time in each direction")
    source = f" ({options.link_source})" if options.link_source else ""
    return (
        f"Handing over takes {listed(parts)}{source}, while the lanes work on: AL hands on features and target of "
        f"B rows, {number(handed_on_bytes(work) / 1e6)} MB (with few distinct targets it is less), a pipeline of BP "
        "the activations of B/M rows, and as many gradients on the way back."
    )
