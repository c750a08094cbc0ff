"""Hidden outputs: what each layer of a trained network makes of its input, along the way of a prediction.

These are the *metafeatures* of the paper's Section 5.4, which its Table 7 measures and its Figures 5 and 6 draw:

    AL    x ─f_1─► s_1 … ─f_L─► s_L ─b_L─► t'_L ─h_L─► … ─h_1─► ŷ         one output a function
    BP    x ─layer─► activation ─layer─► activation … ─layer─► scores      one output an activation, and the last

BatchNorm uses its running statistics, as in any prediction, and nothing is changed in the network.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from albench.associated import AssociatedNetwork
from albench.errors import UsageError
from albench.prediction import frozen_view

OUTPUT = "output"
"""Name of the last output of a twin: its scores before the softmax."""
ACTIVATIONS = (nn.ReLU, nn.ELU, nn.Sigmoid, nn.Tanh)
RESHAPES = (nn.Flatten, nn.Identity, nn.Dropout)
"""Layers that make no metafeatures of their own."""


def hidden_outputs(network: nn.Module, x: Tensor) -> list[tuple[str, Tensor]]:
    """Return the name and the output ``[B, features]`` of each layer for x ``[B, …]``, the one next to x first.

    Of an `AssociatedNetwork`: f_1 … f_L, b_L, h_L … h_1, and h_1's output is the prediction. Of a sequence of layers:
    "layer 1", "layer 2", … after their activations (a block, such as a residual one, is a layer), and "output".
    """
    view = frozen_view(network)
    with torch.no_grad():
        if isinstance(view, AssociatedNetwork):
            return [(name, value.flatten(1)) for name, value in _along_the_fold(view, x)]
        if isinstance(view, nn.Sequential):
            return [(name, value.flatten(1)) for name, value in _along_the_sequence(view, x)]
    raise UsageError(
        f"{type(network).__name__} does not tell its layers: give an AssociatedNetwork or a torch.nn.Sequential"
    )


def _along_the_fold(network: AssociatedNetwork, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    count = len(network.components)
    for i, component in enumerate(network.components, 1):
        x = component.f(x)
        yield f"f_{i}", x
    x = network.components[-1].b(x)
    yield f"b_{count}", x
    for i in range(count, 0, -1):
        x = network.components[i - 1].h(x)
        yield f"h_{i}", x


def _along_the_sequence(network: nn.Sequential, x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield what stands behind each activation or block; what follows the last of them is the output."""
    layers, count = list(_flat(network)), 0
    last = max((i for i, layer in enumerate(layers) if not isinstance(layer, RESHAPES)), default=-1)
    for i, layer in enumerate(layers):
        x = layer(x)
        if i < last and (isinstance(layer, ACTIVATIONS) or any(True for _ in layer.children())):
            count += 1
            yield f"layer {count}", x
    yield OUTPUT, x


def _flat(network: nn.Sequential) -> Iterator[nn.Module]:
    """Yield the layers of a sequence, those of sequences inside it in their place."""
    for layer in network:
        if isinstance(layer, nn.Sequential):
            yield from _flat(layer)
        else:
            yield layer
