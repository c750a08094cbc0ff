"""Decay: which parameters an L2 penalty draws towards zero.

The authors' code gives the penalty to the kernels of convolutions and to nothing else: in AL to those of f, because
each component collects what f's layers ask for, and not what its bridge asks for. A whole network may be penalised
too, as ``torch.optim.Adam``'s ``weight_decay`` does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from albench.errors import unknown_name

if TYPE_CHECKING:
    from torch import nn

Decayed = Literal["all", "convolutions"]
"""All parameters, or the weights of convolutions alone (in AL: of f's)."""
DECAYED: tuple[str, ...] = get_args(Decayed)


def convolution_weights(module: nn.Module) -> list[nn.Parameter]:
    """Return the weights of the convolutions of a module, without their biases."""
    from torch import nn  # the names above are wanted before torch is

    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return [cast("nn.Parameter", layer.weight) for layer in module.modules() if isinstance(layer, kinds)]


def without(parameters: list[nn.Parameter], some: list[nn.Parameter]) -> list[nn.Parameter]:
    """Return the parameters that are not among `some`, compared by identity."""
    named = {id(one) for one in some}
    return [parameter for parameter in parameters if id(parameter) not in named]


def decay_groups(network: nn.Module, decayed: str, weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameters of a network in groups as ``torch.optim`` takes them, each with its weight decay.

    Raises `UsageError` for an unknown `decayed`.
    """
    everything = list(network.parameters())
    if decayed not in DECAYED:
        raise unknown_name("kind of decayed parameters", decayed, DECAYED)
    kernels = everything if decayed == "all" else convolution_weights(network)
    groups = ((kernels, weight_decay), (without(everything, kernels), 0.0))
    return [{"params": some, "weight_decay": decay} for some, decay in groups if some]
