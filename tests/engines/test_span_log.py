"""Spans are kept up to a number, read from the host's clock or from the device's, and cost nothing where not wanted."""

import pickle

import pytest
import torch

from albench.engines import make_engine, span_log
from albench.engines.span_log import DeviceWatch, HostWatch, SpanLog, in_order
from albench.engines.task import ComponentTasks
from albench.trace import Span
from tests.engines.device_runs import moved
from tests.engines.made_up import assert_bitwise_equal, batches, network

pytestmark = pytest.mark.timeout(120)


def test_a_log_keeps_so_many_spans_and_no_more():
    log = SpanLog(HostWatch(), 3)
    for k in range(5):
        log.add(k, k + 0.5, 1, ((0, k), (1, k - 1)))
    assert log.spans() == log.spans() == [Span(0, 0, 1, 0, 0.5), Span(1, -1, 1, 0, 0.5), Span(0, 1, 1, 1, 1.5)]
    log.clear()
    assert log.spans() == []
    log.add(7, 8, 0, ((0, 0),))
    assert in_order([log, SpanLog(HostWatch(), 1)]) == [Span(0, 0, 0, 7, 8)]


def test_a_log_can_cross_to_another_process():
    log = SpanLog(HostWatch(), 3)
    log.add(log.mark(), log.mark(), 0, ((0, 0),))
    assert pickle.loads(pickle.dumps(log)).spans() == log.spans()


@pytest.mark.parametrize("name", ["serial", "threads", "ranks", "fused"])
def test_nobody_looks_at_a_clock_who_was_not_asked_to(name):
    with make_engine(name, network(4), lanes=1) as engine:
        assert engine.spans == []
        assert all(type(tasks) is ComponentTasks and tasks.log is None for tasks in getattr(engine, "_tasks", []))
        assert getattr(engine, "_log", None) is None


@pytest.mark.parametrize(("name", "lanes"), [("serial", 1), ("threads", 2), ("ranks", 2), ("fused", 1)])
def test_of_a_long_run_the_first_mini_batches_are_kept_and_a_note_says_so(name, lanes, monkeypatch):
    monkeypatch.setattr(span_log, "SPANS_KEPT", 12)
    monkeypatch.setattr("albench.engines.fused.SPANS_KEPT", 12)
    if name == "ranks":
        lanes = 1  # the other process would not know of it
    with make_engine(name, network(4), lanes=lanes, trace=True) as engine:
        engine.fit(batches(6))
        assert not [note for note in engine.notes if "spans" in note]
        engine.fit(batches(4))
        assert len(engine.spans) == 12
        if name != "fused":
            assert {span.minibatch for span in engine.spans} == set(range(6))
        assert len([note for note in engine.notes if "spans were kept of 6 mini-batches" in note]) == 1


@pytest.mark.parametrize(("name", "lanes"), [("serial", 1), ("threads", 2), ("ranks", 2), ("fused", 1)])
def test_a_loaded_state_begins_a_new_trace(name, lanes):
    with make_engine(name, network(4), lanes=lanes, trace=True) as engine:
        state = engine.state_dict()
        engine.fit(batches(5))
        engine.load_state_dict(state)
        assert engine.spans == []
        engine.fit(batches(3))
        assert sorted((span.component, span.minibatch) for span in engine.spans) == [
            (i, k) for i in range(2) for k in range(3)
        ]


class FakeDevice:
    """A device whose clock starts at another zero and which passes an event a while after the host has recorded it."""

    def __init__(self, monkeypatch, *, behind=0.25):
        self.host_seconds = 1000.0
        self.behind = behind
        fake = self

        class Event:
            def __init__(self, enable_timing):
                assert enable_timing
                self.at = None

            def record(self, stream):
                self.at = fake.host_seconds + fake.behind - 400.0

            def synchronize(self):
                fake.host_seconds = max(fake.host_seconds, self.at + 400.0)

            def elapsed_time(self, other):
                return (other.at - self.at) * 1e3

        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
        monkeypatch.setattr(span_log.time, "perf_counter", lambda: fake.host_seconds)


def test_spans_of_a_device_are_when_the_device_ran_them(monkeypatch):
    """Not when the host launched them, and on the host's clock all the same."""
    device = FakeDevice(monkeypatch, behind=0.0)
    log = SpanLog(DeviceWatch(torch.device("cuda", 0)), 9)
    device.behind = 3.0
    start = log.mark()
    device.host_seconds += 0.5
    log.add(start, log.mark(), 2, ((1, 4),))
    (span,) = log.spans()
    assert span[:3] == (1, 4, 2)
    assert span[3:5] == pytest.approx((1003.0, 1003.5))


def test_an_anchor_that_is_set_anew_does_not_move_what_was_marked_before(monkeypatch):
    device = FakeDevice(monkeypatch, behind=0.0)
    watch = DeviceWatch(torch.device("cuda", 0))
    log = SpanLog(watch, 9)
    log.add(log.mark(), log.mark(), 0, ((0, 0),))
    device.host_seconds += 60.0
    watch.anchor()
    log.add(log.mark(), log.mark(), 0, ((0, 1),))
    assert [span.start_seconds for span in log.spans()] == pytest.approx([1000.0, 1060.0])


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["serial", "streams", "graph", "fused"])
def test_a_traced_run_on_a_device_is_the_same_run_and_keeps_its_arrows(name):
    data = moved(batches(40, batch_size=64), "cuda")
    states = []
    for trace in (False, True):
        with make_engine(name, network(8, width=256).cuda(), lanes=2, learning_rate=1e-2, trace=trace) as engine:
            engine.fit(data)
            states.append(engine.state_dict())
            spans = {(span.component, span.minibatch): span for span in engine.spans}
    assert_bitwise_equal(*states)
    assert len(spans) == 4 * 40
    for (i, k), span in spans.items():
        assert span.start_seconds < span.end_seconds
        for needed in ((i - 1, k), (i, k - 1)):
            assert needed not in spans or spans[needed].end_seconds <= span.start_seconds + 2e-6
