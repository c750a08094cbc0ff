"""Multilayer perceptrons: the folded AL network and its BP twin.

The folded network of ℓ hidden layers has ℓ/2 components. Along the prediction path (Eq. 8) it is

    x ─f_1─► W ─f_2─► W … ─f_L─► W ─b_L─► W ─h_L─► W … ─h_2─► W ─h_1─► C

which is, layer for layer, an MLP with ℓ hidden layers of W units: with bridges of one layer, equal depth *is* equal
effective parameters. Where bridges have a hidden layer of their own (5·W units in the paper's tables), the path has
ℓ + 1 hidden layers; the twin then absorbs that layer too, so that the effective parameters stay equal.
"""

from __future__ import annotations

from numbers import Integral

import torch
from torch import nn

from albench.associated import AssociatedComponent, AssociatedNetwork
from albench.errors import UsageError
from albench.networks.initialisation import component_generator, he_linear


def associated_mlp(
    *,
    in_features: int,
    width: int,
    hidden_layers: int,
    classes: int,
    bridge_width: int | None = None,
    seed: int = 0,
) -> AssociatedNetwork:
    """Return the folded MLP for inputs ``[B, in_features]`` (or of any shape with that many numbers an instance).

    `hidden_layers` is ℓ and must be even; `width` is W, the units of every s_i and t_i. `bridge_width` None makes
    every b_i one layer (Figure 4); a number gives it a hidden layer of that many units, as in the paper's tables.
    ELU in f, sigmoid in g, h and b; He-normal weights, zero biases, from a generator seeded by (seed, component).
    """
    _check_sizes(in_features=in_features, width=width, hidden_layers=hidden_layers, classes=classes)
    _check_sizes(bridge_width=bridge_width if bridge_width is not None else 1)
    if hidden_layers % 2:
        raise UsageError(
            f"hidden_layers is {hidden_layers}: folding needs an even number, "
            f"try {max(hidden_layers - 1, 2)} or {hidden_layers + 1}"
        )
    components = []
    for i in range(hidden_layers // 2):
        generator = component_generator(seed, i)
        features_in = in_features if i == 0 else width
        target_in = classes if i == 0 else width
        f: list[nn.Module] = [nn.Flatten()] if i == 0 else []
        f += [he_linear(features_in, width, generator), nn.ELU()]
        b: list[nn.Module] = []
        if bridge_width is not None:
            b += [he_linear(width, bridge_width, generator), nn.Sigmoid()]
        b += [he_linear(bridge_width or width, width, generator), nn.Sigmoid()]
        components.append(
            AssociatedComponent(
                f=nn.Sequential(*f),
                b=nn.Sequential(*b),
                g=nn.Sequential(he_linear(target_in, width, generator), nn.Sigmoid()),
                h=nn.Sequential(he_linear(width, target_in, generator), nn.Sigmoid()),
                generator=generator,
            )
        )
    return AssociatedNetwork(components, classes=classes)


def mlp(
    *,
    in_features: int,
    width: int,
    hidden_layers: int,
    classes: int,
    bridge_width: int | None = None,
    seed: int = 0,
) -> nn.Sequential:
    """Return the BP twin: ℓ hidden ReLU layers of W units and a linear output layer, ``[B, classes]`` logits.

    With `bridge_width` the top bridge's hidden layer stands in the middle, so that the twin has the effective
    parameters of `associated_mlp` with the same arguments (1024, 1024, 5120, 1024, 1024, 10 in the paper). That
    middle layer needs ℓ to be even; without it any ℓ ≥ 1 will do.
    """
    _check_sizes(in_features=in_features, width=width, hidden_layers=hidden_layers, classes=classes)
    _check_sizes(bridge_width=bridge_width if bridge_width is not None else 1)
    widths = [width] * hidden_layers
    if bridge_width is not None:
        if hidden_layers % 2:
            raise UsageError(f"hidden_layers is {hidden_layers}: a bridge in the middle needs an even number")
        widths.insert(hidden_layers // 2, bridge_width)
    generator: torch.Generator = component_generator(seed, 0)
    layers: list[nn.Module] = [nn.Flatten()]
    for units_in, units in zip([in_features, *widths], widths, strict=False):
        layers += [he_linear(units_in, units, generator), nn.ReLU()]
    layers.append(he_linear(widths[-1], classes, generator))
    return nn.Sequential(*layers)


def _check_sizes(**sizes: int) -> None:
    """Refuse sizes below one, and what is no whole number."""
    for name, size in sizes.items():
        if not isinstance(size, Integral) or size < 1:
            raise UsageError(f"{name} is {size!r}: give a whole number of at least 1")
