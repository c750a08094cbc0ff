"""What a projection costs: a million tasks are replayed in less than two seconds.

Durations, links and latencies all count, so no closed form would do. `MILLION` is K × N tasks of AL, and 2 · S · M
actions of a pipeline of back-propagation.
"""

from __future__ import annotations

import numpy as np
import pytest

from albench.analysis.replay import pipeline_ends, stages_makespan
from albench.schedule import gpipe_turns, interleaved_turns, one_f_one_b_turns, partition

MILLION = 2**20
ROUNDS = 5


@pytest.fixture
def timed(benchmark, request):
    """Time a call some rounds; `--smoke` once."""

    def run(call, tasks):
        benchmark.extra_info["tasks"] = tasks
        rounds = 1 if request.config.getoption("--smoke") else ROUNDS
        return benchmark.pedantic(call, rounds=rounds, iterations=1)

    return run


@pytest.mark.parametrize("lanes", [2, 64, 1024, 4096])
def test_tasks_of_al_that_differ_from_mini_batch_to_mini_batch(timed, lanes):
    seconds_KN = np.random.default_rng(0).uniform(1.0, 2.0, (lanes, MILLION // lanes))
    ends = timed(lambda: pipeline_ends(seconds_KN, link_seconds=0.1, latency_seconds=0.1), MILLION)
    assert ends.shape == seconds_KN.shape


PIPELINES = {
    "gpipe": gpipe_turns(512, 1024),
    "gpipe on 4096 lanes": gpipe_turns(4096, 128),
    "1f1b": one_f_one_b_turns(512, 1024),
    "interleaved-1f1b": interleaved_turns(256, 1024),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_actions_of_unequal_stages(timed, name):
    turns = PIPELINES[name]
    draw = np.random.default_rng(0)
    forward, backward = (draw.uniform(1.0, 2.0, turns.stages) for _ in "FB")
    tasks = 2 * turns.stages * turns.microbatches
    assert tasks == MILLION
    makespan = timed(lambda: stages_makespan(turns, forward, backward, link_seconds=0.1, latency_seconds=0.1), MILLION)
    assert makespan > turns.microbatches * 2.0


def test_thousands_of_components_are_cut(timed):
    costs = np.random.default_rng(0).uniform(1.0, 2.0, 8192).tolist()
    assert len(timed(lambda: partition(costs, 4096), len(costs))) == 4096
