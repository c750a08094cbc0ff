"""Networks: each file builds a kind of folded AL network and its BP twin.

from albench.networks import NetworkSpec, associated_network, twin_network
spec = NetworkSpec(name="cnn", input_shape=(3, 32, 32), classes=10, width=256, hidden_layers=8, bridge_width=1280)
network, twin = associated_network(spec), twin_network(spec)

Kinds are named here without importing torch, so that a wrong name or size is refused at once. Whoever wants other sizes
than those of the paper calls the builders themselves (`associated_cnn`, `cnn`, …), which are imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from albench.networks.spec import BRIDGE_FORMS, NETWORKS, BridgeForm, NetworkEntry, NetworkSpec, network_named

if TYPE_CHECKING:
    from torch import nn

    from albench.associated import AssociatedNetwork
    from albench.networks.cnns import associated_cnn, cnn
    from albench.networks.mlps import associated_mlp, mlp
    from albench.networks.resnets import associated_resnet, resnet
    from albench.networks.vggs import associated_vgg, vgg
else:
    # No file has a function's name: importing it would put the module in the function's place.
    _FILES = {"mlp": "mlps", "cnn": "cnns", "vgg": "vggs", "resnet": "resnets"}

    def __getattr__(name: str) -> Any:
        """Import a builder when it is first asked for."""
        file = _FILES.get(name.removeprefix("associated_"))
        if file is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{file}"), name)


__all__ = [
    "BRIDGE_FORMS",
    "NETWORKS",
    "BridgeForm",
    "NetworkEntry",
    "NetworkSpec",
    "associated_cnn",
    "associated_mlp",
    "associated_network",
    "associated_resnet",
    "associated_vgg",
    "cnn",
    "mlp",
    "network_named",
    "resnet",
    "twin_network",
    "vgg",
]


def associated_network(spec: NetworkSpec) -> AssociatedNetwork:
    """Return the folded network of a specification, freshly initialised, on the CPU."""
    network: AssociatedNetwork = importlib.import_module(network_named(spec.name).module).associated_of(spec)
    if spec.initial_scale != 1.0:
        initialisation = importlib.import_module("albench.networks.initialisation")
        initialisation.scale_sigmoid_layers(network, spec.initial_scale)
    return network


def twin_network(spec: NetworkSpec) -> nn.Sequential:
    """Return the BP twin of a specification, freshly initialised, on the CPU; it gives logits ``[B, classes]``."""
    network: nn.Sequential = importlib.import_module(network_named(spec.name).module).twin_of(spec)
    return network
