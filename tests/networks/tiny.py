"""The paper's networks, small enough to train in a test: images of 8 × 8, few channels, five classes."""

import torch

from albench.networks import (
    associated_cnn,
    associated_mlp,
    associated_resnet,
    associated_vgg,
    cnn,
    mlp,
    resnet,
    vgg,
)

IMAGE, CLASSES, WIDTH, BRIDGE_WIDTH = (3, 8, 8), 5, 10, 20
SIZES = {"input_shape": IMAGE, "classes": CLASSES, "width": WIDTH, "bridge_width": BRIDGE_WIDTH}
MLP = {"in_features": 192, "classes": CLASSES, "width": WIDTH, "bridge_width": BRIDGE_WIDTH, "hidden_layers": 4}
CNN = {"channels": (4, 4, 6, 6)}
VGG = {"layers": ((4, 6, "pool"), (6, 8, "pool"), (8, "pool", 8, "pool"))}
RESNET = {"channels": (4, 6, 8), "blocks": 2}

FOLDED = {
    "mlp": lambda **changes: associated_mlp(**MLP | changes),
    "cnn": lambda **changes: associated_cnn(**SIZES | CNN | changes),
    "vgg": lambda **changes: associated_vgg(**SIZES | VGG | {"dense": (12, 12)} | changes),
    "resnet": lambda **changes: associated_resnet(**SIZES | RESNET | changes),
}
"""By kind: a function that makes the folded network, with any of its sizes changed."""
TWINS = {
    "mlp": lambda **changes: mlp(**MLP | changes),
    "cnn": lambda **changes: cnn(**SIZES | CNN | changes),
    "vgg": lambda **changes: vgg(**SIZES | VGG | changes),
    "resnet": lambda **changes: resnet(**SIZES | RESNET | changes),
}
IMAGES = ("cnn", "vgg", "resnet")


def image_batches(count, *, batch_size=8, ragged=0, seed=1, shape=IMAGE):
    """Return `count` mini-batches of images, and a shorter last one of `ragged` instances."""
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(size, *shape, generator=generator), torch.randint(CLASSES, (size,), generator=generator))
        for size in [batch_size] * count + ([ragged] if ragged else [])
    ]


def count(parameters):
    return sum(parameter.numel() for parameter in parameters)
