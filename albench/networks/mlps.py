"""Multilayer perceptrons: the folded AL network and its BP twin.

The folded network of ℓ hidden layers has ℓ/2 components. Along the prediction path (Eq. 8) it is

    x ─f_1─► W ─f_2─► W … ─f_L─► W ─b_L─► W ─h_L─► W … ─h_2─► W ─h_1─► C

which is, layer for layer, an MLP with ℓ hidden layers of W units: with bridges of one layer, equal depth *is* equal
effective parameters. Where bridges have a hidden layer of their own (5·W units in the paper's tables), the path has
ℓ + 1 hidden layers; the twin then absorbs that layer too, so that the effective parameters stay equal.

The paper's MLPs are W = 1024 (MNIST) and W = 3000 (CIFAR) with two components and bridges of 5·W: five hidden layers
along the path. A specification may count them so, too: where its ℓ is odd, the middle layer is the top bridge's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from torch import nn

from albench.associated import AssociatedNetwork
from albench.errors import UsageError
from albench.networks.folding import Stage, folded, path_widths, twin
from albench.networks.layers import LayerRow
from albench.networks.sizes import check_sizes
from albench.networks.spec import NetworkSpec


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
    check_sizes(in_features=in_features, width=width, hidden_layers=hidden_layers, classes=classes)
    check_sizes(bridge_width=bridge_width if bridge_width is not None else 1)
    if hidden_layers % 2:
        raise UsageError(
            f"hidden_layers is {hidden_layers}: folding needs an even number, "
            f"try {max(hidden_layers - 1, 2)} or {hidden_layers + 1}"
        )
    return _folded(in_features, width, classes, [bridge_width] * (hidden_layers // 2), seed)


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
    check_sizes(in_features=in_features, width=width, hidden_layers=hidden_layers, classes=classes)
    check_sizes(bridge_width=bridge_width if bridge_width is not None else 1)
    if bridge_width is None:
        return _twin(in_features, [width] * hidden_layers, classes, seed)
    if hidden_layers % 2:
        raise UsageError(f"hidden_layers is {hidden_layers}: a bridge in the middle needs an even number")
    half = hidden_layers // 2
    widths = [width] * half + path_widths(half, width=width, bridge_width=bridge_width)
    return _twin(in_features, widths, classes, seed)


def associated_of(spec: NetworkSpec) -> AssociatedNetwork:
    """Return the folded MLP of a specification; where ℓ is odd, only the top bridge has a layer more.

    Raises `UsageError` for ℓ = 1, of which nothing can be folded.
    """
    if spec.components < 1:
        raise UsageError(f"hidden_layers is {spec.hidden_layers}: folding needs at least 2")
    bridge_widths = [spec.bridge_width] * spec.components
    if spec.hidden_layers % 2 and spec.bridge_width is None:
        bridge_widths[-1] = spec.width
    return _folded(math.prod(spec.input_shape), spec.width, spec.classes, bridge_widths, spec.seed)


def twin_of(spec: NetworkSpec) -> nn.Sequential:
    """Return the BP twin of a specification; where ℓ is odd, the middle one of its ℓ layers is the top bridge's."""
    middle = spec.bridge_width
    if spec.hidden_layers % 2 and middle is None:
        middle = spec.width
    widths = [spec.width] * spec.components + path_widths(spec.components, width=spec.width, bridge_width=middle)
    return _twin(math.prod(spec.input_shape), widths, spec.classes, spec.seed)


def _folded(
    in_features: int, width: int, classes: int, bridge_widths: Sequence[int | None], seed: int
) -> AssociatedNetwork:
    stages = _stages(in_features, [width] * len(bridge_widths))
    return folded((in_features,), stages, width=width, classes=classes, bridge_widths=bridge_widths, seed=seed)


def _twin(in_features: int, widths: Sequence[int], classes: int, seed: int) -> nn.Sequential:
    return twin((in_features,), _stages(in_features, widths), dense_widths=[], classes=classes, seed=seed)


def _stages(in_features: int, widths: Sequence[int]) -> list[Stage]:
    return [partial(_stage, units=units, first_of=in_features if i == 0 else None) for i, units in enumerate(widths)]


def _stage(row: LayerRow, *, units: int, first_of: int | None) -> None:
    if first_of is not None:
        row.add(nn.Flatten(), (first_of,))  # instances may come in any shape
    row.dense(units)
