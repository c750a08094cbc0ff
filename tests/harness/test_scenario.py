"""Scenarios: the names of their lines, and contenders that make scenarios which can be run."""

import pytest

from albench.harness.suites import bp_compiled
from tests.harness.test_records import scenario


@pytest.mark.parametrize(
    ("method", "engine", "lanes", "name"),
    [
        ("bp", "eager", 1, "BP, 1 thread"),
        ("bp", "eager", 2, "BP, 2 threads"),
        ("bp", "compiled", 1, "BP compiled"),
        ("bp", "compiled", 2, "BP compiled, 2 threads"),
        ("bp", "graph", 1, "BP graph"),
        ("al", "serial", 1, "AL serial"),
        ("al", "fused", 1, "AL fused"),
        ("al", "fused", 2, "AL fused, 2 threads"),
        ("al", "threads", 1, "AL threads, 1 lane"),
        ("al", "threads", 2, "AL threads, 2 lanes"),
        ("al", "graph", 4, "AL graph, 4 lanes"),
    ],
)
def test_a_line_says_what_runs_it(method, engine, lanes, name):
    """Reports on file hold these names."""
    assert scenario(method=method, engine=engine, lanes=lanes).series == name


def test_compiled_bp_can_be_put_into_a_suite():
    contender = bp_compiled(2)
    assert contender.takes_lanes
    one = scenario(method=contender.method, engine=contender.engine, lanes=contender.lanes)
    assert one.series == "BP compiled, 2 threads"
