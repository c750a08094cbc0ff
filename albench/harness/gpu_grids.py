"""GPU grids: what suites ask of one CUDA device.

Depth, where launches rule and where arithmetic does; lanes that stand in for devices; and where the card is full.

The numbers of lanes are the GPU's business: they are the same however many cores the machine has.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from albench.harness.grid import Contender, Grid, with_input
from albench.methods.cutting import schedule_fault

LANES = 16
"""Lanes where they are plain streams, or branches of a graph: a kernel of AL fills a fraction of a large card."""
LANE_SMS = 8
"""Multiprocessors of a lane that stands in for a device: what Hopper launches together, so the smallest share."""
LANE_COUNTS = (1, 2, 4, 8)
"""An H100 of 132 multiprocessors has fifteen such lanes."""
STRONG_DEPTH = 32
CUTS = (("gpipe", 8), ("gpipe", 32), ("1f1b", 8), ("1f1b", 32))
"""Pipelines of BP on such lanes, and M."""

AL_LAUNCHED_AT_ONCE = (
    Contender(method="al", engine="fused"),
    Contender(method="al", engine="fused-compiled"),
    Contender(method="al", engine="graph", lanes=LANES),
)
BP_LAUNCHED_AT_ONCE = (Contender(method="bp", engine="graph"), Contender(method="bp", engine="compiled-graph"))
ONE_BY_ONE = (
    Contender(method="al", engine="serial"),
    Contender(method="al", engine="streams", lanes=LANES),
    Contender(method="bp", engine="eager"),
    Contender(method="bp", engine="compiled"),
)
"""Whatever is launched by Python, operator by operator: on a GPU some ten times as slow, which a few depths show."""


def depth(cores: int) -> list[Grid]:  # noqa: ARG001
    """Return AL's engines for one GPU, and BP's, over depth ℓ and n: where launches rule, and where sums do."""

    def of(
        width: int, contenders: tuple[Contender, ...], depths: tuple[int, ...], minibatches: tuple[int, ...]
    ) -> Grid:
        return Grid(
            contenders=contenders,
            hidden_layers=depths,
            widths=(width,),
            batch_sizes=(128,),
            minibatches=minibatches,
            device="cuda",
        )

    at_once, depths = (*AL_LAUNCHED_AT_ONCE, *BP_LAUNCHED_AT_ONCE), (2, 4, 8, 16, 32, 64, 128)
    grids = [of(width, at_once, depths, (32, 96, 256)) for width in (256, 1024)]
    return with_input([*grids, *(of(width, ONE_BY_ONE, (2, 8, 32), (32, 96)) for width in (256, 1024))])


def lanes(cores: int) -> list[Grid]:  # noqa: ARG001
    """Return AL, GPipe, 1F1B and BP on equal shares of the multiprocessors, one to eight of them.

    Strong scaling: one network on more and more lanes. Weak scaling: every lane gets one component of AL.
    """
    strong = _on_lanes(STRONG_DEPTH, LANE_COUNTS)
    return [strong, *(_on_lanes(2 * count, (count,)) for count in LANE_COUNTS)]


def _on_lanes(hidden_layers: int, counts: Sequence[int]) -> Grid:
    on_share = functools.partial(Contender, engine="graph", lane_kind="sm-share", lane_sms=LANE_SMS)
    cut = [
        on_share(method=method, lanes=count, microbatches=microbatches)
        for count in counts
        for method, microbatches in CUTS
        if count > 1 and not schedule_fault(method, count, microbatches)
    ]
    return Grid(
        contenders=(
            Contender(method="bp", engine="graph"),  # on the whole card
            on_share(method="bp"),
            *(on_share(method="al", lanes=count) for count in counts),
            *cut,
        ),
        hidden_layers=(hidden_layers,),
        widths=(1024,),
        batch_sizes=(128,),
        minibatches=(96,),
        device="cuda",
    )


def size_map(cores: int) -> list[Grid]:  # noqa: ARG001
    """Return what is launched at once over depth × batch and over depth × width, up to sizes that fill the card."""
    return [
        Grid(
            contenders=(*AL_LAUNCHED_AT_ONCE, *BP_LAUNCHED_AT_ONCE),
            hidden_layers=(4, 16, 64),
            widths=widths,
            batch_sizes=batch_sizes,
            minibatches=(96,),
            device="cuda",
        )
        for widths, batch_sizes in (((256,), (32, 128, 512, 2048)), ((64, 512, 1024, 2048), (128,)))
    ]
