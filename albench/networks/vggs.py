"""VGG: the folded AL network and its BP twin, which here are not the same path.

    f_1   3 × 3 convolutions of 128 and 256 channels, max pooling
    f_2   256 and 512, max pooling
    f_3   512, max pooling, 512, max pooling
    f_4   two dense layers of 1024 units

Two things set the twin apart in the published code. It has BatchNorm before every ReLU, AL has none. And it has no
dense layers of 1024: after the convolutions come 5·W, W, W, W, W and C. Effective parameters on CIFAR-10 are 12,198,094
and 10,596,070. W is 300 for 10 classes and 500 for 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from torch import nn

from albench.associated import AssociatedNetwork
from albench.errors import UsageError
from albench.networks.folding import Stage, folded, path_widths, twin
from albench.networks.layers import LayerRow
from albench.networks.sizes import check_image_shape, check_sizes
from albench.networks.spec import BridgeForm, NetworkSpec

Layers = Sequence[int | Literal["pool"]]
"""Of one component: channels of a convolution, or max pooling."""
LAYERS: tuple[Layers, ...] = ((128, 256, "pool"), (256, 512, "pool"), (512, "pool", 512, "pool"))
DENSE = (1024, 1024)
"""Units of the dense layers of the last component."""


def associated_vgg(
    *,
    input_shape: Sequence[int],
    width: int,
    classes: int,
    bridge_width: int | None = None,
    bridge: BridgeForm = "flat",
    layers: Sequence[Layers] = LAYERS,
    dense: Sequence[int] = DENSE,
    seed: int = 0,
) -> AssociatedNetwork:
    """Return the folded VGG for images ``[B, *input_shape]``: a component for each entry of `layers`, and a dense one.

    `width` is W, the units of every t_i; `bridge_width` and `bridge` are as in `albench.networks.spec.NetworkSpec`.
    """
    shape, convolutional = _checked(input_shape, layers, width=width, classes=classes, bridge_width=bridge_width)
    check_sizes(dense_layers=len(dense))
    for units in dense:
        check_sizes(dense=units)
    stages: list[Stage] = [*convolutional, partial(_dense_stage, widths=dense)]
    return folded(
        shape,
        stages,
        width=width,
        classes=classes,
        bridge_widths=[bridge_width] * len(stages),
        bridge=bridge,
        seed=seed,
    )


def vgg(
    *,
    input_shape: Sequence[int],
    width: int,
    classes: int,
    bridge_width: int | None = None,
    layers: Sequence[Layers] = LAYERS,
    seed: int = 0,
) -> nn.Sequential:
    """Return the BP twin, which gives ``[B, classes]`` logits: the same convolutions, BatchNorm, and dense layers."""
    shape, stages = _checked(input_shape, layers, width=width, classes=classes, bridge_width=bridge_width)
    dense_widths = path_widths(len(stages) + 1, width=width, bridge_width=bridge_width)
    return twin(shape, stages, dense_widths=dense_widths, classes=classes, normalised=True, seed=seed)


def associated_of(spec: NetworkSpec) -> AssociatedNetwork:
    """Return the folded VGG of a specification."""
    return associated_vgg(
        input_shape=spec.input_shape,
        width=spec.width,
        classes=spec.classes,
        bridge_width=spec.bridge_width,
        bridge=spec.bridge,
        seed=spec.seed,
    )


def twin_of(spec: NetworkSpec) -> nn.Sequential:
    """Return the BP twin of a specification. Its dense layers are no bridge's, and pool nothing."""
    return vgg(
        input_shape=spec.input_shape,
        width=spec.width,
        classes=spec.classes,
        bridge_width=spec.bridge_width,
        seed=spec.seed,
    )


def _checked(
    input_shape: Sequence[int], layers: Sequence[Layers], *, width: int, classes: int, bridge_width: int | None
) -> tuple[tuple[int, int, int], list[Stage]]:
    """Return the checked shape of an image and the stages of convolutions."""
    check_sizes(width=width, classes=classes)
    check_sizes(bridge_width=bridge_width if bridge_width is not None else 1)
    for one in layers:
        if all(layer == "pool" for layer in one):
            raise UsageError(f"layers of a component are {tuple(one)}: give at least one convolution's channels")
        for layer in one:
            check_sizes(channels=1 if layer == "pool" else layer)
    return check_image_shape(input_shape, network="vgg"), [partial(_stage, layers=one) for one in layers]


def _stage(row: LayerRow, *, layers: Layers) -> None:
    for layer in layers:
        if layer == "pool":
            row.max_pool()
        else:
            row.conv(layer)


def _dense_stage(row: LayerRow, *, widths: Sequence[int]) -> None:
    row.flatten()
    for units in widths:
        row.dense(units)
