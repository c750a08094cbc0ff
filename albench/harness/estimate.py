"""Estimate: a rough guess of how long a case takes, to weigh progress by and to tell how long a suite will run."""

from __future__ import annotations

from albench.harness.scenario import Scenario
from albench.methods.cutting import PIPELINES


def estimated_seconds(scenario: Scenario) -> float:
    """Return a rough guess of a case's seconds, to weigh progress by; only its proportions matter.

    Per layer and mini-batch: a fixed price for launching (lower where a stack shares it), and arithmetic at about
    3·10¹⁰ operations a second, forward, backward and the optimizer's pass over the weights.
    """
    layers = scenario.hidden_layers
    stacked = dict.fromkeys(("fused", "fused-compiled", "graph", "compiled-graph"), 2e-5)
    one_by_one = {"eager": 5e-5, "compiled": 5e-5}
    launches = (stacked | one_by_one).get(scenario.engine, 2.5e-4) * layers + 4e-4
    arithmetic = layers * (6 * scenario.batch_size + 30) * scenario.width**2 / 3e10
    fills = scenario.method == "al" and scenario.engine in stacked
    ticks = scenario.minibatches + (layers // 2 if fills else 0)
    # The processes of a team must meet, and compiling is part of a case and not of its time.
    start = 20.0 if "compiled" in scenario.engine else {"ranks": 1.0}.get(scenario.engine, 0.25)
    if scenario.device == "cuda":  # a context, libraries, clocks that rise; the sums are next to nothing there
        return start + 2.5 + ticks * launches * scenario.microbatches
    return start + ticks * (launches * scenario.microbatches + arithmetic / _overlap(scenario))


def _overlap(scenario: Scenario) -> float:
    """Return how many times as fast the arithmetic goes on all lanes of a method beside AL and BP, at its best."""
    lanes, microbatches = scenario.lanes, scenario.microbatches
    if scenario.method in PIPELINES:
        return lanes * microbatches / (microbatches + lanes - 1)
    return {"ddp": lanes, "al-ddp": scenario.replicas}.get(scenario.method, 1)
