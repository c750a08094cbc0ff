"""Network: what a method trains, built from its options: the folded AL network or its BP twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

from albench.associated import AssociatedNetwork
from albench.methods.trainer import TrainerOptions
from albench.networks import associated_mlp, mlp

Network = TypeVar("Network", bound=nn.Module)


def folded(options: TrainerOptions) -> AssociatedNetwork:
    """Return the network that AL trains, freshly initialised, on the CPU."""
    return _built(associated_mlp, options)


def twin(options: TrainerOptions) -> nn.Sequential:
    """Return the network that BP trains, freshly initialised, on the CPU."""
    return _built(mlp, options)


def _built(make: Callable[..., Network], options: TrainerOptions) -> Network:
    return make(
        in_features=options.in_features,
        width=options.width,
        hidden_layers=options.hidden_layers,
        classes=options.classes,
        bridge_width=options.bridge_width,
        seed=options.seed,
    ).to(options.dtype)
