"""Vanilla convolutional networks: the folded AL network and its BP twin.

A component's f is two 3 × 3 convolutions, the second one with a stride of 2 in every other component; there is neither
BatchNorm nor pooling. On CIFAR's images:

    image ─f_1─► 32 × 32² ─f_2─► 32 × 16² ─f_3─► 64 × 16² ─f_4─► 64 × 8² ─b_4─► 5·W ─► W ─h_4─► W … W ─h_1─► C

The twin is the same path with ReLU: 8 convolutions, then 5·W, W, W, W, W and C. So the effective parameters are equal.
W is 256 for 10 classes and 500 for 100. The paper's text speaks of six components and gives no shapes of them; these
are the four of the published code.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import nn

from albench.associated import AssociatedNetwork
from albench.errors import UsageError
from albench.networks.folding import Stage, folded, path_widths, twin
from albench.networks.layers import LayerRow
from albench.networks.sizes import check_image_shape, check_sizes
from albench.networks.spec import BridgeForm, NetworkSpec

CHANNELS = (32, 32, 64, 64)
"""Of both convolutions of each component."""
STRIDES = (1, 2, 1, 2)
"""Of the second convolution of each component."""


def associated_cnn(
    *,
    input_shape: Sequence[int],
    width: int,
    classes: int,
    bridge_width: int | None = None,
    bridge: BridgeForm = "flat",
    channels: Sequence[int] = CHANNELS,
    strides: Sequence[int] = STRIDES,
    seed: int = 0,
) -> AssociatedNetwork:
    """Return the folded CNN for images ``[B, *input_shape]``, a component for each entry of `channels`.

    `width` is W, the units of every t_i; `bridge_width` and `bridge` are as in `albench.networks.spec.NetworkSpec`.
    """
    shape, stages = _checked(input_shape, channels, strides, width=width, classes=classes, bridge_width=bridge_width)
    return folded(
        shape,
        stages,
        width=width,
        classes=classes,
        bridge_widths=[bridge_width] * len(stages),
        bridge=bridge,
        seed=seed,
    )


def cnn(
    *,
    input_shape: Sequence[int],
    width: int,
    classes: int,
    bridge_width: int | None = None,
    bridge: BridgeForm = "flat",
    channels: Sequence[int] = CHANNELS,
    strides: Sequence[int] = STRIDES,
    seed: int = 0,
) -> nn.Sequential:
    """Return the BP twin, which gives ``[B, classes]`` logits: the prediction path of `associated_cnn`, with ReLU."""
    shape, stages = _checked(input_shape, channels, strides, width=width, classes=classes, bridge_width=bridge_width)
    dense_widths = path_widths(len(stages), width=width, bridge_width=bridge_width)
    return twin(shape, stages, dense_widths=dense_widths, classes=classes, bridge=bridge, seed=seed)


def associated_of(spec: NetworkSpec) -> AssociatedNetwork:
    """Return the folded CNN of a specification."""
    return associated_cnn(
        input_shape=spec.input_shape,
        width=spec.width,
        classes=spec.classes,
        bridge_width=spec.bridge_width,
        bridge=spec.bridge,
        seed=spec.seed,
    )


def twin_of(spec: NetworkSpec) -> nn.Sequential:
    """Return the BP twin of a specification."""
    return cnn(
        input_shape=spec.input_shape,
        width=spec.width,
        classes=spec.classes,
        bridge_width=spec.bridge_width,
        bridge=spec.bridge,
        seed=spec.seed,
    )


def _checked(
    input_shape: Sequence[int],
    channels: Sequence[int],
    strides: Sequence[int],
    *,
    width: int,
    classes: int,
    bridge_width: int | None,
) -> tuple[tuple[int, int, int], list[Stage]]:
    """Return the checked shape of an image and the stages."""
    check_sizes(width=width, classes=classes, components=len(channels))
    check_sizes(bridge_width=bridge_width if bridge_width is not None else 1)
    if len(strides) != len(channels):
        raise UsageError(f"strides are {len(strides)} and channels {len(channels)}: give one of each a component")
    for size, stride in zip(channels, strides, strict=True):
        check_sizes(channels=size, stride=stride)
    stages: list[Stage] = [partial(_stage, channels=c, stride=s) for c, s in zip(channels, strides, strict=True)]
    return check_image_shape(input_shape, network="cnn"), stages


def _stage(row: LayerRow, *, channels: int, stride: int) -> None:
    row.conv(channels)
    row.conv(channels, stride=stride)
