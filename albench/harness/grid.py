"""Grid: every combination of contenders and axes, as scenarios. It is a few lines that a user can copy:

    Grid(contenders=(AL_FUSED, BP), hidden_layers=(2, 8, 32), minibatches=(16, 48, 128), **SMALL)

A suite is made of them.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import Literal

from albench.errors import UsageError
from albench.harness.scenario import Purpose, Scenario
from albench.machine import LaneKind
from albench.methods import FOLDED, lanes_of_one_gpu, method_named
from albench.methods.cutting import PIPELINES, linear_layers_of, microbatch_fault, most_lanes
from albench.networks import BridgeForm


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A method on an engine with so many lanes: what a sweep compares."""

    method: str
    engine: str
    lanes: int = 1
    microbatches: int = 1
    """M, of methods that cut their mini-batches."""
    replicas: int = 1
    """Copies of the network, of methods that have several."""
    lane_kind: LaneKind = "stream"
    """What a lane of one GPU is, of engines that have lanes there."""
    lane_sms: int | None = None
    """Multiprocessors of each share; None: an even split."""
    distinct_targets: bool | Literal["auto"] = "auto"
    """Whether AL runs the target side on the distinct rows of a mini-batch only."""

    @property
    def takes_distinct_targets(self) -> bool:
        """Whether it has a target side."""
        return self.method in FOLDED

    @property
    def takes_lanes(self) -> bool:
        """Whether a number of lanes means anything to it."""
        return self.engine != "serial" and not (self.method == "bp" and self.lane_kind == "sm-share")

    @property
    def takes_microbatches(self) -> bool:
        """Whether it cuts its mini-batches."""
        return self.method in PIPELINES

    @property
    def takes_lane_kind(self) -> bool:
        """Whether its lanes may each have multiprocessors of their own."""
        return lanes_of_one_gpu(self.method, self.engine)

    @property
    def takes_replicas(self) -> bool:
        """Whether it can train several copies of the network."""
        return self.method == "al-ddp"


AL_SERIAL = Contender(method="al", engine="serial")
AL_FUSED = Contender(method="al", engine="fused")
BP = Contender(method="bp", engine="eager")


def al_fused(lanes: int) -> Contender:
    """Return AL stacked, `lanes` threads sharing each batched operator."""
    return Contender(method="al", engine="fused", lanes=lanes)


def al_threads(lanes: int) -> Contender:
    """Return AL on `lanes` threads."""
    return Contender(method="al", engine="threads", lanes=lanes)


def al_ranks(lanes: int) -> Contender:
    """Return AL on `lanes` processes."""
    return Contender(method="al", engine="ranks", lanes=lanes)


def bp_threads(lanes: int) -> Contender:
    """Return BP with `lanes` intra-op threads: the same cores used the other way."""
    return Contender(method="bp", engine="eager", lanes=lanes)


def pipelines(lanes: int, linear_layers: int) -> list[Contender]:
    """Return every pipeline of BP on `lanes` lanes, or as many as it has stages for, with each M that it is tried with.

    `linear_layers` are those of the network that is cut into stages.
    """
    return [
        Contender(method=name, engine="ranks", lanes=min(lanes, most_lanes(name, linear_layers)), microbatches=m)
        for name in PIPELINES
        for m in method_named(name).microbatches
    ]


def bp_compiled(lanes: int) -> Contender:
    """Return BP compiled, with `lanes` intra-op threads: the BP to beat where launches rule."""
    return Contender(method="bp", engine="compiled", lanes=lanes)


