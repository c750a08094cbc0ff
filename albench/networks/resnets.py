"""ResNets for small images (He et al., 2015): the folded AL network and its BP twin.

    f_1   a 3 × 3 convolution of 16 channels, BatchNorm
    f_2   a stage of 16 channels        a stage is n basic blocks: 3 in ResNet-20, 5 in ResNet-32
    f_3   a stage of 32, stride 2
    f_4   a stage of 64, stride 2

A block is convolution, BatchNorm, activation, convolution, BatchNorm, plus what it was given, activation. Where it has
a stride what it was given goes through a 1 × 1 convolution, without BatchNorm. Every convolution has a bias, as in the
published code, though BatchNorm takes out those that stand before it: the parameter counts say so.

The twin pools the last maps to 64 means; then come its dense layers, 5·W, W, W, W, W with BatchNorm before each ReLU,
and C. AL's top bridge reads the maps whole, so on CIFAR-10 the effective parameters of ResNet-20 are 7,142,126 and
1,099,526. W is 300 for 10 classes and 500 for 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from albench.associated import AssociatedNetwork
from albench.networks.folding import Stage, folded, path_widths, twin
from albench.networks.initialisation import he_conv
from albench.networks.layers import LayerRow, batch_norm
from albench.networks.sizes import check_image_shape, check_sizes
from albench.networks.spec import BridgeForm, NetworkSpec

CHANNELS = (16, 32, 64)
"""Of each stage; the first convolution has those of the first one."""
BLOCKS = {"resnet20": 3, "resnet32": 5}
"""Basic blocks in each stage, by the network's name: 6·n + 2 is its number of weighted layers."""


class BasicBlock(nn.Module):
    """Two convolutions and a way around them, for maps ``[B, C, H, W]``."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        stride: int,
        activation: type[nn.Module],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        shape = (channels, 1, 1)
        self.body = nn.Sequential(
            he_conv(in_channels, channels, generator, stride=stride),
            batch_norm(shape),
            activation(),
            he_conv(channels, channels, generator),
            batch_norm(shape),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = he_conv(in_channels, channels, generator, kernel=1, stride=stride)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        """Return maps ``[B, channels, ⌈H/stride⌉, ⌈W/stride⌉]``."""
        out: Tensor = self.activation(self.body(x) + self.shortcut(x))
        return out


def associated_resnet(
    *,
    input_shape: Sequence[int],
    width: int,
    classes: int,
    blocks: int,
    bridge_width: int | None = None,
    bridge: BridgeForm = "flat",
    channels: Sequence[int] = CHANNELS,
    seed: int = 0,
) -> AssociatedNetwork:
    """Return the folded ResNet for images ``[B, *input_shape]``: a component for the first convolution and each stage.

    `blocks`: in each stage, 3 for ResNet-20 and 5 for ResNet-32. `width` is W, the units of every t_i; `bridge_width`
    and `bridge` are as in `albench.networks.spec.NetworkSpec`.
    """
    shape, stages = _checked(input_shape, channels, blocks, width=width, classes=classes, bridge_width=bridge_width)
    return folded(
        shape,
        stages,
        width=width,
        classes=classes,
        bridge_widths=[bridge_width] * len(stages),
        bridge=bridge,
        normalised=True,
        seed=seed,
    )


def resnet(
    *,
    input_shape: Sequence[int],
    width: int,
    classes: int,
    blocks: int,
    bridge_width: int | None = None,
    channels: Sequence[int] = CHANNELS,
    seed: int = 0,
) -> nn.Sequential:
    """Return the BP twin, which gives ``[B, classes]`` logits: the same stages, their means, and dense layers."""
    shape, stages = _checked(input_shape, channels, blocks, width=width, classes=classes, bridge_width=bridge_width)
    dense_widths = path_widths(len(stages), width=width, bridge_width=bridge_width)
    return twin(shape, stages, dense_widths=dense_widths, classes=classes, bridge="pooled", normalised=True, seed=seed)


def associated_of(spec: NetworkSpec) -> AssociatedNetwork:
    """Return the folded ResNet of a specification."""
    return associated_resnet(
        input_shape=spec.input_shape,
        width=spec.width,
        classes=spec.classes,
        blocks=BLOCKS[spec.name],
        bridge_width=spec.bridge_width,
        bridge=spec.bridge,
        seed=spec.seed,
    )


def twin_of(spec: NetworkSpec) -> nn.Sequential:
    """Return the BP twin of a specification; it pools whatever AL's bridges do."""
    return resnet(
        input_shape=spec.input_shape,
        width=spec.width,
        classes=spec.classes,
        blocks=BLOCKS[spec.name],
        bridge_width=spec.bridge_width,
        seed=spec.seed,
    )


def _checked(
    input_shape: Sequence[int],
    channels: Sequence[int],
    blocks: int,
    *,
    width: int,
    classes: int,
    bridge_width: int | None,
) -> tuple[tuple[int, int, int], list[Stage]]:
    """Return the checked shape of an image and the stages, the first convolution among them."""
    check_sizes(width=width, classes=classes, blocks=blocks, stages=len(channels))
    check_sizes(bridge_width=bridge_width if bridge_width is not None else 1)
    for size in channels:
        check_sizes(channels=size)
    stages: list[Stage] = [partial(_first_convolution, channels=channels[0])]
    for i, size in enumerate(channels):
        stages.append(partial(_stage, channels=size, blocks=blocks, stride=1 if i == 0 else 2))
    return check_image_shape(input_shape, network="resnet"), stages


def _first_convolution(row: LayerRow, *, channels: int) -> None:
    row.conv(channels)


def _stage(row: LayerRow, *, channels: int, blocks: int, stride: int) -> None:
    for i in range(blocks):
        in_channels, height, width = row.shape
        step = stride if i == 0 else 1
        block = BasicBlock(in_channels, channels, stride=step, activation=row.activation, generator=row.generator)
        row.add(block, (channels, -(-height // step), -(-width // step)))
