"""Traced runs: the spans are those of the schedule, and the results are those of a run that nobody looked at."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albench.engines import make_engine
from albench.schedule import serial
from tests.engines.made_up import assert_bitwise_equal, batches, network, trained

pytestmark = pytest.mark.timeout(120)


def assert_a_schedule(spans, components, minibatches, lanes):
    """Every task once, after both that it needs, each lane at one task at a time."""
    found = {(span.component, span.minibatch): span for span in spans}
    assert len(found) == len(spans)
    assert set(found) == {task for tick in serial(components, minibatches) for task in tick}
    for (i, k), span in found.items():
        assert span.start_seconds <= span.end_seconds
        for needed in ((i - 1, k), (i, k - 1)):
            assert needed not in found or found[needed].end_seconds <= span.start_seconds, (needed, (i, k))
    assert {span.lane for span in spans} == set(range(lanes))
    for lane in range(lanes):
        own = sorted((s for s in spans if s.lane == lane), key=lambda span: (span.start_seconds, span.end_seconds))
        assert all(one.end_seconds <= other.start_seconds for one, other in itertools.pairwise(own))


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 7))
def test_spans_of_threads_are_a_schedule(components, minibatches, lanes):
    """Also of one mini-batch, and where more lanes are asked for than there are components."""
    with make_engine("threads", network(2 * components), lanes=lanes, trace=True) as engine:
        engine.fit(batches(minibatches))
        assert_a_schedule(engine.spans, components, minibatches, min(lanes, components))


@pytest.mark.parametrize(("lanes", "minibatches"), [(2, 1), (3, 9)])
def test_spans_of_ranks_are_a_schedule(lanes, minibatches):
    with make_engine("ranks", network(10), lanes=lanes, trace=True) as engine:
        engine.fit(batches(minibatches - 1))
        engine.fit(batches(1))
        assert_a_schedule(engine.spans, 5, minibatches, lanes)


@pytest.mark.parametrize(("name", "lanes"), [("serial", 1), ("threads", 2), ("threads", 4), ("ranks", 2)])
def test_a_traced_run_is_bitwise_the_serial_one(name, lanes):
    data = batches(12, ragged=3)
    untraced, losses = trained("serial", data)
    traced, traced_losses = trained(name, data, lanes=lanes, trace=True)
    assert_bitwise_equal(untraced, traced)
    assert losses == traced_losses
