"""Rings: every message in order and to the bit, whatever the slots hold; who waits looks; nothing stays open."""

import contextlib
import gc
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from pathlib import Path

import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from albench.engines import ring
from albench.engines.errors import PeerGoneError
from albench.engines.message import Message, as_bytes, parts
from albench.engines.ring import PAGE_BYTES, SLOTS, RingListener, RingWriter

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not ring.AVAILABLE, reason="memory without a name and abstract sockets are Linux's"),
]

CPU = torch.device("cpu")


def nothing_wrong():
    pass


class JobFailedError(Exception):
    pass


def fails_after(looks):
    """Return a check that raises in its look number so and so."""
    left = [looks]

    def check():
        left[0] -= 1
        if left[0] <= 0:
            raise JobFailedError

    return check


def in_thread(function):
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


@contextlib.contextmanager
def linked(*, slot_bytes, write_check=nothing_wrong, read_check=nothing_wrong):
    """Both sides of one ring, in this process."""
    listener = RingListener(f"albench-test-{uuid.uuid4()}")
    writer = RingWriter.connect(listener.address, slot_bytes=slot_bytes, check=write_check)
    reader = listener.accept(device=CPU, check=read_check)
    try:
        yield writer, reader
    finally:
        writer.close()
        reader.close()


@pytest.fixture(autouse=True)
def _nothing_stays_open():
    process = psutil.Process()
    descriptors, threads = process.num_fds(), threading.active_count()
    yield
    deadline = time.monotonic() + 5
    while (process.num_fds(), threading.active_count()) != (descriptors, threads) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (process.num_fds(), threading.active_count()) == (descriptors, threads)


