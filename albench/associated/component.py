"""Component i of an Associated Learning network (Figure 4): the four functions f_i, b_i, g_i, h_i.

    features   s_{i-1} ──f_i──► s_i ──b_i──► s'_i ≈ t_i        associated loss, moves f_i and b_i
    target     t_{i-1} ──g_i──► t_i ──h_i──► t'_{i-1} ≈ t_{i-1}    autoencoder loss, moves g_i and h_i

It hands on s_i and t_i, detached: no gradient ever crosses from one component to another.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from albench.associated.objective import TargetRows, associated_loss, autoencoder_loss
from albench.component import ParameterGroup, Update

AUTOENCODER_RATE = 2.0
"""g and h learn at twice the base rate, as in the authors' code (``inv_lr``)."""


class AssociatedComponent(nn.Module):
    """One component: f (associated function), b (bridge), g (encoding function), h (decoding function)."""

    stackable = True
    """The forward pass below only names whole functions and means over the last dimensions."""

    generator: torch.Generator
    """Source of all randomness of this component, seeded by (seed, i): never by the order of execution."""

    def __init__(self, *, f: nn.Module, b: nn.Module, g: nn.Module, h: nn.Module, generator: torch.Generator) -> None:
        super().__init__()
        self.f, self.b, self.g, self.h = f, b, g, h
        self.generator = generator

    def forward(self, features: Tensor, target: TargetRows) -> Update:
        """Return (s_i, t_i, losses) for features s_{i-1} ``[B, …]`` and target t_{i-1}, both detached."""
        features_out = self.f(features)
        encoded = self.g(target.rows_RW)
        target_out = target._replace(rows_RW=encoded.detach())
        losses = {
            "associated": associated_loss(self.b(features_out), target_out.of_instances()),
            "autoencoder": autoencoder_loss(self.h(encoded), target),
        }
        return Update(features_out.detach(), target_out, losses)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return (f, b) at the base rate and (g, h) at twice that."""
        return [
            ParameterGroup(parameters=[*self.f.parameters(), *self.b.parameters()]),
            ParameterGroup(parameters=[*self.g.parameters(), *self.h.parameters()], rate=AUTOENCODER_RATE),
        ]
