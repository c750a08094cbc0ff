"""Layers in a row: how every network here is put together, f_i and bridges of the folded one as well as its BP twin.

A row knows the shape that its last layer gives, so the next layer needs to be told its units or channels only. What
differs between AL and BP stands at the row and not at each layer: the activation (ELU in f, sigmoid in b, g and h, ReLU
in the twin) and whether BatchNorm stands before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from albench.networks.initialisation import building_device, he_conv, he_linear

NORM_MOMENTUM = 0.01
"""Share of a mini-batch in the running statistics: TensorFlow's default, which it gives as what is kept, 0.99."""
NORM_EPSILON = 1e-3
"""Added to the variance: TensorFlow's default."""


def batch_norm(shape: Sequence[int]) -> nn.BatchNorm1d | nn.BatchNorm2d:
    """Return BatchNorm for maps ``[B, C, H, W]`` or rows ``[B, W]`` of which one instance has `shape`.

    With TensorFlow's defaults, as in the published code. One thing is torch's own: the running variance is of unbiased
    batch variances, a factor of m/(m - 1) for m = B·H·W numbers a channel; TensorFlow's (not fused) is of biased ones.
    """
    features, device = shape[0], building_device()
    if len(shape) == 3:
        return nn.BatchNorm2d(features, momentum=NORM_MOMENTUM, eps=NORM_EPSILON, device=device)
    return nn.BatchNorm1d(features, momentum=NORM_MOMENTUM, eps=NORM_EPSILON, device=device)


class LayerRow:
    """Layers, one after the other, that are still being added to."""

    def __init__(
        self,
        shape: Sequence[int],
        *,
        generator: torch.Generator,
        activation: type[nn.Module],
        normalised: bool = False,
    ) -> None:
        """Begin with no layer. `shape`: of one instance of the input. `normalised`: BatchNorm before activations."""
        self.shape = tuple(shape)
        """Of one instance of what the last layer gives."""
        self.generator = generator
        self.activation = activation
        self.normalised = normalised
        self._layers: list[nn.Module] = []

    def add(self, layer: nn.Module, shape: Sequence[int]) -> None:
        """Add a layer that gives `shape` an instance."""
        self._layers.append(layer)
        self.shape = tuple(shape)

    def conv(self, channels: int, *, stride: int = 1) -> None:
        """Add a 3 × 3 convolution of a map, and its activation."""
        in_channels, height, width = self.shape
        self.add(
            he_conv(in_channels, channels, self.generator, stride=stride),
            (channels, math.ceil(height / stride), math.ceil(width / stride)),
        )
        self._activate()

    def dense(self, units: int) -> None:
        """Add a linear layer of a flat input, and its activation."""
        (in_features,) = self.shape
        self.add(he_linear(in_features, units, self.generator), (units,))
        self._activate()

    def linear(self, units: int) -> None:
        """Add a linear layer without activation."""
        (in_features,) = self.shape
        self.add(he_linear(in_features, units, self.generator), (units,))

    def max_pool(self) -> None:
        """Add max pooling of 2 × 2; a row or column that is left over is pooled too, so that no map gets lost."""
        channels, height, width = self.shape
        self.add(nn.MaxPool2d(2, ceil_mode=True), (channels, math.ceil(height / 2), math.ceil(width / 2)))

    def mean_pool(self) -> None:
        """Add pooling of a map to one mean a channel."""
        self.add(nn.AdaptiveAvgPool2d(1), (self.shape[0], 1, 1))

    def flatten(self) -> None:
        """Add flattening, where there is something to flatten."""
        if len(self.shape) > 1:
            self.add(nn.Flatten(), (math.prod(self.shape),))

    def _activate(self) -> None:
        if self.normalised:
            self._layers.append(batch_norm(self.shape))
        self._layers.append(self.activation())

    def sequential(self) -> nn.Sequential:
        """Return the layers as one module."""
        return nn.Sequential(*self._layers)