def message_of(count, minibatch, dtype=torch.uint8):
    generator = torch.Generator().manual_seed(minibatch)
    features = torch.randint(0, 256, (count,), generator=generator).to(dtype)
    return Message(minibatch, 1.0 / (1 + minibatch), features, (features[: count // 2], None))


def put_many(writer):
    """Write more than any ring here takes."""
    for k in range(10 * SLOTS):
        writer.put(message_of(10, k))


def assert_same(one, other):
    assert one[:2] == other[:2]
    assert torch.equal(as_bytes(one.features), as_bytes(other.features))
    assert torch.equal(as_bytes(one.target[0]), as_bytes(other.target[0]))
    assert other.target[1] is None


@settings(derandomize=True, max_examples=25, deadline=None)
@given(
    st.integers(1, 3 * PAGE_BYTES),
    st.lists(st.integers(0, 5 * PAGE_BYTES) | st.just(40 * PAGE_BYTES), max_size=12),
    st.integers(1, 3),
)
def test_messages_of_any_size_pass_through_slots_of_any_size(slot_bytes, sizes, fits):
    """Smaller than a slot, larger, many times the whole ring, and over several calls of fit."""
    messages = [message_of(size, k) for k, size in enumerate(sizes)]
    received, seen = [], []
    with linked(slot_bytes=slot_bytes) as (writer, reader):

        def write():
            for fit in range(fits):
                for message in messages:
                    writer.put(message)
                writer.finish(100 * fit + len(messages))

        thread = in_thread(write)
        for _ in range(fits):
            received.append(list(reader))
            seen.append(reader.minibatches_seen)
        thread.join()
    assert seen == [100 * fit + len(messages) for fit in range(fits)]
    for batch in received:
        assert len(batch) == len(messages)
        for one, other in zip(messages, batch, strict=True):
            assert_same(one, other)


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("slots", [1, 2, SLOTS])
def test_messages_that_just_fill_their_slots(slots, over):
    """One byte short, to the byte, one byte more: where the two sides could disagree on when a slot is done."""
    empty = sum(map(len, parts(message_of(1000, 0)))) - 1500
    with linked(slot_bytes=PAGE_BYTES) as (writer, reader):
        features = torch.zeros(slots * PAGE_BYTES + over - empty, dtype=torch.uint8)
        message = Message(0, 1.0, features, (torch.zeros(0, dtype=torch.uint8), None))
        slack = slots * PAGE_BYTES + over - sum(map(len, parts(message)))
        message = message._replace(features=torch.zeros(len(features) + slack, dtype=torch.uint8))
        assert sum(map(len, parts(message))) == slots * PAGE_BYTES + over

        def write():
            for k in range(2 * SLOTS):
                writer.put(message._replace(minibatch=k))
            writer.finish(7)

        thread = in_thread(write)
        assert [received.minibatch for received in reader] == list(range(2 * SLOTS))
        assert reader.minibatches_seen == 7
        thread.join()


def test_a_writer_is_never_more_than_the_slots_ahead():
    """What bounds the memory of a run whose lanes are unequal."""
    written = []
    with linked(slot_bytes=PAGE_BYTES) as (writer, reader):

        def write():
            for k in range(20):
                writer.put(message_of(10, k))
                written.append(k)
            writer.finish(20)

        thread = in_thread(write)
        time.sleep(0.1)
        assert len(written) == SLOTS
        for taken, _ in enumerate(reader, start=1):
            assert len(written) - taken <= SLOTS
        thread.join()


@pytest.mark.parametrize("waits", ["before", "while"])
def test_a_reader_learns_that_the_writer_is_gone(waits):
    with linked(slot_bytes=PAGE_BYTES) as (writer, reader):
        if waits == "while":
            threading.Timer(0.1, writer.close).start()
        else:
            writer.close()
        with pytest.raises(PeerGoneError):
            next(iter(reader))


@pytest.mark.parametrize("waits", ["before", "while"])
def test_a_writer_learns_that_the_reader_is_gone(waits):
    with linked(slot_bytes=PAGE_BYTES) as (writer, reader):
        if waits == "while":
            threading.Timer(0.1, reader.close).start()
        else:
            reader.close()
        with pytest.raises(PeerGoneError):
            put_many(writer)


def test_a_writer_in_the_middle_of_a_long_message_learns_that_the_reader_is_gone():
    with linked(slot_bytes=PAGE_BYTES) as (writer, reader):
        threading.Timer(0.1, reader.close).start()
        with pytest.raises(PeerGoneError):
            writer.put(message_of(50 * PAGE_BYTES, 0))


def test_whoever_waits_looks_whether_the_job_still_stands(monkeypatch):
    """The neighbour is there and does nothing: only the job can tell that it will never come."""
    monkeypatch.setattr(ring, "CHECK_SECONDS", 0.02)
    with linked(slot_bytes=PAGE_BYTES, write_check=fails_after(3), read_check=fails_after(3)) as (writer, reader):
        with pytest.raises(JobFailedError):
            next(iter(reader))
        with pytest.raises(JobFailedError):
            put_many(writer)


def test_a_side_that_need_not_wait_does_not_look():
    """A look costs a lock; the pace of a pipeline must not pay for it."""
    with linked(slot_bytes=PAGE_BYTES, write_check=fails_after(1), read_check=fails_after(1)) as (writer, reader):
        writer.put(message_of(10, 0))
        writer.finish(1)
        assert len(list(reader)) == 1


def test_a_listener_that_nobody_calls_looks(monkeypatch):
    monkeypatch.setattr(ring, "CHECK_SECONDS", 0.02)
    listener = RingListener(f"albench-test-{uuid.uuid4()}")
    with pytest.raises(JobFailedError):
        listener.accept(device=CPU, check=fails_after(3))
    listener.close()


def test_a_caller_that_says_nothing_is_not_waited_for_blindly(monkeypatch):
    """It may have been stopped between its call and its first word."""
    monkeypatch.setattr(ring, "CHECK_SECONDS", 0.02)
    listener = RingListener(f"albench-test-{uuid.uuid4()}")
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(b"\0" + listener.address.encode())
        with pytest.raises(JobFailedError):
            listener.accept(device=CPU, check=fails_after(3))


def test_a_caller_that_dies_before_its_first_word_is_reported():
    listener = RingListener(f"albench-test-{uuid.uuid4()}")
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(b"\0" + listener.address.encode())
    with pytest.raises(PeerGoneError):
        listener.accept(device=CPU, check=nothing_wrong)


def test_a_reader_that_died_before_the_link_was_made_is_reported():
    """Its listener went with it: the writer's first call must say so in the words that the job understands."""
    listener = RingListener(f"albench-test-{uuid.uuid4()}")
    listener.close()
    with pytest.raises(PeerGoneError):
        RingWriter.connect(listener.address, slot_bytes=10, check=nothing_wrong)


def test_a_reader_that_dies_while_the_link_is_made_is_reported():
    """The writer is in the listener's queue when that is closed."""
    listener = RingListener(f"albench-test-{uuid.uuid4()}")
    writer = RingWriter.connect(listener.address, slot_bytes=10, check=nothing_wrong)
    listener.close()
    with pytest.raises(PeerGoneError):
        put_many(writer)
    writer.close()


def test_a_side_that_was_closed_here_does_not_wait():
    with linked(slot_bytes=PAGE_BYTES) as (_, reader):
        reader.close()
        with pytest.raises(PeerGoneError):
            next(iter(reader))


def test_memory_goes_with_the_ring_and_messages_with_their_last_user():
    """Not only when Python comes to collect cycles, which large tensors do not hurry."""
    process, message, used = psutil.Process(), message_of(4 * 2**20, 0), []
    gc.disable()
    try:
        for _ in range(12):
            with linked(slot_bytes=7 * 2**20) as (writer, reader):
                writer.put(message)
                next(iter(reader))
            used.append(process.memory_info().rss)
    finally:
        gc.enable()
    assert used[-1] - used[3] < 30 * 2**20, "each round had 13 MiB in hand"


WRITER = """
    import os, sys
    from albench.engines.errors import PeerGoneError
    from albench.engines.message import Message
    from albench.engines.ring import RingWriter
    import torch
    print("ready", flush=True)
    sys.stdin.readline()
    if len(sys.argv) > 2:
        os.setuid(int(sys.argv[2]))
    try:  # who is turned away may be so before the ring is handed over or after
        writer = RingWriter.connect(sys.argv[1], slot_bytes=4096, check=lambda: None)
        for k in range(10):
            writer.put(Message(k, 1.0, torch.full((1000,), 7.0), None))
    except PeerGoneError:
        print("refused", flush=True)
    else:
        print("taken", flush=True)
        sys.stdin.readline()
"""


@contextlib.contextmanager
def writing_process(address, *user):
    """A process that is another one, and perhaps another user's: it writes ten messages into a ring."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), address, *user],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            process.stdin.write("go\n")
            process.stdin.flush()
            yield process
        finally:
            process.kill()


def test_a_writer_that_is_killed_is_noticed():
    """What it had written is read; then the broken link says that it is gone, without any clock."""
    listener = RingListener(f"albench-test-{uuid.uuid4()}")
    with writing_process(listener.address) as process:
        reader = listener.accept(device=CPU, check=nothing_wrong)
        messages = iter(reader)
        for k in range(10):
            message = next(messages)
            assert message.minibatch == k
            assert torch.equal(message.features, torch.full((1000,), 7.0))
        process.kill()
        start = time.monotonic()
        with pytest.raises(PeerGoneError):
            next(messages)
        assert time.monotonic() - start < 10
        reader.close()


@pytest.mark.skipif(not ring.AVAILABLE or os.getuid() != 0, reason="only root may become another user to try it")
def test_a_process_of_another_user_is_turned_away():
    """The listener's name is public on the machine; what goes over a ring is not."""
    listener = RingListener(f"albench-test-{uuid.uuid4()}")
    with writing_process(listener.address, "65534") as process:
        assert process.stdout is not None
        told = []
        thread = in_thread(lambda: told.append(process.stdout.readline()))

        def until_refused():
            if told:
                raise JobFailedError

        with pytest.raises(JobFailedError):
            listener.accept(device=CPU, check=until_refused)
        thread.join()
        assert told == ["refused\n"]
    listener.close()
