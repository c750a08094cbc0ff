"""The caller: a call that never comes back keeps nobody, and a thread is left behind only while it is stuck."""

import gc
import threading
import time

import pytest

from albench.engines.caller import Caller

pytestmark = pytest.mark.timeout(30)


def threads():
    return [t for t in threading.enumerate() if t.name == "albench-test-caller"]


@pytest.fixture
def caller():
    caller = Caller("albench-test-caller")
    yield caller
    caller.close()
    assert not threads()


def test_calls_are_made_one_after_the_other_in_another_thread(caller):
    order = []
    for i in range(3):
        assert caller.call(lambda i=i: order.append(i) or threading.current_thread().name, patience_seconds=5)
    assert order == [0, 1, 2]


def test_what_a_call_raises_is_raised(caller):
    with pytest.raises(ZeroDivisionError):
        caller.call(lambda: 1 / 0, patience_seconds=5)
    assert caller.call(lambda: 7, patience_seconds=5) == 7


def test_a_call_that_does_not_come_back_is_given_up(caller):
    released = threading.Event()
    with pytest.raises(TimeoutError, match="no answer for 0.5 s"):
        caller.call(released.wait, patience_seconds=0.5)
    released.set()
    assert caller.call(lambda: 7, patience_seconds=5) == 7


def test_a_check_ends_the_wait(caller):
    released = threading.Event()

    def check():
        raise OSError("the job has failed")

    start = time.monotonic()
    with pytest.raises(OSError, match="the job has failed"):
        caller.call(released.wait, patience_seconds=20, check=check)
    assert time.monotonic() - start < 10
    released.set()


def test_one_that_is_dropped_ends_its_thread():
    caller = Caller("albench-test-caller")
    caller.call(lambda: None, patience_seconds=5)
    assert threads()
    (thread,) = threads()
    del caller
    gc.collect()
    thread.join(5)
    assert not threads()


def test_one_that_never_called_has_no_thread():
    caller = Caller("albench-test-caller")
    assert not threads()
    caller.close()
