"""Wires: the network's link hands on every message in order and to the bit, and leaves no thread behind."""

import contextlib
import threading
import time

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.distributed import HashStore

from albench.engines import wire
from albench.engines.errors import PeerGoneError
from albench.engines.exchange import gloo_group
from albench.engines.job import Job
from albench.engines.message import Message, as_bytes
from albench.engines.wire import BUFFERS, WireReader, WireWriter

pytestmark = pytest.mark.timeout(60)

CPU = torch.device("cpu")


def in_threads(*functions):
    """Call each in a thread of its own, and return what they returned."""
    outcomes = [None] * len(functions)

    def call(i, function):
        outcomes[i] = function()

    threads = [threading.Thread(target=call, args=pair, daemon=True) for pair in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return outcomes


def new_groups(size):
    store = HashStore()
    jobs = [Job(store, rank=rank, size=size, timeout_seconds=20) for rank in range(size)]
    try:
        return in_threads(*[lambda job=job: gloo_group(job, "wires", local=True) for job in jobs])
    finally:
        for job in jobs:
            job.close()


@contextlib.contextmanager
def linked(groups=None):
    """Both sides of one wire, in this process."""
    groups = groups or new_groups(2)
    writer, reader = WireWriter(groups[0], 1), WireReader(groups[1], 0, CPU)
    try:
        yield writer, reader
    finally:
        in_threads(writer.close, reader.close)  # each rank closes its own, whatever the other one does


@pytest.fixture(autouse=True)
def _no_thread_stays():
    yield
    assert not [t for t in threading.enumerate() if t.name.startswith("albench")]


def message_of(count, minibatch):
    features = torch.randn(count, 1, generator=torch.Generator().manual_seed(minibatch))
    return Message(minibatch, 1.0 / (1 + minibatch), features, (torch.arange(count), None))


def assert_same(one, other):
    assert one[:2] == other[:2]
    assert torch.equal(as_bytes(one.features), as_bytes(other.features))
    assert torch.equal(one.target[0], other.target[0])
    assert other.target[1] is None


@settings(derandomize=True, max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 3000) | st.just(300_000), max_size=8), st.integers(1, 3))
def test_messages_of_any_size_pass_over_several_calls_of_fit(sizes, fits):
    messages = [message_of(size, k) for k, size in enumerate(sizes)]
    with linked() as (writer, reader):

        def write():
            for fit in range(fits):
                for message in messages:
                    writer.put(message)
                writer.finish(100 * fit + len(messages))

        def take():
            return [(list(reader), reader.minibatches_seen) for _ in range(fits)]

        _, received = in_threads(write, take)
    for fit, (batch, seen) in enumerate(received):
        assert seen == 100 * fit + len(messages)
        assert len(batch) == len(messages)
        for one, other in zip(messages, batch, strict=True):
            assert_same(one, other)


def test_a_chain_of_three_shares_one_group():
    """The middle rank reads from one neighbour and writes to the other, as lanes do."""
    groups = new_groups(3)
    with (
        contextlib.closing(WireReader(groups[1], 0, CPU)) as middle,
        contextlib.closing(WireReader(groups[2], 1, CPU)) as last,
        contextlib.closing(WireWriter(groups[0], 1)) as first,
        contextlib.closing(WireWriter(groups[1], 2)) as second,
    ):

        def write():
            for k in range(50):
                first.put(message_of(5, k))
            first.finish(50)

        def hand_on():
            for message in middle:
                second.put(message)
            second.finish(middle.minibatches_seen)

        *_, received = in_threads(write, hand_on, lambda: list(last))
        assert [message.minibatch for message in received] == list(range(50))
        assert last.minibatches_seen == 50
        for message in received:
            assert_same(message_of(5, message.minibatch), message)


def test_a_writer_is_never_far_ahead():
    """What bounds the memory of a run whose lanes are unequal: what waits on both sides, and one on its way in each."""
    written = []
    with linked() as (writer, reader):

        def write():
            for k in range(50):
                writer.put(message_of(100, k))
                written.append(k)
            writer.finish(50)

        def take():
            ahead = []
            for taken, _ in enumerate(reader, start=1):
                time.sleep(0.002)
                ahead.append(len(written) - taken)
            return max(ahead)

        _, ahead = in_threads(write, take)
    assert ahead <= 2 * BUFFERS + 2


def test_what_was_written_before_the_writer_left_is_still_read():
    with linked() as (writer, reader):
        writer.put(message_of(3, 0))
        writer.put(message_of(4, 1))
        writer.close()
        messages = iter(reader)
        assert_same(message_of(3, 0), next(messages))
        assert_same(message_of(4, 1), next(messages))
        with pytest.raises(PeerGoneError):
            next(messages)


def test_a_reader_that_waits_learns_that_the_writer_left():
    with linked() as (writer, reader):
        threading.Timer(0.1, writer.close).start()
        with pytest.raises(PeerGoneError):
            next(iter(reader))


def test_an_abort_wakes_both_sides():
    """What the job does when it fails: neither can look by itself while it waits."""
    with linked() as (writer, reader):
        threading.Timer(0.1, reader.abort).start()
        with pytest.raises(PeerGoneError):
            next(iter(reader))
    with linked() as (writer, _):
        threading.Timer(0.1, writer.abort).start()
        with pytest.raises(PeerGoneError):
            put_many(writer)


def put_many(writer):
    """Write more than is taken."""
    for k in range(100):
        writer.put(message_of(10, k))


@pytest.mark.parametrize("first", ["writer", "reader"])
def test_whoever_closes_first_in_the_middle_of_a_run_keeps_nobody(first):
    """A reader that wants no more still takes what comes, so that the writer's thread can end."""
    with linked() as (writer, reader):
        threading.Timer(0.1, writer.abort).start()
        with pytest.raises(PeerGoneError):
            put_many(writer)
        start = time.monotonic()
        sides = [writer.close, reader.close]
        in_threads(*(sides if first == "writer" else sides[::-1]))
        assert time.monotonic() - start < wire.FAREWELL_SECONDS / 2


def test_a_reader_that_was_closed_lets_the_writer_finish():
    with linked() as (writer, reader):
        closing = threading.Thread(target=reader.close)
        closing.start()
        for k in range(20):
            writer.put(message_of(10, k))
        writer.finish(20)
        writer.close()
        closing.join()


def test_a_link_whose_peer_is_gone_says_so(monkeypatch):
    """The group of the other side is taken down, as when its process dies."""
    monkeypatch.setattr(wire, "FAREWELL_SECONDS", 1.0)
    one, two = new_groups(2)
    reader = WireReader(one, 1, CPU)
    two = None  # noqa: F841 - its connections close
    with pytest.raises(PeerGoneError):
        next(iter(reader))
    reader.close()
