"""The folded network: components in a row for training, one long path for prediction (Eq. 8).

    ŷ = (h_1 ∘ h_2 ∘ … ∘ h_L ∘ b_L ∘ f_L ∘ … ∘ f_2 ∘ f_1)(x),     L = ℓ/2 components

Parameters on that path are *effective*: all f, all h and the last b. The others, all g and every other b, are
*affiliated*: they help to train and are not part of what is learned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from albench.associated.component import AssociatedComponent
from albench.associated.objective import DistinctTargets, TargetRows, one_hot_target
from albench.prediction import frozen_view


class AssociatedNetwork(nn.Module):
    """An Associated Learning network of L components for C classes."""

    def __init__(self, components: Sequence[AssociatedComponent], *, classes: int) -> None:
        super().__init__()
        # A ModuleList, so that parameters are registered; typed as what it holds.
        self.components = cast("Sequence[AssociatedComponent]", nn.ModuleList(components))
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        """Return the prediction of Eq. 8 for x ``[B, …]``: scores in (0, 1), ``[B, classes]``.

        Whatever mode the components train in, running statistics are used as they stand, and nothing is dropped.
        """
        components = frozen_view(self).components
        for component in components:
            x = component.f(x)
        x = components[-1].b(x)
        for component in reversed(components):
            x = component.h(x)
        return x

    def first_target(
        self, labels: Tensor, *, dtype: torch.dtype, distinct_targets: DistinctTargets = "auto"
    ) -> TargetRows:
        """Return t_0 for labels ``[B]`` in [0, C); real-valued targets ``[B, W]`` are t_0 themselves."""
        if labels.is_floating_point():
            return TargetRows(labels)
        return one_hot_target(labels, self.classes, dtype=dtype, distinct_targets=distinct_targets)

    def effective_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that a prediction uses."""
        for component in self.components:
            yield from component.f.parameters()
            yield from component.h.parameters()
        yield from self.components[-1].b.parameters()

    def affiliated_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that serve training only."""
        for component in self.components:
            yield from component.g.parameters()
        for component in self.components[:-1]:
            yield from component.b.parameters()
