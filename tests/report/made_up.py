"""Made-up records with known answers, with intercepts as measured ones have them; no clock is ever read.

Small work (width 32, batch 16) is as the prototype measured it: BP's step has a fixed part and a large γ, the fused
engine a small γ, the serial engine no overlap at all, and threads follow the lane law. Large work (width 512, batch
128) is ruled by arithmetic: every engine pays for every layer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from albench.analysis.time_to_accuracy import CurvePoint
from albench.harness.records import Record
from albench.harness.scenario import Scenario

DEPTHS = (2, 4, 8, 16, 32, 64)
LENGTHS = (20, 40, 80)
ROUNDS = 3
ENVIRONMENT = {
    "python": "3.11",
    "cpu": "Made-up CPU",
    "usable_cores": 2,
    "memory_bytes": 3 * 2**30,
    "packages": {"torch": "2.11"},
    "gpus": [],
    "gpu_reason": "NVML sees no GPU",
}

Law = Callable[[int, int, int], float]
"""Seconds of N mini-batches at depth ℓ on K lanes."""


def product(fixed_ms: float, layer_ms: float, start_ms: float = 2.0) -> Law:
    """Every layer costs again in every mini-batch: O(nℓ)."""
    return lambda count, depth, _: (start_ms + count * (fixed_ms + layer_ms * depth)) / 1e3


def pipeline(fixed_ms: float, layer_ms: float, fill_ms: float) -> Law:
    """A layer costs once, and only a little in every mini-batch: O(n+ℓ)."""
    return lambda count, depth, _: (2.0 + fill_ms * depth + count * (fixed_ms + layer_ms * depth)) / 1e3


def lane_law(task_ms: float) -> Law:
    """Flat until the lanes are full: O(nℓ/K)."""
    return lambda count, depth, lanes: (2.0 + 0.1 * depth + count * task_ms * max(1.0, depth / 2 / lanes)) / 1e3


SMALL: dict[tuple[str, str, int], Law] = {
    ("al", "serial", 1): product(0.05, 0.26),
    ("al", "threads", 2): lane_law(0.45),
    ("al", "fused", 1): pipeline(0.37, 0.001, 0.05),
    ("bp", "eager", 1): product(0.19, 0.05),
    ("bp", "eager", 2): product(0.21, 0.056),
}
PROTOTYPE = SMALL | {("al", "fused", 1): pipeline(0.37, 0.0065, 0.05)}
"""The fused engine as the prototype measured it: 32 times the depth takes twice the time, so p is about a half."""
LARGE: dict[tuple[str, str, int], Law] = {
    ("al", "serial", 1): product(1.0, 9.0),
    ("al", "threads", 2): lane_law(16.0),
    ("al", "fused", 1): product(2.0, 8.0),
    ("bp", "eager", 1): product(1.5, 6.0),
    ("bp", "eager", 2): product(1.2, 3.4),
}


def record(scenario: Scenario, *, seconds: float | None = None, **fields: Any) -> Record:
    """Return a record of a scenario; without `seconds` give a status and a reason."""
    al = scenario.method == "al"
    width = scenario.width
    given: dict[str, Any] = {
        "key": scenario.key,
        "scenario": scenario,
        "round": 0,
        "status": "measured" if seconds is not None else "failed",
        "started_at": "2026-01-02T03:04:05+00:00",
        "environment": ENVIRONMENT,
        "suite": "made-up",
        "seconds": seconds,
        "instances": scenario.instances,
        "lanes": min(scenario.lanes, scenario.hidden_layers // 2) if al else scenario.lanes,
        "lane_kind": "cpu-thread" if al else "intra-op-thread",
        "components": scenario.hidden_layers // 2 if al else None,
        "effective_parameters": width * width * scenario.hidden_layers,
        "affiliated_parameters": width * width * scenario.hidden_layers // 2 if al else 0,
        "peak_memory_bytes": 2**28,
    }
    return Record(**(given | fields))


def sweep(
    laws: dict[tuple[str, str, int], Law],
    *,
    width: int,
    batch_size: int,
    depths: Iterable[int] = DEPTHS,
    lengths: Iterable[int] = LENGTHS,
    rounds: int = ROUNDS,
    noise: float = 0.01,
    seed: int = 1,
) -> list[Record]:
    """Return the records of a time sweep; task times are those that the serial law implies."""
    draw = random.Random(seed)
    records = []
    for round_number in range(rounds):
        for (method, engine, lanes), law in laws.items():
            for depth in depths:
                for count in lengths:
                    scenario = Scenario(
                        method=method,
                        engine=engine,
                        lanes=lanes,
                        hidden_layers=depth,
                        width=width,
                        batch_size=batch_size,
                        minibatches=count,
                    )
                    task = 0.9 * (law(1000, depth, 1) - law(999, depth, 1)) / (depth / 2)
                    records.append(
                        record(
                            scenario,
                            seconds=law(count, depth, lanes) * draw.lognormvariate(0.0, noise),
                            round=round_number,
                            accuracy=0.3 + 0.002 * count / depth,
                            task_seconds=[task] * (depth // 2) if engine == "serial" else None,
                        )
                    )
    return records


def trained(
    accuracy: dict[str, dict[int, float]],
    *,
    width: int = 32,
    batch_size: int = 16,
    seeds: int = 5,
    learning_rate: float = 1e-3,
) -> list[Record]:
    """Return records of networks trained to the end, their accuracies scattered evenly by a point around the mean."""
    records = []
    for method, by_depth in accuracy.items():
        for depth, mean in by_depth.items():
            for seed in range(seeds):
                scenario = Scenario(
                    method=method,
                    engine="fused" if method == "al" else "eager",
                    hidden_layers=depth,
                    width=width,
                    batch_size=batch_size,
                    minibatches=2000,
                    learning_rate=learning_rate,
                    seed=seed,
                    purpose="accuracy",
                )
                scatter = 0.01 * (seed - (seeds - 1) / 2) / max(1, seeds - 1)
                records.append(record(scenario, seconds=3.0, accuracy=mean + scatter))
    return records


def learning(
    method: str, final: float, *, epoch_seconds: float, hidden_layers: int = 8, seeds: int = 3, epochs: int = 8
) -> list[Record]:
    """Return records with a learning curve: from a tenth to `final`, half of the rest each epoch; the second seed is
    five percent slower than the first, and so on.
    """
    found = []
    for seed in range(seeds):
        scenario = Scenario(
            method=method,
            engine={"al": "fused", "gpipe": "ranks"}.get(method, "eager"),
            lanes=2 if method == "gpipe" else 1,
            microbatches=2 if method == "gpipe" else 1,
            hidden_layers=hidden_layers,
            width=32,
            batch_size=16,
            minibatches=90 * epochs,
            seed=seed,
            purpose="accuracy",
        )
        pace = epoch_seconds * (1 + seed / 20)
        curve = [CurvePoint(1440 * k, pace * k, final - (final - 0.1) / 2**k) for k in range(1, epochs + 1)]
        found.append(record(scenario, seconds=curve[-1].seconds, accuracy=curve[-1].accuracy, learning_curve=curve))
    return found


GOOD_THEN_BAD = {
    "al": {2: 0.965, 4: 0.962, 8: 0.951, 16: 0.83, 32: 0.31, 64: 0.11},
    "bp": {2: 0.97, 4: 0.972, 8: 0.968, 16: 0.96, 32: 0.93, 64: 0.9},
}


IDLE = Scenario(method="idle", engine="eager", hidden_layers=2, width=8, batch_size=8, minibatches=1)
"""What the suite of the harness runs: nothing."""


def many(*, series: int, depths: int, lengths: int, rounds: int, works: int = 1, failing: bool = False) -> list[Record]:
    """Return so many records of a sweep: `series` learning rates of BP, in `works` widths; or all of them failed."""
    draw = random.Random(7)
    records = []
    for work in range(works):
        for one in range(series):
            for depth in range(1, depths + 1):
                for length in range(1, lengths + 1):
                    scenario = Scenario(
                        method="al" if one % 2 else "bp",
                        engine="fused" if one % 2 else "eager",
                        lanes=1,
                        hidden_layers=2 * depth,
                        width=8 * (work + 1),
                        batch_size=16,
                        minibatches=8 * length,
                        learning_rate=1e-3 * (1 + one // 2),
                    )
                    seconds = (2 + 8 * length * (0.2 + 0.05 * depth)) / 1e3
                    for number in range(rounds):
                        if failing:
                            reason = f"process {number} of {scenario.describe()} was killed"
                            records.append(record(scenario, status="failed", reason=reason, round=number))
                        else:
                            noisy = seconds * draw.lognormvariate(0.0, 0.02)
                            records.append(record(scenario, seconds=noisy, round=number, notes=["made up"]))
    return records


def failed(reason: str = "killed after 60 s", status: str = "timed-out", **fields: Any) -> Record:
    """Return a record of a scenario that could not be measured."""
    given: dict[str, Any] = {
        "method": "al",
        "engine": "serial",
        "hidden_layers": 64,
        "width": 512,
        "batch_size": 128,
        "minibatches": 160,
    }
    return record(Scenario(**(given | fields)), status=status, reason=reason)


def everything() -> list[Record]:
    """Return what a quickstart writes: two kinds of work, trained networks, failures, notes."""
    records = sweep(SMALL, width=32, batch_size=16)
    records += sweep(LARGE, width=512, batch_size=128, depths=DEPTHS[:4], lengths=(5, 10, 20))
    records += trained(GOOD_THEN_BAD)
    records += [failed(), failed("only 1.1 GiB of memory were left", "out-of-memory", method="bp", engine="eager")]
    first = records[0]
    records.append(record(first.scenario, seconds=first.seconds, round=ROUNDS, notes=["the control moved by 18 %"]))
    return records
