"""Made-up records of a contest on two lanes: times with known answers, no clock."""

from __future__ import annotations

import random
from typing import Any

from albench.harness.records import Record
from albench.harness.scenario import Scenario

from . import made_up

Key = tuple[str, str, int, int, int]
"""Method, engine, lanes, microbatches, replicas."""

MILLISECONDS: dict[Key, float] = {
    ("bp", "eager", 1, 1, 1): 150.0,
    ("bp", "eager", 2, 1, 1): 85.0,
    ("al", "serial", 1, 1, 1): 180.0,
    ("al", "threads", 2, 1, 1): 100.0,
    ("ddp", "ranks", 2, 1, 1): 110.0,
    ("al-ddp", "threads", 1, 1, 2): 120.0,
    ("gpipe", "ranks", 2, 1, 1): 190.0,
    ("gpipe", "ranks", 2, 4, 1): 140.0,
    ("gpipe", "ranks", 2, 8, 1): 145.0,
    ("1f1b", "ranks", 2, 4, 1): 150.0,
    ("interleaved-1f1b", "ranks", 2, 4, 1): 160.0,
    ("zero-bubble", "ranks", 2, 4, 1): 155.0,
}
"""AL is 1.4 times as fast as the best pipeline (GPipe, M = 4); BP on two threads is 1.18 times as fast as AL."""


def scenario(key: Key, **changes: Any) -> Scenario:
    method, engine, lanes, microbatches, replicas = key
    given: dict[str, Any] = {
        "method": method,
        "engine": engine,
        "lanes": lanes,
        "microbatches": microbatches,
        "replicas": replicas,
        "hidden_layers": 8,
        "width": 1024,
        "batch_size": 256,
        "minibatches": 24,
    }
    return Scenario(**(given | changes))


def contest(
    milliseconds: dict[Key, float] | None = None, *, rounds: int = 6, noise: float = 0.01, **changes: Any
) -> list[Record]:
    """Return the records of a contest, the rounds scattered around the given milliseconds a mini-batch."""
    draw = random.Random(3)
    records = []
    for number in range(rounds):
        for key, value in (MILLISECONDS if milliseconds is None else milliseconds).items():
            one = scenario(key, **changes)
            seconds = value / 1e3 * one.minibatches * draw.uniform(1 - noise, 1 + noise)
            records.append(
                made_up.record(
                    one,
                    seconds=seconds,
                    round=number,
                    lanes=one.lanes,
                    affiliated_parameters=5_000_000 if one.method in ("al", "al-ddp") else 0,
                    flops_per_minibatch=11_000_000_000,
                    accuracy=0.1,
                )
            )
    return records


def failures(reason: str = "not done after its limit of 60 s", *, status: str = "timed-out") -> list[Record]:
    """Return a failed case of every pipeline of the contest."""
    return [
        made_up.record(scenario(key), status=status, reason=reason)
        for key in MILLISECONDS
        if key[0] not in ("bp", "al", "ddp", "al-ddp")
    ]


def only(*methods: str) -> dict[Key, float]:
    """Return the contenders of some methods."""
    return {key: value for key, value in MILLISECONDS.items() if key[0] in methods}
