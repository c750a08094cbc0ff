"""Chain: stacked layers in a row, with their reverse pass written out.

Autograd records every operator and walks the record backwards. Where operators are short, as in a stack of small
components, that costs two to three times what the operators themselves do. A chain of linear layers and activations
needs no record: the derivative of each layer follows from its input or its output,

    z = x·Wᵀ + b      ∂W = ∂zᵀ·x     ∂b = Σ_B ∂z     ∂x = ∂z·W
    y = φ(z)          ∂z = ∂y·φ'(z), and for these activations φ'(z) is a function of y

so the reverse pass is those products and nothing else. Shapes: K components, B rows; x ``[K, B, in]``,
W ``[K, out, in]``, b ``[K, 1, out]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

aten = torch.ops.aten

Derivative = Callable[[Tensor, Tensor], Tensor]
"""(∂y, y) → ∂z"""


class StackedLinear(nn.Module):
    """K linear layers at once: x ``[K, B, in]`` to ``[K, B, out]``."""

    weight: Tensor
    """``[K, out, in]``, bound by the stack before each call."""
    bias: Tensor
    """``[K, 1, out]``."""
    gradients: tuple[Tensor, Tensor] | None = None
    """∂W and ∂b of the last reverse pass."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x·Wᵀ + b, each component with its own W and b."""
        return torch.baddbmm(self.bias, x, self.weight.mT)


def _derivative(layer: nn.Module) -> Derivative | None:
    """Return φ' of an activation as a function of its output, or None if it is not one."""
    match layer:
        case nn.Sigmoid():
            return lambda grad, y: cast("Tensor", aten.sigmoid_backward.default(grad, y))
        case nn.Tanh():
            return lambda grad, y: cast("Tensor", aten.tanh_backward.default(grad, y))
        case nn.ReLU():
            return lambda grad, y: cast("Tensor", aten.threshold_backward.default(grad, y, 0))
        case nn.ELU(alpha=alpha):
            return lambda grad, y: cast("Tensor", aten.elu_backward.default(grad, alpha, 1, 1, True, y))
        case _:
            return None


class Chain(nn.Module):
    """Stacked layers in a row. Called, it is differentiated by autograd; `forward_kept` and `reverse` do without."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self._steps = [(layer, _derivative(layer)) for layer in layers]

    @staticmethod
    def accepts(layer: nn.Module) -> bool:
        """Whether a layer can be part of a chain, once linear layers are stacked."""
        return isinstance(layer, StackedLinear | nn.Flatten) or _derivative(layer) is not None

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, recorded by autograd if that is on."""
        for layer in self.layers:
            x = layer(x)
        return x

    def forward_kept(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the output and what `reverse` needs: every layer's input, and the output last."""
        kept = [x]
        for layer in self.layers:
            x = layer(x)
            kept.append(x)
        return x, kept

    def reverse(self, kept: list[Tensor], gradient: Tensor, *, input_gradient: bool = True) -> Tensor:
        """Return the gradient by the input, and leave each linear layer its own.

        `gradient` is by the output. Without `input_gradient` the first linear layer's product with W is spared, and
        what is returned means nothing.
        """
        for position in range(len(self._steps) - 1, -1, -1):
            layer, derivative = self._steps[position]
            if derivative is not None:
                gradient = derivative(gradient, kept[position + 1])
            elif isinstance(layer, StackedLinear):
                layer.gradients = torch.bmm(gradient.mT, kept[position]), gradient.sum(1, keepdim=True)
                if position or input_gradient:
                    gradient = torch.bmm(gradient, layer.weight)
            else:
                gradient = gradient.reshape(kept[position].shape)
        return gradient