MOST_SCENARIOS = 100_000
"""More is a slip of the pen: at a second a case and round it would be days."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Every combination of its axes."""

    contenders: tuple[Contender, ...]
    hidden_layers: tuple[int, ...]
    widths: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    minibatches: tuple[int, ...]
    dataset: str = "digits"
    seeds: tuple[int, ...] = (0,)
    learning_rate: float = 3e-3
    bridge_factor: int | None = None
    """Units in the bridges' hidden layer, in widths; None: bridges of one layer."""
    network: str = "mlp"
    """Kind of network; `albench.networks.NETWORKS` names them."""
    bridge: BridgeForm = "flat"
    """How bridges read feature maps."""
    initial_scale: float = 1.0
    """Deviation of the initial weights of AL's sigmoid layers, in He's."""
    device: str = "cpu"
    purpose: Purpose = "time"
    precision: str = "float32"
    one_point: bool = False
    """Whether it stays at one point of its axes whatever others are given: a case that shows a share."""

    def scenarios(self) -> list[Scenario]:
        """Return the scenarios, contender by contender.

        An M that a batch size or a schedule does not allow is left out where another M of the same contender is
        allowed, so that one axis serves all methods; where none is, the first one is refused in words. The same holds
        for a depth with fewer layers than a pipeline has stages.
        """
        axes = (self.contenders, self.widths, self.batch_sizes, self.hidden_layers, self.minibatches, self.seeds)
        if math.prod(map(len, axes)) > MOST_SCENARIOS:
            raise UsageError(
                f"a grid of {math.prod(map(len, axes))} cases is too large: give shorter axes, at most {MOST_SCENARIOS}"
            )
        return [
            Scenario(
                method=contender.method,
                engine=contender.engine,
                lanes=contender.lanes,
                microbatches=contender.microbatches,
                replicas=contender.replicas,
                lane_kind=contender.lane_kind,
                lane_sms=contender.lane_sms,
                distinct_targets=contender.distinct_targets,
                bridge_width=self.bridge_factor and self.bridge_factor * width,
                network=self.network,
                bridge=self.bridge,
                initial_scale=self.initial_scale,
                device=self.device,
                hidden_layers=hidden_layers,
                width=width,
                batch_size=batch_size,
                minibatches=minibatches,
                dataset=self.dataset,
                seed=seed,
                learning_rate=self.learning_rate,
                purpose=self.purpose,
                precision=self.precision,
            )
            for contender, width, batch_size, hidden_layers, minibatches, seed in itertools.product(*axes)
            if not self._left_out(contender, batch_size) and not self._too_shallow(contender, hidden_layers)
        ]

    def at_one_point(self) -> Grid:
        """Return the grid at one point of its axes: the depth in the middle, the longest run, the largest batch."""
        depths = sorted(self.hidden_layers)
        return dataclasses.replace(
            self,
            hidden_layers=(depths[(len(depths) - 1) // 2],),
            widths=self.widths[:1],
            batch_sizes=(max(self.batch_sizes),),
            minibatches=(max(self.minibatches),),
            seeds=self.seeds[:1],
        )

    def _too_shallow(self, contender: Contender, hidden_layers: int) -> bool:
        """Whether a network has too few layers for a pipeline's stages, and a deeper one of the grid has enough."""

        def enough(depth: int) -> bool:
            layers = linear_layers_of(depth, bridges=self.bridge_factor is not None)
            return contender.method not in PIPELINES or contender.lanes <= most_lanes(contender.method, layers)

        return not enough(hidden_layers) and any(map(enough, self.hidden_layers))

    def _left_out(self, contender: Contender, batch_size: int) -> bool:
        """Whether this M cannot be, and another M of the same contender can."""

        def possible(one: Contender) -> bool:
            return not microbatch_fault(
                one.method, lanes=one.lanes, batch_size=batch_size, microbatches=one.microbatches
            )

        return not possible(contender) and any(
            possible(one)
            for one in self.contenders
            if dataclasses.replace(one, microbatches=contender.microbatches) == contender
        )


def with_input(grids: list[Grid]) -> list[Grid]:
    """Return the grids, and a case of the first one once more with its input pipeline on, to show its share.

    AL and BP take part, each on the first engine that the grid has it on.
    """
    first = grids[0]
    taking_part = [next((one for one in first.contenders if one.method == method), None) for method in ("al", "bp")]
    contenders = tuple(one for one in taking_part if one is not None)
    return [*grids, dataclasses.replace(first, contenders=contenders, purpose="input", one_point=True).at_one_point()]
