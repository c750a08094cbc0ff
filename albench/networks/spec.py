"""The networks by name, and what is said of one before it is built. Nothing here imports torch.

Each kind has a folded AL network and a BP twin. In the published code the two have the same number of effective
parameters (those that a prediction uses) only where the twin is the prediction path, layer for layer:

    CIFAR-10, W = 3000 (mlp), 256 (cnn), 300 (others); bridges 5·W   AL effective   BP twin       AL / BP
    mlp        the same layers                                        117,273,010    117,273,010   1
    cnn        the same layers                                        5,929,962      5,929,962     1
    vgg        BP: BatchNorm, no dense layers in its trunk            12,198,094     10,596,070    1.15
    resnet20   BP: average pooling, BatchNorm in its dense layers     7,142,126      1,099,526     6.50
    resnet32   as resnet20                                            7,337,006      1,294,406     5.67

So "with the same parameters" may be said of mlp and cnn only. With ``bridge="pooled"`` a ResNet's two counts differ by
nothing but the BatchNorm of the twin's dense layers (1,094,126 and 1,099,526 for resnet20), and cnn's stay equal
(769,002, its twin pools too). All counts, with those of the affiliated parts, stand in tests/networks/paper_counts.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from types import MappingProxyType
from typing import Literal

from albench.errors import UsageError, unknown_name
from albench.networks.sizes import check_image_shape, check_shape, check_sizes

BridgeForm = Literal["flat", "pooled"]
"""How a bridge reads a feature map: each number of it, or one mean a channel."""
BRIDGE_FORMS: tuple[BridgeForm, ...] = ("flat", "pooled")


@dataclass(frozen=True, kw_only=True)
class NetworkEntry:
    """A kind of network as the command line knows it."""

    description: str
    """One line: what its components are."""
    module: str
    """The module that builds it: functions ``associated_of(spec)`` and ``twin_of(spec)``."""
    images: bool
    """Whether it takes images ``(channels, height, width)`` and nothing else."""
    hidden_layers: int | None = None
    """ℓ, twice its components, where the kind fixes them; None: any ℓ."""


NETWORKS: Mapping[str, NetworkEntry] = MappingProxyType(
    {
        "mlp": NetworkEntry(
            description="multilayer perceptron of any depth and width; inputs of any shape are flattened",
            module="albench.networks.mlps",
            images=False,
        ),
        "cnn": NetworkEntry(
            description="vanilla CNN: 4 components of two 3 × 3 convolutions, neither BatchNorm nor pooling",
            module="albench.networks.cnns",
            images=True,
            hidden_layers=8,
        ),
        "vgg": NetworkEntry(
            description="VGG: 6 convolutions with max pooling in 3 components, 2 dense layers in a fourth",
            module="albench.networks.vggs",
            images=True,
            hidden_layers=8,
        ),
        "resnet20": NetworkEntry(
            description="ResNet-20: the first convolution and 3 stages of 3 blocks, a component each; BatchNorm",
            module="albench.networks.resnets",
            images=True,
            hidden_layers=8,
        ),
        "resnet32": NetworkEntry(
            description="ResNet-32: the first convolution and 3 stages of 5 blocks, a component each; BatchNorm",
            module="albench.networks.resnets",
            images=True,
            hidden_layers=8,
        ),
    }
)


def network_named(name: str) -> NetworkEntry:
    """Return the kind of network called `name`; an unknown name is a `UsageError` with the nearest names."""
    if name not in NETWORKS:
        raise unknown_name("network", name, NETWORKS)
    return NETWORKS[name]


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """One network, folded or twin: its kind and its sizes."""

    name: str = "mlp"
    """One of `NETWORKS`."""
    input_shape: tuple[int, ...]
    """Of one instance; (channels, height, width) for networks of images."""
    classes: int
    """C."""
    width: int
    """W, the units of every t_i, and of every s_i where those are no feature maps."""
    hidden_layers: int
    """ℓ: an AL network has ℓ/2 components; where ℓ is odd the middle layer is the top bridge's own hidden layer."""
    bridge_width: int | None = None
    """Units of the hidden layer in each bridge, 5·W in the paper's tables; None: bridges of one layer (Figure 4)."""
    bridge: BridgeForm = "flat"
    """How bridges read feature maps: "flat", every number, as the published code; or "pooled", one mean a channel."""
    initial_scale: float = 1.0
    """Deviation of the initial weights of AL's sigmoid layers, all b, g and h, in He's."""
    seed: int = 0
    """Of the initial weights."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built, in one line."""
        entry = network_named(self.name)
        shape = (
            check_image_shape(self.input_shape, network=self.name)
            if entry.images
            else check_shape("input_shape", self.input_shape)
        )
        object.__setattr__(self, "input_shape", shape)
        check_sizes(classes=self.classes, width=self.width, hidden_layers=self.hidden_layers)
        if self.bridge_width is not None:
            check_sizes(bridge_width=self.bridge_width)
        if entry.hidden_layers not in (None, self.hidden_layers):
            raise UsageError(f"hidden_layers is {self.hidden_layers}: {self.name} has {entry.hidden_layers}, give that")
        if self.bridge not in BRIDGE_FORMS:
            raise UsageError(f'bridge is {self.bridge!r}: give "flat" or "pooled"')
        if self.bridge == "pooled" and not entry.images:
            raise UsageError(f'bridge is "pooled": {self.name} has no feature maps to pool, give "flat"')
        if not 0 < self.initial_scale < math.inf:
            raise UsageError(f"initial_scale is {self.initial_scale}: give a number above 0")
        if not isinstance(self.seed, Integral):
            raise UsageError(f"seed is {self.seed!r}: give a whole number")

    @property
    def components(self) -> int:
        """L, components of the folded network."""
        return self.hidden_layers // 2
