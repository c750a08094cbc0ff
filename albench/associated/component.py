"""Component i of an Associated Learning network (Figure 4): the four functions f_i, b_i, g_i, h_i.

    features   s_{i-1} ──f_i──► s_i ──b_i──► s'_i ≈ t_i        associated loss, moves f_i and b_i
    target     t_{i-1} ──g_i──► t_i ──h_i──► t'_{i-1} ≈ t_{i-1}    autoencoder loss, moves g_i and h_i

It hands on s_i and t_i, detached: no gradient ever crosses from one component to another.
"""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn

from albench.associated.objective import TargetRows, associated_loss, autoencoder_loss
from albench.component import ParameterGroup, Update
from albench.decay import Decayed, convolution_weights, without

AUTOENCODER_RATE = 2.0
"""g and h learn at twice the base rate, as in the authors' code (``inv_lr``)."""


class Chain(Protocol):
    """What a stack makes of f, b, g and h: layers in a row that can be run backwards (`albench.engines.chain`)."""

    def forward_kept(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the output and what the reverse pass needs."""
        ...

    def reverse(self, kept: list[Tensor], gradient: Tensor, *, input_gradient: bool = True) -> Tensor:
        """Return the gradient by the input for the gradient by the output; leave the layers theirs."""
        ...


class AssociatedComponent(nn.Module):
    """One component: f (associated function), b (bridge), g (encoding function), h (decoding function)."""

    stackable = True
    """The forward pass below only names whole functions and means over the last dimensions."""
    decayed: Decayed = "all"
    """Which parameters weight decay is for: all, or the weights of the convolutions of f (`Decayed`)."""

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

    def explicit_update(self, features: Tensor, target: TargetRows) -> Update:
        """Return what `forward` returns, and leave the gradients of its losses in the layers, without autograd.

        Only for a stack, whose f, b, g and h are chains. The two terms of Eq. 7 are means of squares, so their
        gradients are 2·(b(s) - t)/(B·W), and 2·(h(t) - t_{i-1})/W times each row's share of the mini-batch.
        """
        f, b, g, h = (cast("Chain", function) for function in (self.f, self.b, self.g, self.h))
        features_out, f_kept = f.forward_kept(features)
        bridged, b_kept = b.forward_kept(features_out)
        encoded, g_kept = g.forward_kept(target.rows_RW)
        decoded, h_kept = h.forward_kept(encoded)
        target_out = target._replace(rows_RW=encoded)
        association_error = bridged - target_out.of_instances()
        decoding_error = decoded - target.rows_RW
        instances, width = bridged.shape[-2:]
        rows, target_width = decoded.shape[-2:]
        share = 1 / rows if target.share_R is None else target.share_R.unsqueeze(-1)
        weighted_error = decoding_error * (share * (2 / target_width))
        f.reverse(f_kept, b.reverse(b_kept, association_error * (2 / (instances * width))), input_gradient=False)
        g.reverse(g_kept, h.reverse(h_kept, weighted_error), input_gradient=False)
        losses = {
            "associated": torch.linalg.vecdot(association_error, association_error).sum(-1) / (instances * width),
            "autoencoder": torch.linalg.vecdot(decoding_error, weighted_error).sum(-1) / 2,
        }
        return Update(features_out, target_out, losses)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return (f, b) at the base rate and (g, h) at twice that."""
        associating = [*self.f.parameters(), *self.b.parameters()]
        encoding = [*self.g.parameters(), *self.h.parameters()]
        if self.decayed == "all":
            return [
                ParameterGroup(parameters=associating),
                ParameterGroup(parameters=encoding, rate=AUTOENCODER_RATE),
            ]
        kernels = convolution_weights(self.f)
        return [
            *([ParameterGroup(parameters=kernels)] if kernels else []),
            ParameterGroup(parameters=without(associating, kernels), weight_decay=0.0),
            ParameterGroup(parameters=encoding, rate=AUTOENCODER_RATE, weight_decay=0.0),
        ]
