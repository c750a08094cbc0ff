"""Projection: what measured task times would give on lanes that this machine does not have.

The durations are measured, one a component; the lanes are not. The replay (`albench.analysis.replay`) assumes lanes
that are as fast as the one that was measured, however many there are. With a hand-over that costs nothing a projection
is a lower bound. Everything made from it is labelled *projected*.

    AL                    the tasks of contiguous components on each lane, N mini-batches through the pipeline once
    GPipe, 1F1B, …        the stages that the methods cut, one mini-batch there and back, and that N times: the weights
                          change between two mini-batches, and no lane may begin before
    BP                    one lane, however many there are

What BP takes on one lane is spread over the linear layers by the operations of their matrix products:

    forward   y = x·Wᵀ            backward   dx = dy·W, dW = dyᵀ·x            so 1 : 2, and 1 : 1 in the first layer,
                                                                               whose input needs no gradient
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from albench.analysis.link import FREE, Link
from albench.analysis.pace import pace
from albench.analysis.replay import pipeline_makespan, stages_makespan
from albench.errors import UsageError
from albench.schedule import Turns, gpipe_turns, interleaved_turns, one_f_one_b_turns, partition, timeline

FEWEST_COMPONENTS = 3
"""A first, a last and one between them, whose task time stands for all that are added."""

TURNS: dict[str, Callable[[int, int], Turns]] = {
    "gpipe": gpipe_turns,
    "1f1b": one_f_one_b_turns,
    "interleaved-1f1b": interleaved_turns,
}
"""The pipelines of back-propagation that can be projected, by lanes and microbatches."""


@dataclass(frozen=True, kw_only=True)
class Projected:
    """What a method would take on so many lanes."""

    seconds: float
    """Of all mini-batches, from an empty to a drained pipeline."""
    busy_seconds: float
    """Time that all lanes together spend in tasks."""
    lanes: int
    """Lanes that have something to do."""

    @property
    def bubble_share(self) -> float:
        """Share of the lanes' time in which they wait, in [0, 1)."""
        return max(0.0, 1.0 - self.busy_seconds / (self.lanes * self.seconds))


def pipeline_seconds(task_seconds: Sequence[float], minibatches: int, lanes: int | None = None) -> float:
    """Return the projected seconds of `minibatches` mini-batches from an empty to a drained pipeline.

    `task_seconds`: measured seconds of one task of each component. `lanes`: None stands for one lane a component.
    Components are put on lanes in contiguous blocks of least costliest lane. Handing over costs nothing.
    """
    blocks = partition(task_seconds, lanes if lanes is not None else len(task_seconds))
    return timeline(task_seconds, minibatches, blocks).makespan


def on_lanes(
    task_seconds: Sequence[float], minibatches: int, lanes: int, *, link: Link = FREE, handed_on_bytes: float = 0.0
) -> Projected:
    """Return what AL would take on at most `lanes` lanes: no more than there are components.

    `task_seconds`: measured seconds of one task of each component. `handed_on_bytes`: of one mini-batch, from lane to
    lane.
    """
    blocks = partition(task_seconds, lanes)
    lane_seconds = [sum(task_seconds[i] for i in block) for block in blocks]
    seconds = pipeline_makespan(
        lane_seconds,
        minibatches,
        link_seconds=link.occupied_seconds(handed_on_bytes),
        latency_seconds=link.latency_seconds,
    )
    return Projected(seconds=seconds, busy_seconds=minibatches * sum(lane_seconds), lanes=len(blocks))


def deeper(task_seconds: Sequence[float], components: int) -> list[float]:
    """Return the task times of a network of `components` components, made from those of a measured one.

    First and last stay what they are; all between take the median of the inner ones that were measured.
    """
    if components == len(task_seconds):
        return list(task_seconds)
    if len(task_seconds) < FEWEST_COMPONENTS or components < FEWEST_COMPONENTS:
        raise UsageError(
            f"components is {components} and there are task times of {len(task_seconds)}: give at least "
            f"{FEWEST_COMPONENTS}, and measure a network of as many, whose inner ones can be repeated"
        )
    inner = median(task_seconds[1:-1])
    return [task_seconds[0], *[inner] * (components - 2), task_seconds[-1]]


class Layer(NamedTuple):
    """A linear layer of BP's network."""

    inputs: int
    outputs: int

    @property
    def weights(self) -> int:
        """Multiplications of the forward pass for each instance."""
        return self.inputs * self.outputs


def twin_layers(
    *, inputs: int, width: int, hidden_layers: int, classes: int, bridge_width: int | None = None
) -> list[Layer]:
    """Return the linear layers of BP's network: ℓ hidden ones, that of AL's bridges if they have one, the output."""
    widths = [width] * hidden_layers
    if bridge_width is not None:
        widths.insert(hidden_layers // 2, bridge_width)
    return [Layer(*pair) for pair in zip([inputs, *widths], [*widths, classes], strict=True)]


def operations(layers: Sequence[Layer]) -> int:
    """Return the multiplications of one instance's way forward and back, without a gradient of the input."""
    return sum(3 * layer.weights for layer in layers) - layers[0].weights


def stages_on_lanes(
    turns: Turns,
    layers: Sequence[Layer],
    minibatches: int,
    *,
    minibatch_seconds: float,
    row_bytes: float,
    link: Link = FREE,
) -> Projected:
    """Return what a pipeline of back-propagation would take, its stages cut as `albench.methods.stages` cuts them.

    `minibatch_seconds`: what all microbatches of a mini-batch take one after the other on one lane, forward, backward
    and update. `row_bytes`: what is handed on of one microbatch for each unit of a layer. Raises `UsageError` where
    there are fewer layers than stages.
    """
    if turns.stages > len(layers):
        raise UsageError(
            f"{turns.stages} stages and {len(layers)} linear layers: give fewer lanes, or a deeper network"
        )
    second = minibatch_seconds / turns.microbatches / operations(layers)  # of one multiplication for each instance
    forward = [layer.weights * second for layer in layers]
    backward = [forward[0], *[2 * seconds for seconds in forward[1:]]]
    stages = _stages(tuple(layer.weights for layer in layers), turns.stages)
    makespan = stages_makespan(
        turns,
        [sum(forward[stage.start : stage.stop]) for stage in stages],
        [sum(backward[stage.start : stage.stop]) for stage in stages],
        link_seconds=[link.occupied_seconds(row_bytes * layers[stage.stop - 1].outputs) for stage in stages[:-1]],
        latency_seconds=link.latency_seconds,
    )
    return Projected(seconds=minibatches * makespan, busy_seconds=minibatches * minibatch_seconds, lanes=turns.lanes)


@functools.lru_cache(maxsize=64)
def _stages(costs: tuple[int, ...], stages: int) -> list[range]:
    """Return the layers of each stage: the same for every number of microbatches, and a while's work for thousands."""
    return partition(costs, stages)


def seconds_at_depth(seconds: Mapping[int, float], hidden_layers: int) -> float | None:
    """Return what a step would take at a depth that was not measured, from the line through those that were.

    `seconds`: of one step by depth. None where the line cannot tell: fewer than two depths, or a step that does not
    grow with depth.
    """
    if hidden_layers in seconds:
        return seconds[hidden_layers]
    line = pace(list(seconds), list(seconds.values()))  # the same law, over ℓ instead of N
    if line is None:
        return None
    found = line.fill_seconds + line.step_seconds * hidden_layers
    return found if found > 0 else None
