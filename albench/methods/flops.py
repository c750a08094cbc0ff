"""FLOPs: the floating-point operations of one mini-batch's matrix products, counted from shapes.

A product of ``[m, k]`` and ``[k, n]`` is 2·m·n·k operations. What a layer costs is up to three of them:

    forward                  y  = x·Wᵀ       always
    gradient of the weights  dW = dyᵀ·x      always
    gradient of the input    dx = dy·W       only where something before it learns

So BP's first layer costs two products and every other one three. A component of AL costs two for the first layer of f
and of g, whose input is detached, and three for all others; g and h run on the rows of the target, which are C where
only the distinct ones are. Activations, losses and the optimizer are not counted: they are few operations an element.

An engine changes when and how a product runs and not which, so the count is that of the plain passes. These run on a
copy without data (torch's "meta" device): nothing is computed, no memory is taken, no random number is drawn, and the
network stays what it is to the bit.
"""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from albench.associated import AssociatedNetwork
from albench.associated.objective import DistinctTargets
from albench.component import Component, Target
from albench.engines.batch import Batch

Module = TypeVar("Module", bound=nn.Module)


def back_propagation_flops(network: nn.Module, batch: Batch) -> int:
    """Return the operations of forward and backward pass of `network` on x ``[B, …]`` and y ``[B]``."""
    copied = without_data(network)
    x, y = map(_without_data, batch)
    return counted(lambda: _backward(F.cross_entropy(copied(x), y)))


def associated_flops(network: AssociatedNetwork, batch: Batch, *, distinct_targets: DistinctTargets) -> int:
    """Return the operations of one task of every component of `network` on x ``[B, …]`` and y ``[B]``."""
    copied = without_data(network)
    x, y = map(_without_data, batch)
    target = copied.first_target(y, dtype=x.dtype, distinct_targets=distinct_targets)
    return counted(lambda: _tasks(copied.components, x, target))


def _tasks(components: Sequence[Component], features: Tensor, target: Target) -> None:
    """Run the forward and backward pass of each component on what the one before it hands on."""
    for component in components:
        update = component(features, target)
        _backward(functools.reduce(operator.add, update.losses.values()))
        features, target = update.features, update.target


def counted(passes: Callable[[], None]) -> int:
    """Return the operations of the matrix products that `passes` runs."""
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        passes()
    return int(counter.get_total_flops())


def without_data(module: Module) -> Module:
    """Return a copy of `module` whose parameters and buffers have shapes and no data."""
    copies: dict[int, object] = {
        id(p): nn.Parameter(_without_data(p), requires_grad=p.requires_grad) for p in module.parameters()
    }
    copies |= {id(b): _without_data(b) for b in module.buffers()}
    return copy.deepcopy(module, copies)  # takes these for what it has copied already


def _without_data(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="meta")


def _backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]
