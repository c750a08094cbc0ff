"""What the harness costs the steps that it times: the same BP with the sampler reading the machine, and at rest.

`albench run harness` measures the rest: what a case costs beside its window, and an empty window.
"""

from __future__ import annotations

import dataclasses
import time

import pytest

from albench.harness.isolation import PRELOAD
from albench.harness.sampler import Sampler
from albench.machine import usable_cores
from albench.methods.trainer import TrainerOptions
from benchmarks.contest import Contender
from benchmarks.test_engines import CLASSES, LEARNING_RATE, batches

SIZES = {"in_features": 64, "hidden_layers": 8, "width": 512, "batch_size": 128, "minibatches": 24}
"""Steps of ten milliseconds or so."""
SMOKE = {"in_features": 64, "hidden_layers": 2, "width": 16, "batch_size": 8, "minibatches": 4}
SETTLED_SECONDS = 0.6
"""By then the sampler has seen what a reading costs and chosen its rate; a case's window begins later than that."""
ROUNDS = 61
"""A cost of half a per cent is looked for where times scatter by several."""


@pytest.fixture
def sampler():
    with Sampler(preload=PRELOAD) as one:
        yield one


@pytest.mark.parametrize("threads", sorted({1, usable_cores()}))
def test_reading_the_machine_costs_a_step_next_to_nothing(contest, ready, request, sampler, sizes, threads):
    """With a thread on every core there is none left for the sampler: the worst that can be."""
    chosen = sizes(SIZES)
    options = TrainerOptions(
        engine="eager",
        in_features=chosen["in_features"],
        classes=CLASSES,
        width=chosen["width"],
        hidden_layers=chosen["hidden_layers"],
        lanes=threads,
        learning_rate=LEARNING_RATE,
    )
    settled_seconds = 0.0
    data = batches(chosen["in_features"], chosen["batch_size"], chosen["minibatches"])
    trainer, sent = ready("bp", options, data)
    on = f"BP, {threads} thread{'s' if threads > 1 else ''}"

    def rest():
        now = time.perf_counter()
        sampler.window(now, now, used_gpus=[])
        time.sleep(settled_seconds)

    def read():
        sampler.begin(gpus=False)
        time.sleep(settled_seconds)

    def contender(name, before):
        return Contender(name=f"{on}, {name}", run=lambda: trainer.train(sent), minibatches=len(data), before=before)

    if not request.config.getoption("--smoke"):
        contest, settled_seconds = dataclasses.replace(contest, rounds=ROUNDS), SETTLED_SECONDS
    at_rest, reading = contender("at rest", rest), contender("read", read)
    contest("the sampler costs nothing", at_rest, [(reading, "≤ 1.01")])
    assert sampler.process_id is not None, "it should have been at work all the time"
