"""Hand-overs are timed through the link that ranks use, and leave nothing behind."""

import multiprocessing

import pytest

from albench.engines import hand_over, ring
from albench.engines.hand_over import LARGE_BYTES, SMALL_BYTES, hand_over_times
from albench.errors import UsageError

pytestmark = pytest.mark.timeout(120)


@pytest.mark.skipif(not ring.AVAILABLE, reason="memory without a name and abstract sockets are Linux's")
def test_a_large_message_takes_longer_than_a_small_one():
    """Copying 4 MiB twice takes many times as long as waking a process."""
    (small, small_seconds), (large, large_seconds) = hand_over_times()
    assert (small, large) == (SMALL_BYTES, LARGE_BYTES)
    assert 0 < small_seconds < large_seconds < 1
    assert not [child for child in multiprocessing.active_children() if child.name.startswith("albench-hand-over")]


def test_where_there_is_no_such_link_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(hand_over.ring, "AVAILABLE", False)
    with pytest.raises(UsageError, match="give --link-latency and"):
        hand_over_times()
