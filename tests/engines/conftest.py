"""Fixtures of the engines' tests."""

import pytest

from albench.engines import graph
from tests.engines.device_runs import allowed_on_the_cpu
from tests.engines.graph_runs import replays, warmed_up


@pytest.fixture
def _cpu_twins():
    """Let `make_engine` make engines of CUDA lanes for a network on the CPU."""
    with allowed_on_the_cpu():
        yield


@pytest.fixture
def _warm_ups(monkeypatch):
    """Count the graph engine's replays, and run its body on the CPU as often before the first as the recorder would."""
    replays.clear()
    monkeypatch.setattr(graph, "record", warmed_up(graph.record, replays))
