"""Made-up mini-batches and what two runs are compared by."""

import torch

from albench.engines import make_engine
from albench.networks import associated_mlp

FEATURES, CLASSES = 12, 5

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
"""How far a stacked engine may be from the serial one after 200 mini-batches, relative to each tensor's norm."""


def batches(count, *, batch_size=8, ragged=0, seed=1, dtype=torch.float32, features=FEATURES):
    """Return `count` mini-batches, and a shorter last one of `ragged` instances."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [batch_size] * count + ([ragged] if ragged else [])
    return [
        (
            torch.randn(size, features, generator=generator, dtype=torch.float64).to(dtype),
            torch.randint(CLASSES, (size,), generator=generator),
        )
        for size in sizes
    ]


def network(hidden_layers, *, width=9, seed=0, bridge_width=None, dtype=torch.float32):
    return associated_mlp(
        in_features=FEATURES,
        width=width,
        hidden_layers=hidden_layers,
        classes=CLASSES,
        seed=seed,
        bridge_width=bridge_width,
    ).to(dtype)


def trained(name, data, *, hidden_layers=8, net=None, fits=1, **options):
    """Return (state, losses) after training a fresh network on `data`, cut into so many calls of fit."""
    net = net if net is not None else network(hidden_layers)
    options.setdefault("learning_rate", 1e-2)
    if name == "fused":
        # Two intra-op threads on layers this small, on a machine that is busy, are thirty times slower than one.
        options.setdefault("lanes", 1)
    size = -(-len(data) // fits)
    with make_engine(name, net, **options) as engine:
        for start in range(0, len(data), size):
            engine.fit(data[start : start + size])
        return engine.state_dict(), engine.losses


def tensors(state):
    """Return every tensor of a state by name: weights and optimizer state of every component."""
    found = {}
    for i, component in enumerate(state["components"]):
        for name, weight in component["weights"].items():
            found[f"{i}.{name}"] = weight
        for name, moments in component["optimizer"].items():
            for moment, value in moments.items():
                found[f"{i}.{name}.{moment}"] = value
    return found


def assert_bitwise_equal(one, other):
    first, second = tensors(one), tensors(other)
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different, f"{len(different)} of {len(first)} tensors differ, the first is {different[0]}"
    assert one["minibatches"] == other["minibatches"]


def largest_difference(one, other):
    """Return the largest ‖Δ‖/‖w‖ over all weights."""
    return max(
        ((a["weights"][n] - b["weights"][n]).norm() / a["weights"][n].norm()).item()
        for a, b in zip(one["components"], other["components"], strict=True)
        for n in a["weights"]
    )
