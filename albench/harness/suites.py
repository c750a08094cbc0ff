"""Suites: named lists of scenarios. A suite is a few grids; a grid is a few lines that a user can copy.

Every axis can be replaced (`albench.harness.overrides`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from albench.errors import UsageError, unknown_name
from albench.harness import gpu_grids
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
    with_input,
)
from albench.harness.overrides import Overrides
from albench.harness.scenario import Scenario
from albench.machine import usable_cores
from albench.methods.cutting import linear_layers_of


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A named list of scenarios."""

    description: str
    """One line: the question it answers."""
    grids: Callable[[int], Sequence[Grid]]
    """Makes the grids for so many lanes."""
    lanes_on: Callable[[int], tuple[int, ...]] | None = lambda cores: (cores,)
    """Returns the numbers of lanes that it asks about on a machine with so many cores; ``--lanes`` gives others, and
    each has grids of its own, in which everyone is. None: the grids name their lanes, and ``--lanes`` changes those."""
    rounds: int = 6
    """The most rounds, where the command line does not say."""
    sweep_seconds: float | None = None
    """After this no case of a further round starts, where the command line does not say."""
    case_seconds: float = 300.0
    """A case that is not done after this is ended, where the command line does not say."""
    case_bytes: int | None = None
    """A case while which free memory falls by more than this is ended, where the command line does not say."""
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
    return with_input([*_small(lanes), _large(lanes, (2, 4, 8, 16))])


def _quickstart(lanes: int) -> list[Grid]:
    # Three rounds of this and the training to the end take two and a half minutes on two cores.
    both = (AL_SERIAL, al_threads(lanes), BP, bp_threads(lanes))
    small, large = (AL_FUSED, *both), both
    depths = (2, 8, 32)
    return [
        Grid(contenders=tuple(dict.fromkeys(small)), hidden_layers=depths, minibatches=(16, 48, 128), **SMALL),
        Grid(contenders=tuple(dict.fromkeys(large)), hidden_layers=(2, 4, 8), minibatches=(6, 16, 32), **LARGE),
        Grid(
            contenders=(AL_FUSED, BP),
            hidden_layers=depths,
            minibatches=(20 * DIGITS_EPOCH,),
            purpose="accuracy",
            **SMALL,
        ),
    ]


def _quick(lanes: int) -> list[Grid]:
    return [Grid(contenders=_everyone(lanes), hidden_layers=(2, 4, 8), minibatches=(8, 16, 32), **SMALL)]


def _samples(lanes: int) -> list[Grid]:
    return with_input(
        [
            Grid(
                contenders=_everyone(lanes),
                hidden_layers=(2, 8, 32),
                minibatches=(8, 16, 32, 64, 128, 256),
                **SMALL,
            )
        ]
    )


def _batch(lanes: int) -> list[Grid]:
    return with_input(
        [
            Grid(
                contenders=_everyone(lanes),
                hidden_layers=(2, 8, 32),
                widths=(64,),
                batch_sizes=(8, 32, 128, 512),
                minibatches=(8, 16, 32),
            )
        ]
    )


def _accuracy(cores: int) -> list[Grid]:
    # A pipeline of BP learns what BP learns, at its own speed: it is there for the clock, so fewer seeds will do.
    gpipe = Contender(method="gpipe", engine="ranks", lanes=2, microbatches=2)
    sides = [((AL_FUSED, BP), (0, 1, 2, 3, 4)), *([((gpipe,), (0, 1))] if cores > 1 else [])]
    return [
        Grid(
            contenders=contenders,
            hidden_layers=(2, 4, 8, 16, 32, 64),
            minibatches=(20 * DIGITS_EPOCH,),
            seeds=seeds,
            learning_rate=learning_rate,
            purpose="accuracy",
            **SMALL,
        )
        for contenders, seeds in sides
        for learning_rate in (1e-3, 3e-3)
    ]


def _engines(lanes: int) -> list[Grid]:
    everyone = (AL_SERIAL, al_threads(lanes), al_ranks(lanes), AL_FUSED, al_fused(lanes), BP, bp_threads(lanes))
    contenders = tuple(dict.fromkeys(everyone))
    return with_input(
        [
            Grid(contenders=contenders, hidden_layers=(2, 8, 32), minibatches=(16, 48, 128), **SMALL),
            Grid(contenders=contenders, hidden_layers=(2, 4, 8), minibatches=(6, 16, 32), **LARGE),
        ]
    )


def lane_counts(cores: int) -> tuple[int, ...]:
    """Return 1, 2, 4 … lanes for a machine with so many cores."""
    return tuple(1 << i for i in range(min(cores, MOST_BASELINE_LANES).bit_length()))


def _devices(lanes: int) -> list[Grid]:
    def of(hidden_layers: int) -> Grid:
        ddp = Contender(method="ddp", engine="ranks", lanes=lanes)
        cut = [
            one
            for one in pipelines(lanes, linear_layers_of(hidden_layers, bridges=False))
            if one.method in ("gpipe", "1f1b")
        ]
        alone = (AL_SERIAL,) if lanes == 1 else (al_threads(lanes), al_ranks(lanes), ddp, *cut)
        return Grid(
            contenders=tuple(dict.fromkeys((*alone, bp_threads(lanes)))),
            hidden_layers=(hidden_layers,),
            minibatches=(24,),
            **LARGE,
        )

    # Strong scaling: one network. Weak scaling: every lane gets two components, however many lanes there are.
    return with_input([of(hidden_layers) for hidden_layers in dict.fromkeys((DEVICES_LAYERS, 4 * lanes))])


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
MOST_BASELINE_LANES = 8
BASELINE_LAYERS, BASELINE_BATCH = 8, 256
BASELINE_SECONDS = 400.0
"""With the case that is under way then, the suites of baselines end within eight minutes on two cores."""


