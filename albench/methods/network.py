"""Network: what a method trains, built from its options: the folded AL network or its BP twin."""

from __future__ import annotations

from torch import nn

from albench.associated import AssociatedNetwork
from albench.decay import DECAYED
from albench.errors import unknown_name
from albench.methods.trainer import TrainerOptions
from albench.networks import NetworkSpec, associated_network, twin_network


def folded(options: TrainerOptions) -> AssociatedNetwork:
    """Return the network that AL trains, freshly initialised, on the CPU."""
    if options.decayed not in DECAYED:
        raise unknown_name("kind of decayed parameters", options.decayed, DECAYED)
    network = associated_network(_spec(options)).to(options.dtype)
    for component in network.components:
        component.decayed = options.decayed
    return network


def twin(options: TrainerOptions) -> nn.Sequential:
    """Return the network that BP trains, freshly initialised, on the CPU."""
    return twin_network(_spec(options)).to(options.dtype)


def _spec(options: TrainerOptions) -> NetworkSpec:
    return NetworkSpec(
        name=options.network,
        input_shape=options.input_shape or (options.in_features,),
        classes=options.classes,
        width=options.width,
        hidden_layers=options.hidden_layers,
        bridge_width=options.bridge_width,
        bridge=options.bridge,
        initial_scale=options.initial_scale,
        seed=options.seed,
    )
