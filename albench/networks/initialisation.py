"""Initial weights: He-normal weights and zero biases, drawn from a generator of the component's own.

The generator of component i is seeded by (seed, i) and nothing else, so neither the order in which components are
built nor the torch-wide random state decides a weight, and building a network leaves that state as it was.

Networks are built on the CPU whatever torch's default device is, since the generators are there, and moved afterwards.
Only ``with torch.device("meta")`` is followed: there a network has shapes and no numbers, and takes no memory.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import skip_init

from albench.associated import AssociatedNetwork
from albench.seeding import seeded_generator


def component_generator(seed: int, component: int) -> torch.Generator:
    """Return the generator of one component, on the CPU."""
    return seeded_generator(seed, component)


def building_device() -> torch.device:
    """Return where layers are built: the CPU, or "meta" where that is torch's default device."""
    return torch.device("meta" if torch.get_default_device().type == "meta" else "cpu")


def he_linear(in_features: int, out_features: int, generator: torch.Generator) -> nn.Linear:
    """Return a linear layer with weights from N(0, 2/in_features) (He et al., 2015) and zero biases."""
    layer: nn.Linear = skip_init(nn.Linear, in_features, out_features, device=building_device())  # type: ignore[no-untyped-call]
    _draw(layer, generator)
    return layer


def he_conv(
    in_channels: int, out_channels: int, generator: torch.Generator, *, kernel: int = 3, stride: int = 1
) -> nn.Conv2d:
    """Return a convolution of kernel × kernel with weights from N(0, 2/(in_channels·kernel²)) and zero biases.

    Maps keep their size at stride 1 and are ⌈size/stride⌉ otherwise, as with TensorFlow's "same". At stride 2 that
    pads maps of even size at the far edge only, and this both edges by half the kernel: the grid is one pixel off.
    """
    layer: nn.Conv2d = skip_init(  # type: ignore[no-untyped-call]
        nn.Conv2d, in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, device=building_device()
    )
    _draw(layer, generator)
    return layer


def _draw(layer: nn.Linear | nn.Conv2d, generator: torch.Generator) -> None:
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


@torch.no_grad()
def scale_sigmoid_layers(network: AssociatedNetwork, factor: float) -> None:
    """Multiply the weights of every b, g and h: the layers whose activation is a sigmoid and not the ELU of f.

    He's deviation keeps the variance of what passes a rectifier. A logistic sigmoid has a slope of 1/4 at 0 and lets
    through less: a factor of 2.8 would keep it (4·√(1/n) for n inputs). Whether that helps is a question for a sweep.
    """
    for component in network.components:
        for part in (component.b, component.g, component.h):
            for layer in part.modules():
                if isinstance(layer, nn.Linear):
                    layer.weight.mul_(factor)
