"""Initial weights: He-normal weights and zero biases, drawn from a generator of the component's own.

The generator of component i is seeded by (seed, i) and nothing else, so neither the order in which components are
built nor the torch-wide random state decides a weight, and building a network leaves that state as it was.
"""

from __future__ import annotations

import hashlib

import torch
from torch import nn
from torch.nn.utils import skip_init


def component_generator(seed: int, component: int) -> torch.Generator:
    """Return the generator of one component, on the CPU."""
    digest = hashlib.blake2b(f"{seed}/{component}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def he_linear(in_features: int, out_features: int, generator: torch.Generator) -> nn.Linear:
    """Return a linear layer with weights from N(0, 2/in_features) (He et al., 2015) and zero biases."""
    layer: nn.Linear = skip_init(nn.Linear, in_features, out_features)  # type: ignore[no-untyped-call]
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
