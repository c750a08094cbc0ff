"""Network: what a method trains, built from its options: the folded AL network or its BP twin."""

from __future__ import annotations

from torch import nn

from albench.associated import AssociatedNetwork
from albench.methods.trainer import TrainerOptions
from albench.networks import associated_mlp, mlp


def folded(options: TrainerOptions) -> AssociatedNetwork:
    """Return the network that AL trains, freshly initialised, on the CPU."""
    return associated_mlp(
        in_features=options.in_features,
        width=options.width,
        hidden_layers=options.hidden_layers,
        classes=options.classes,
        bridge_width=options.bridge_width,
        seed=options.seed,
    ).to(options.dtype)


def twin(options: TrainerOptions) -> nn.Sequential:
    """Return the network that BP trains, freshly initialised, on the CPU."""
    return mlp(
        in_features=options.in_features,
        width=options.width,
        hidden_layers=options.hidden_layers,
        classes=options.classes,
        bridge_width=options.bridge_width,
        seed=options.seed,
    ).to(options.dtype)
