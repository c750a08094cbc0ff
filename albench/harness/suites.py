"""Suites: named lists of scenarios. A suite is a few grids; a grid is a few lines that a user can copy.

Every axis can be replaced on the command line; methods and engines are filtered.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from albench.errors import UsageError, unknown_name
from albench.harness.grid import (
    AL_FUSED,
    AL_SERIAL,
    BP,
    Contender,
    Grid,
    al_fused,
    al_ranks,
    al_threads,
    bp_compiled,
    bp_threads,
    pipelines,
)
from albench.harness.scenario import Scenario
from albench.machine import usable_cores
from albench.methods import METHODS, method_named


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A named list of scenarios."""

    description: str
    """One line: the question it answers."""
    grids: Callable[[int], Sequence[Grid]]
    """Makes the grids for a machine with so many cores."""
    rounds: int = 3
    """The most rounds, where the command line does not say."""
    sweep_seconds: float | None = None
    """After this no case of a further round starts, where the command line does not say."""
    case_seconds: float = 300.0
    """A case that is not done after this is ended, where the command line does not say."""
    relative_half_width: float = 0.02
    """A median is known well enough when half its interval is within this share of it."""


def _everyone(lanes: int) -> tuple[Contender, ...]:
    """Return all contenders on a machine with `lanes` cores, each once."""
    return tuple(dict.fromkeys((AL_SERIAL, AL_FUSED, al_fused(lanes), al_threads(lanes), BP, bp_threads(lanes))))


class Regime(TypedDict):
    """The two axes that decide whether launches or arithmetic rule."""

    widths: tuple[int, ...]
    batch_sizes: tuple[int, ...]


SMALL: Regime = {"widths": (32,), "batch_sizes": (16,)}
"""Launches rule: a layer's arithmetic is shorter than what it costs to start it."""
LARGE: Regime = {"widths": (512,), "batch_sizes": (128,)}
"""Arithmetic rules: starting a layer costs next to nothing beside its matrix products."""

DIGITS_EPOCH = 90
"""Mini-batches of 16 in an epoch of the digits' 1,437 training instances, rounded up."""


def _small(lanes: int) -> list[Grid]:
    depths = (2, 4, 8, 16, 32, 64)
    return [
        Grid(contenders=_everyone(lanes), hidden_layers=depths, minibatches=(16, 48, 128), **SMALL),
        # Long runs tell the steady pace from the fill; only those that finish them in a fraction of a second.
        Grid(contenders=(AL_FUSED, BP), hidden_layers=depths, minibatches=(384,), **SMALL),
    ]


def _large(lanes: int, depths: tuple[int, ...]) -> Grid:
    return Grid(contenders=_everyone(lanes), hidden_layers=depths, minibatches=(6, 16, 32), **LARGE)


def _depth(lanes: int) -> list[Grid]:
    return [*_small(lanes), _large(lanes, (2, 4, 8, 16))]


def _quickstart(lanes: int) -> list[Grid]:
    # Two rounds of this and the training to the end take two and a half minutes on two cores.
    to_the_end = Grid(
        contenders=(AL_FUSED, BP),
        hidden_layers=(2, 8, 64),
        minibatches=(20 * DIGITS_EPOCH,),
        seeds=(0, 1),
        purpose="accuracy",
        **SMALL,
    )
    return [*_small(lanes), _large(lanes, (2, 4, 8)), to_the_end]


def _quick(lanes: int) -> list[Grid]:
    return [Grid(contenders=_everyone(lanes), hidden_layers=(2, 4, 8), minibatches=(8, 16, 32), **SMALL)]


def _samples(lanes: int) -> list[Grid]:
    return [
        Grid(
            contenders=_everyone(lanes),
            hidden_layers=(2, 8, 32),
            minibatches=(8, 16, 32, 64, 128, 256),
            **SMALL,
        )
    ]


def _batch(lanes: int) -> list[Grid]:
    return [
        Grid(
            contenders=_everyone(lanes),
            hidden_layers=(2, 8, 32),
            widths=(64,),
            batch_sizes=(8, 32, 128, 512),
            minibatches=(8, 16, 32),
        )
    ]


def _accuracy(lanes: int) -> list[Grid]:  # noqa: ARG001 - lanes change no accuracy
    return [
        Grid(
            contenders=(AL_FUSED, BP),
            hidden_layers=(2, 4, 8, 16, 32, 64),
            minibatches=(20 * DIGITS_EPOCH,),
            seeds=(0, 1, 2, 3, 4),
            learning_rate=learning_rate,
            purpose="accuracy",
            **SMALL,
        )
        for learning_rate in (1e-3, 3e-3)
    ]