def baseline_lanes(cores: int) -> tuple[int]:
    """Return K for a machine with so many cores: the largest power of two, so that a batch has equal shares for it."""
    return (lane_counts(cores)[-1],)


def _baselines(lanes: int, *, width: int, bridge_factor: int | None = None) -> list[Grid]:
    """Return everything that trains the same network on the same K lanes, each in its own way."""
    contenders = [
        *map(bp_threads, (*lane_counts(lanes), lanes)),
        bp_compiled(lanes),
        AL_SERIAL,
        al_threads(lanes),
        al_ranks(lanes),
        al_fused(lanes),
        Contender(method="ddp", engine="ranks", lanes=lanes),
        Contender(method="al-ddp", engine="threads", replicas=lanes),
        *pipelines(lanes, linear_layers_of(BASELINE_LAYERS, bridges=bridge_factor is not None)),
    ]
    return with_input(
        [
            Grid(
                contenders=tuple(dict.fromkeys(contenders)),
                hidden_layers=(BASELINE_LAYERS,),
                widths=(width,),
                batch_sizes=(BASELINE_BATCH,),
                minibatches=(24,),
                bridge_factor=bridge_factor,
            )
        ]
    )


def _baselines_equal_depth(lanes: int) -> list[Grid]:
    return _baselines(lanes, width=1024)


def _baselines_fair(lanes: int) -> list[Grid]:
    # Bridges of 5·W make AL's step six times as heavy: at half the width the suite takes as long as the other one.
    return _baselines(lanes, width=512, bridge_factor=5)


SUITES: dict[str, Suite] = {
    "quickstart": Suite(
        description="the tour: time against depth and n in two regimes, and accuracy", grids=_quickstart
    ),
    "quick": Suite(description="the smallest grid that a verdict can be made from", grids=_quick),
    "depth": Suite(description="time against depth ℓ, where launches rule and where arithmetic rules", grids=_depth),
    "samples": Suite(description="time against n, the training instances", grids=_samples),
    "batch": Suite(description="throughput against batch size", grids=_batch),
    "devices": Suite(
        description="everyone on 1, 2, 4 … lanes: the same network, and one that grows with the lanes",
        grids=_devices,
        lanes_on=lane_counts,
    ),
    "engines": Suite(description="every engine of AL that runs on a CPU, in both regimes", grids=_engines),
    "accuracy": Suite(
        description="held-out accuracy against depth and seconds, five seeds, two rates; GPipe's clock beside",
        grids=_accuracy,
        lanes_on=None,
    ),
    "baselines": Suite(
        description="AL, BP, pipelines of BP and data parallelism on the same lanes, at equal depth",
        grids=_baselines_equal_depth,
        lanes_on=baseline_lanes,
        sweep_seconds=BASELINE_SECONDS,
    ),
    "baselines-fair": Suite(
        description="the same with the paper's bridges of 5 widths, at equal effective parameters",
        grids=_baselines_fair,
        lanes_on=baseline_lanes,
        sweep_seconds=BASELINE_SECONDS,
    ),
    "gpu": Suite(
        description="depth ℓ to 128 on a CUDA device: AL's engines for one GPU, and BP's",
        grids=gpu_grids.depth,
        lanes_on=None,
    ),
    "gpu-lanes": Suite(
        description="AL, GPipe and 1F1B on 1 to 8 equal shares of a GPU, each as if it were a device",
        grids=gpu_grids.lanes,
        lanes_on=None,
    ),
    "gpu-map": Suite(
        description="AL's fast engines and BP's on a CUDA device, over depth × batch and depth × width",
        grids=gpu_grids.size_map,
        lanes_on=None,
    ),
    "harness": Suite(
        description="200 cases that do nothing: what the harness itself costs", grids=_harness, lanes_on=None, rounds=1
    ),
}


def suite_named(name: str) -> Suite:
    """Return the suite called `name`; an unknown name is a `UsageError` with the nearest names."""
    if name not in SUITES:
        raise unknown_name("suite", name, SUITES)
    return SUITES[name]


def suite_scenarios(
    suite: str | Suite, overrides: Overrides | None = None, *, cores: int | None = None, name: str = ""
) -> list[Scenario]:
    """Return the scenarios of a suite on a machine with `cores` (None: this one), each once.

    `name` is what errors call a suite that is given itself.
    """
    overrides, cores = overrides or Overrides(), cores or usable_cores()
    if isinstance(suite, str):
        name, suite = suite, suite_named(suite)
    if suite.lanes_on is None:
        grids = suite.grids(cores)
    else:
        lanes = overrides.lanes or suite.lanes_on(cores)
        grids = [grid for count in lanes for grid in suite.grids(count)]
        overrides = dataclasses.replace(overrides, lanes=None)
    scenarios = [s for grid in grids for changed in overrides.apply(grid) for s in changed.scenarios()]
    if not scenarios:
        raise UsageError(f"no scenario of suite {name!r} is left: widen --method or --engine")
    return list(dict.fromkeys(scenarios))
