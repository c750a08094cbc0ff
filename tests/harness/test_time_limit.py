"""Work that hangs is interrupted as by Ctrl-C, and if it does not answer to that, ended with its process."""

import signal
import subprocess
import sys
import time

import pytest

from albench.errors import UsageError
from albench.harness.time_limit import time_limit

STUBBORN = """
import time
from albench.harness.time_limit import time_limit
with time_limit(0.1, remedy="do less", grace_seconds=0.2):
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            pass
"""


def hang(cleaned):
    try:
        time.sleep(60)
    finally:
        cleaned.append(True)


def test_work_within_the_limit_is_left_alone_and_the_alarm_of_others_goes_on():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(True))
    left = signal.setitimer(signal.ITIMER_REAL, 100.0)
    try:
        with time_limit(50.0, remedy="do less"):
            pass
        assert 99.0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 100.0
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        time.sleep(0.05)
        assert rung == [True]
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *left)


def test_work_that_hangs_is_interrupted_cleans_up_and_is_told_in_one_line():
    cleaned = []
    begun = time.monotonic()
    with pytest.raises(UsageError, match=r"^not done after its limit of 0.1 s: do less$"), time_limit(
        0.1, remedy="do less"
    ):  # fmt: skip
        hang(cleaned)
    assert cleaned == [True]
    assert time.monotonic() - begun < 10


def test_what_the_interrupt_became_on_its_way_up_is_not_what_is_told():
    def fall_silent():
        try:
            time.sleep(60)
        except KeyboardInterrupt as error:
            raise RuntimeError("a rank fell silent") from error

    with pytest.raises(UsageError, match="not done after"), time_limit(0.1, remedy="do less"):
        fall_silent()


def test_other_errors_and_ctrl_c_are_passed_on():
    for error in (RuntimeError("boom"), KeyboardInterrupt()):
        with pytest.raises(type(error)), time_limit(50.0, remedy="do less"):
            raise error


def test_work_that_does_not_answer_is_ended_with_its_process():
    result = subprocess.run([sys.executable, "-c", STUBBORN], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert result.stderr == "albench: not done after its limit of 0.1 s: do less\n"


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_what_is_no_time_is_refused_at_once(seconds):
    with pytest.raises(UsageError, match="give seconds above 0"):
        time_limit(seconds, remedy="do less")