def _engines(lanes: int) -> list[Grid]:
    everyone = (AL_SERIAL, al_threads(lanes), al_ranks(lanes), AL_FUSED, al_fused(lanes), BP, bp_threads(lanes))
    contenders = tuple(dict.fromkeys(everyone))
    return [
        Grid(contenders=contenders, hidden_layers=(2, 8, 32), minibatches=(16, 48, 128), **SMALL),
        Grid(contenders=contenders, hidden_layers=(2, 4, 8), minibatches=(6, 16, 32), **LARGE),
    ]


def lane_counts(cores: int) -> tuple[int, ...]:
    """Return 1, 2, 4 … lanes for a machine with so many cores."""
    return tuple(1 << i for i in range(min(cores, MOST_BASELINE_LANES).bit_length()))


def _devices(cores: int) -> list[Grid]:
    def on(lanes: int, hidden_layers: int) -> Grid:
        ddp = Contender(method="ddp", engine="ranks", lanes=lanes)
        cut = [one for one in pipelines(lanes, hidden_layers + 1) if one.method in ("gpipe", "1f1b")]
        alone = (AL_SERIAL,) if lanes == 1 else (al_threads(lanes), al_ranks(lanes), ddp, *cut)
        return Grid(
            contenders=tuple(dict.fromkeys((*alone, bp_threads(lanes)))),
            hidden_layers=(hidden_layers,),
            minibatches=(24,),
            **LARGE,
        )

    strong = [on(lanes, DEVICES_LAYERS) for lanes in lane_counts(cores)]
    # Weak scaling: every lane gets two components, however many lanes there are.
    weak = [on(lanes, 4 * lanes) for lanes in lane_counts(cores) if 4 * lanes != DEVICES_LAYERS]
    return [*strong, *weak]


def _gpu(cores: int) -> list[Grid]:  # noqa: ARG001 - the lanes are streams, not cores
    al = [Contender(method="al", engine=engine) for engine in ("serial", "fused")]
    al += [Contender(method="al", engine=engine, lanes=GPU_LANES) for engine in ("streams", "graph")]
    bp = [Contender(method="bp", engine=engine) for engine in ("eager", "compiled", "graph")]
    return [
        Grid(
            contenders=(*al, *bp),
            hidden_layers=(2, 4, 8, 16, 32, 64, 128),
            widths=(width,),
            batch_sizes=(128,),
            minibatches=(32, 96, 256),
            device="cuda",
        )
        for width in (256, 1024)
    ]


def _harness(cores: int) -> list[Grid]:  # noqa: ARG001 - nothing runs
    return [
        Grid(
            contenders=(Contender(method="idle", engine="eager"),),
            hidden_layers=(2,),
            widths=(8,),
            batch_sizes=(8,),
            minibatches=(1,),
            dataset="synthetic",
            seeds=tuple(range(200)),
        )
    ]


DEVICES_LAYERS = 16
GPU_LANES = 8
MOST_BASELINE_LANES = 8
BASELINE_LAYERS, BASELINE_BATCH = 8, 256
BASELINE_SECONDS = 400.0
"""With the case that is under way then, the suites of baselines end within eight minutes on two cores."""


def baseline_lanes(cores: int) -> int:
    """Return K for a machine with so many cores: the largest power of two, so that a batch has equal shares for it."""
    return 1 << (min(cores, MOST_BASELINE_LANES).bit_length() - 1)


def _baselines(cores: int, *, width: int, bridge_factor: int | None = None) -> list[Grid]:
    """Return everything that trains the same network on the same K lanes, each in its own way."""
    lanes = baseline_lanes(cores)
    contenders = [
        BP,
        bp_threads(lanes),
        bp_compiled(lanes),
        AL_SERIAL,
        al_threads(lanes),
        al_ranks(lanes),
        al_fused(lanes),
        Contender(method="ddp", engine="ranks", lanes=lanes),
        Contender(method="al-ddp", engine="threads", replicas=lanes),
        *pipelines(lanes, BASELINE_LAYERS + (1 if bridge_factor is None else 2)),
    ]
    return [
        Grid(
            contenders=tuple(dict.fromkeys(contenders)),
            hidden_layers=(BASELINE_LAYERS,),
            widths=(width,),
            batch_sizes=(BASELINE_BATCH,),
            minibatches=(24,),
            bridge_factor=bridge_factor,
        )
    ]


