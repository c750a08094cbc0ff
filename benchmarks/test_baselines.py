"""AL on K lanes in turns with everything else that could be done with the same cores, at its best.

Width 1024, batch 256, ℓ = 8, where arithmetic rules. Pipelined back-propagation is tried with every number of
microbatches that its schedule allows, in qualifying rounds before the contest; the fastest of each schedule then takes
part. BP runs on one and on K intra-op threads, eager and compiled; DDP is a process a lane. `albench run baselines`
measures the same in a fresh process each, all numbers of microbatches in every round, and makes the table of a report.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time

import pytest

from albench.harness.case import trainer_options
from albench.harness.scenario import Scenario
from albench.harness.suites import suite_scenarios
from albench.methods import METHODS
from benchmarks.conftest import readied
from benchmarks.contest import Contender
from benchmarks.test_engines import batches

SIZES = {"width": 1024, "batch_size": 256, "minibatches": 12}
SMOKE = {"width": 16, "batch_size": 64, "minibatches": 4}
PIPELINES = ("gpipe", "1f1b", "interleaved-1f1b", "zero-bubble")
TARGETS = dict.fromkeys(PIPELINES, "≥ 2")
"""What was hoped for of AL against the best of them."""
QUALIFYING_ROUNDS = 3
"""Of which the fastest counts: what slows a machine down only ever adds."""


class DIGITS:
    """The sizes of the handwritten digits."""

    in_features, instance_shape, classes = 64, (64,), 10


def data_of(scenario: Scenario):
    return batches(DIGITS.in_features, scenario.batch_size, scenario.minibatches)


@pytest.fixture
def contender(ready):
    """Return a function that makes a contender of a scenario's trainer, closed after the test."""

    def make(scenario: Scenario) -> Contender:
        trainer, sent = ready(scenario.method, trainer_options(scenario, DIGITS), data_of(scenario))
        return Contender(name=scenario.series, run=lambda: trainer.train(sent), minibatches=scenario.minibatches)

    return make


@pytest.fixture(scope="module")
def entrants(request) -> list[Scenario]:
    """Return the scenarios of the suite `baselines`, shrunk for a smoke run."""
    smoke = request.config.getoption("--smoke")
    found = [
        dataclasses.replace(s, **(SMOKE if smoke else SIZES))
        for s in suite_scenarios("baselines")
        if s.purpose == "time"
    ]
    compiles = shutil.which("g++") is not None and not smoke
    found = [s for s in found if s.engine != "compiled" or compiles]
    if not smoke:
        return found
    parts = {method: sorted(s.microbatches for s in found if s.method == method)[:2] for method in METHODS}
    return [s for s in found if s.microbatches in parts[s.method]]  # one of two will qualify


@pytest.fixture(scope="module")
def qualifying_seconds(request, entrants) -> dict[str, dict[int, float]]:
    """Return what a mini-batch takes on each pipeline, with each number of microbatches."""
    rounds = 1 if request.config.getoption("--smoke") else QUALIFYING_ROUNDS
    seconds: dict[str, dict[int, float]] = {}
    for method in PIPELINES:
        with contextlib.ExitStack() as until_the_end:
            teams = [
                (s, *until_the_end.enter_context(readied(s.method, trainer_options(s, DIGITS), data_of(s))))
                for s in entrants
                if s.method == method
            ]
            for _ in range(rounds):
                for s, trainer, sent in teams:
                    start = time.perf_counter()
                    trainer.train(sent)
                    taken = (time.perf_counter() - start) / s.minibatches
                    of_method = seconds.setdefault(method, {})
                    of_method[s.microbatches] = min(taken, of_method.get(s.microbatches, taken))
    return seconds


@pytest.fixture
def rivals(benchmark, entrants, qualifying_seconds) -> list[Scenario]:
    """Return all that AL is in turns with: of each pipeline its fastest number of microbatches."""
    benchmark.extra_info["qualifying_seconds"] = {
        method: {str(m): taken for m, taken in by_microbatches.items()}
        for method, by_microbatches in qualifying_seconds.items()
    }
    best = {method: min(taken, key=taken.__getitem__) for method, taken in qualifying_seconds.items()}
    return [s for s in entrants if s.method != "al" and s.microbatches == best.get(s.method, s.microbatches)]


@pytest.mark.parametrize("engine", ["threads", "ranks"])
def test_al_on_lanes_against_every_baseline(contest, contender, entrants, rivals, engine):
    subject = next(s for s in entrants if s.method == "al" and s.engine == engine and s.lanes > 1)
    contest("AL against its baselines", contender(subject), [(contender(s), TARGETS.get(s.method, "")) for s in rivals])
