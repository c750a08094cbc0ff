"""The channel between two lanes: in order, bounded, and nobody waits for ever."""

import threading

import pytest

from albench.engines.channel import CAPACITY, Aborted, Channel

pytestmark = pytest.mark.timeout(60)


def started(function):
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def test_items_arrive_in_order_and_none_is_lost():
    channel = Channel(capacity=3)

    def write():
        for number in range(2000):
            channel.put(number)
        channel.finish()

    writer = started(write)
    assert list(channel) == list(range(2000))
    writer.join()


@pytest.mark.parametrize("capacity", [1, 2, CAPACITY])
def test_a_writer_is_never_more_than_the_capacity_ahead(capacity):
    """What bounds the memory of a run whose lanes are unequal."""
    channel, written, ahead = Channel(capacity=capacity), [], []

    def write():
        for number in range(100):
            channel.put(number)
            written.append(number)
        channel.finish()

    writer = started(write)
    for read, _ in enumerate(channel, start=1):
        ahead.append(len(written) - read)
    writer.join()
    assert max(ahead) <= capacity


def test_finish_lets_the_reader_take_what_is_left():
    channel = Channel()
    channel.put(1)
    channel.put(2)
    channel.finish()
    assert list(channel) == [1, 2]
    assert list(channel) == []


def test_abort_drops_what_is_queued_and_stops_both_ends():
    channel = Channel()
    channel.put(1)
    channel.abort()
    with pytest.raises(Aborted):
        channel.put(2)
    with pytest.raises(Aborted):
        next(iter(channel))


@pytest.mark.parametrize("end", ["writer", "reader"])
def test_abort_wakes_who_waits(end):
    """A failure in one lane must not leave its neighbours asleep."""
    channel, outcome = Channel(capacity=1), []

    def wait():
        try:
            if end == "writer":
                for number in range(2):
                    channel.put(number)
            else:
                next(iter(channel))
        except Aborted:
            outcome.append("aborted")

    thread = started(wait)
    channel.abort()
    thread.join()
    assert outcome == ["aborted"]


def test_finish_wakes_a_reader_that_waits():
    channel, read = Channel(), []
    thread = started(lambda: read.extend(channel))
    channel.finish()
    thread.join()
    assert read == []
