"""Estimate: a rough guess of how long a case takes, to weigh progress by and to tell how long a suite will run."""

from __future__ import annotations

from albench.harness.scenario import Scenario
from albench.methods import FOLDED
from albench.methods.cutting import PIPELINES

OF_IMAGES: dict[str, dict[str, tuple[float, float]]] = {
    "cnn": {"twin": (0.321, 5.9), "flat": (0.719, 80.5), "pooled": (0.25, 2.1)},
    "vgg": {"twin": (5.70, 10.6), "flat": (6.01, 164.4), "pooled": (5.12, 15.7)},
    "resnet20": {"twin": (0.249, 1.1), "flat": (0.65, 70.2), "pooled": (0.247, 2.8)},
    "resnet32": {"twin": (0.419, 1.3), "flat": (0.82, 70.4), "pooled": (0.417, 3.0)},
}
"""Billions of operations an instance, and millions of parameters, at the paper's sizes on CIFAR-10."""


def estimated_seconds(scenario: Scenario) -> float:
    """Return a rough guess of a case's seconds, to weigh progress by; only its proportions matter.

    Per layer and mini-batch: a fixed price for launching (lower where a stack shares it), and arithmetic at about
    3·10¹⁰ operations a second, forward, backward and the optimizer's pass over the weights.
    """
    layers = scenario.hidden_layers
    stacked = dict.fromkeys(("fused", "fused-compiled", "graph", "compiled-graph"), 2e-5)
    one_by_one = {"eager": 5e-5, "compiled": 5e-5}
    launches = (stacked | one_by_one).get(scenario.engine, 2.5e-4) * layers + 4e-4
    arithmetic = _operations(scenario) / 3e10
    fills = scenario.method == "al" and scenario.engine in stacked
    ticks = scenario.minibatches + (layers // 2 if fills else 0)
    # The processes of a team must meet, and compiling is part of a case and not of its time.
    start = 20.0 if "compiled" in scenario.engine else {"ranks": 1.0}.get(scenario.engine, 0.25)
    if scenario.device == "cuda":  # a context, libraries, clocks that rise; the sums are next to nothing there
        return start + 2.5 + ticks * launches * scenario.microbatches
    return start + ticks * (launches * scenario.microbatches + arithmetic / _overlap(scenario))


def _operations(scenario: Scenario) -> float:
    """Return the operations of a mini-batch, 30 a parameter for the optimizer among them."""
    if scenario.network not in OF_IMAGES:
        return (6 * scenario.batch_size + 30) * scenario.hidden_layers * scenario.width**2
    form = scenario.bridge if scenario.method in FOLDED else "twin"
    billions, millions = OF_IMAGES[scenario.network][form]
    return 1e9 * billions * scenario.batch_size + 30e6 * millions


def _overlap(scenario: Scenario) -> float:
    """Return how many times as fast the arithmetic goes on all lanes of a method beside AL and BP, at its best."""
    lanes, microbatches = scenario.lanes, scenario.microbatches
    if scenario.method in PIPELINES:
        return lanes * microbatches / (microbatches + lanes - 1)
    return {"ddp": lanes, "al-ddp": scenario.replicas}.get(scenario.method, 1)
