"""Balance: which contiguous components go on which lane, by what their tasks really take.

The pace of a pipeline is that of its costliest lane, so blocks are cut where the costliest one is cheapest
(`albench.schedule.partition`). What a task takes cannot be read off a component: a first layer with few inputs, a
bridge over a large feature map or a loss with many classes cost what they cost on this machine. So the tasks are timed
once, on the first mini-batch, with throw-away copies of the components: training itself is left as it was, to the bit.
A component that cannot be copied cannot be timed, and then all count the same.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from albench.component import Component, Target
from albench.engines.options import EngineOptions
from albench.engines.task import ComponentTasks
from albench.errors import one_line
from albench.schedule import partition

WARM_UPS = 1
"""Untimed tasks first: the first one allocates and sets libraries up."""
REPEATS = 3
"""Timed tasks, of which the fastest counts: noise only ever adds."""


class Balance(NamedTuple):
    """The components of each lane, and what was found on the way."""

    blocks: list[range]
    measured: Measured | None = None
    """None where there was nothing to decide, or where it could not be measured."""
    note: str | None = None
    """What a user should know."""


class Measured(NamedTuple):
    """What one task of each component takes, on this machine, and what it draws from."""

    seconds: list[float]
    drawing: int | None
    """The first component that draws from torch's global generator, if one does."""


class _NotCopiedError(Exception):
    """A component cannot be copied; the message says which and why."""


def measured_blocks(
    components: Sequence[Component],
    features: Tensor,
    target: Target,
    options: EngineOptions,
    *,
    minibatch: int,
    lanes: int,
) -> Balance:
    """Return the components of each lane, balanced by `measure` on one mini-batch."""
    equal = partition([1.0] * len(components), lanes)
    if lanes == 1 or lanes >= len(components):
        return Balance(equal)
    try:
        measured = measure(components, features, target, options, minibatch=minibatch)
    except _NotCopiedError as error:
        return Balance(equal, note=f"lanes have equally many components and not equal work, because {error}")
    return Balance(partition(measured.seconds, lanes), measured)


def _copied(component: Component, index: int) -> Component:
    try:
        return copy.deepcopy(component)
    except Exception as error:
        why = one_line(error, 120)
        raise _NotCopiedError(f"component {index} cannot be copied to measure it ({why})") from error


def measure(
    components: Sequence[Component], features: Tensor, target: Target, options: EngineOptions, *, minibatch: int
) -> Measured:
    """Return the seconds of one task of each component, on copies that are thrown away.

    `features` ``[B, …]`` and `target` are what component 0 takes of mini-batch number `minibatch`. On the CPU the clock
    is this thread's own, so that whoever else is at work on the machine does not count. The generators of the
    components and torch's own are left as they were; forward hooks see the copies' calls too. Raises `ComponentError`
    if a component fails.
    """
    clock = _device_clock(features.device) if features.device.type == "cuda" else time.thread_time
    plain = EngineOptions(learning_rate=options.rate_at(minibatch), weight_decay=options.weight_decay)
    seconds: list[float] = []
    drawing = None
    devices = [features.device] if features.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        for i, component in enumerate(components):
            tasks = ComponentTasks(i, _copied(component, i), plain)
            times = []
            for _ in range(WARM_UPS + REPEATS):
                start = clock()
                onward = tasks.run(minibatch, features, target)
                times.append(clock() - start)
            seconds.append(min(times[WARM_UPS:]))
            if tasks.draws and drawing is None:
                drawing = i
            features, target = onward
    return Measured(seconds, drawing)


def _device_clock(device: torch.device) -> Callable[[], float]:
    """Return a clock that reads when the device has done what it was given."""

    def clock() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return clock
