"""AL on K lanes in turns with everything else that could be done with the same cores, at its best.

Width 1024, batch 256, ℓ = 8, where arithmetic rules. Pipelined back-propagation is tried with every number of
microbatches that its schedule allows; BP runs on one and on K intra-op threads, eager and compiled; DDP is a process a
lane. `albench run baselines` measures the same in a fresh process each, and makes the table of a report.
"""

from __future__ import annotations

import shutil

import pytest

from albench.harness.case import trainer_options
from albench.harness.scenario import Scenario
from albench.harness.suites import suite_scenarios
from benchmarks.contest import Contender
from benchmarks.test_engines import batches

SIZES = {"width": 1024, "batch_size": 256, "minibatches": 12}
SMOKE = {"width": 16, "batch_size": 64, "minibatches": 4}
PIPELINES = ("gpipe", "1f1b", "interleaved-1f1b", "zero-bubble")
TARGETS = dict.fromkeys(PIPELINES, "≥ 2")
"""What was hoped for of AL against the best of them."""


@pytest.fixture
def contender(ready):
    """Return a function that makes a contender of a scenario's trainer, closed after the test."""

    def make(scenario: Scenario) -> Contender:
        data = batches(64, scenario.batch_size, scenario.minibatches)
        trainer, sent = ready(scenario.method, trainer_options(scenario, DIGITS), data)
        return Contender(name=scenario.series, run=lambda: trainer.train(sent), minibatches=len(data))

    return make


class DIGITS:
    """The sizes of the handwritten digits."""

    in_features, classes = 64, 10


@pytest.fixture
def rivals(request):
    """Return the scenarios of the suite `baselines`, shrunk for a smoke run."""
    smoke = request.config.getoption("--smoke")
    found = [
        Scenario(**{**{f: getattr(s, f) for f in s.__dataclass_fields__}, **(SMOKE if smoke else SIZES)})
        for s in suite_scenarios("baselines")
        if s.purpose == "time"
    ]
    compiles = shutil.which("g++") is not None and not smoke
    found = [s for s in found if s.engine != "compiled" or compiles]
    if smoke:  # the fewest microbatches of each will do
        found = [s for s in found if s.microbatches == min(t.microbatches for t in found if t.method == s.method)]
    return found


@pytest.mark.parametrize("engine", ["threads", "ranks"])
def test_al_on_lanes_against_every_baseline(contest, contender, rivals, engine):
    subject = next(s for s in rivals if s.method == "al" and s.engine == engine and s.lanes > 1)
    others = [s for s in rivals if s.method != "al"]
    contest("AL against its baselines", contender(subject), [(contender(s), TARGETS.get(s.method, "")) for s in others])