def _baselines_equal_depth(cores: int) -> list[Grid]:
    return _baselines(cores, width=1024)


def _baselines_fair(cores: int) -> list[Grid]:
    # Bridges of 5·W make AL's step six times as heavy: at half the width the suite takes as long as the other one.
    return _baselines(cores, width=512, bridge_factor=5)


SUITES: dict[str, Suite] = {
    "quickstart": Suite(
        description="the tour: time against depth and n in two regimes, and accuracy", grids=_quickstart
    ),
    "quick": Suite(description="the smallest grid that a verdict can be made from", grids=_quick),
    "depth": Suite(description="time against depth ℓ, where launches rule and where arithmetic rules", grids=_depth),
    "samples": Suite(description="time against n, the training instances", grids=_samples),
    "batch": Suite(description="throughput against batch size", grids=_batch),
    "devices": Suite(
        description="everyone on 1, 2, 4 … lanes: the same network, and one that grows with the lanes", grids=_devices
    ),
    "engines": Suite(description="every engine of AL that runs on a CPU, in both regimes", grids=_engines),
    "accuracy": Suite(description="held-out accuracy against depth, five seeds, two learning rates", grids=_accuracy),
    "baselines": Suite(
        description="AL, BP, pipelines of BP and data parallelism on the same lanes, at equal depth",
        grids=_baselines_equal_depth,
        rounds=6,
        sweep_seconds=BASELINE_SECONDS,
    ),
    "baselines-fair": Suite(
        description="the same with the paper's bridges of 5 widths, at equal effective parameters",
        grids=_baselines_fair,
        rounds=6,
        sweep_seconds=BASELINE_SECONDS,
    ),
    "gpu": Suite(description="depth ℓ to 128 on a CUDA device: every engine of AL and of BP", grids=_gpu),
    "harness": Suite(description="200 cases that do nothing: what the harness itself costs", grids=_harness, rounds=1),
}


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
    device: str | None = None

    def __post_init__(self) -> None:
        """Refuse unknown names, and numbers of lanes, microbatches and replicas under one."""
        for method in self.methods or ():
            method_named(method)
        known = sorted({engine for method in METHODS.values() for engine in method.engines})
        for engine in self.engines or ():
            if engine not in known:
                raise unknown_name("engine", engine, known)
        for name in ("lanes", "microbatches", "replicas"):
            for value in getattr(self, name) or ():
                if value < 1:
                    raise UsageError(f"{name} is {value}: give a whole number of at least 1")

    def over(self, below: Overrides) -> Overrides:
        """Return these axes, and those of `below` where nothing is given here."""
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return dataclasses.replace(below, **{name: value for name, value in given.items() if value is not None})

    def apply(self, grid: Grid) -> list[Grid]:
        """Return the grid with these axes, one a data set."""
        contenders = [
            contender
            for contender in grid.contenders
            if (self.methods is None or contender.method in self.methods)
            and (self.engines is None or contender.engine in self.engines)
        ]
        for name in ("lanes", "microbatches", "replicas"):
            values = getattr(self, name)
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
            device=self.device or grid.device,
        )
        return [dataclasses.replace(changed, dataset=name) for name in self.datasets or (grid.dataset,)]


def suite_named(name: str) -> Suite:
    """Return the suite called `name`; an unknown name is a `UsageError` with the nearest names."""
    if name not in SUITES:
        raise unknown_name("suite", name, SUITES)
    return SUITES[name]


def suite_scenarios(
    suite: str | Suite, overrides: Overrides | None = None, *, lanes: int | None = None, name: str = ""
) -> list[Scenario]:
    """Return the scenarios of a suite on a machine with `lanes` cores (None: this one), each once.

    `name` is what errors call a suite that is given itself.
    """
    overrides = overrides or Overrides()
    name = suite if isinstance(suite, str) else name
    grids = (suite_named(suite) if isinstance(suite, str) else suite).grids(lanes or usable_cores())
    scenarios = [s for grid in grids for changed in overrides.apply(grid) for s in changed.scenarios()]
    if not scenarios:
        raise UsageError(f"no scenario of suite {name!r} is left: widen --method or --engine")
    return list(dict.fromkeys(scenarios))
