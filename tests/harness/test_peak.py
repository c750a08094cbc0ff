"""The measured peak: best of several, in a process of its own, and a reason where there is none."""

import itertools
import os
import signal

import pytest

from albench.harness import peak as module
from albench.harness.isolation import PRELOAD
from albench.harness.peak import Place, fastest_seconds, matmul_peaks, place_of
from albench.machine import usable_cores
from tests.harness.test_isolation import case_processes
from tests.harness.test_records import scenario

pytestmark = pytest.mark.timeout(120)
ONE = Place("cpu", "float32", 1)


def test_the_peak_of_this_machine():
    wanted = [ONE, Place("cpu", "float64", 1), ONE]
    found, reason = matmul_peaks(wanted, preload=PRELOAD)
    assert reason == ""
    assert set(found) == set(wanted)
    assert 1e8 < found[ONE] < 1e13
    assert not case_processes()


def test_no_place_is_a_reason():
    assert matmul_peaks([], preload=PRELOAD)[0] == {}
    assert matmul_peaks([], preload=PRELOAD)[1]


def raises(_):
    raise RuntimeError("made up")


def dies(_):
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(_):
    signal.pause()


class ServeWith:
    """The process's own main, with a fault in measuring."""

    def __init__(self, fault):
        self.fault = fault

    def __call__(self, *arguments):
        module._measure = self.fault
        REAL_SERVE(*arguments)


REAL_SERVE = module._serve


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (raises, "measuring the peak failed: RuntimeError: made up"),
        (dies, "measuring the peak ended by signal SIGKILL"),
        (hangs, "measuring the peak was not done after 2 s"),
    ],
)
def test_a_fault_is_a_reason_and_leaves_no_process(monkeypatch, fault, words):
    monkeypatch.setattr(module, "_serve", ServeWith(fault))
    found, reason = matmul_peaks([ONE], preload=PRELOAD, limit_seconds=2.0 if fault is hangs else 60.0)
    assert found == {}
    assert reason == words
    assert not case_processes()


def test_a_device_that_is_not_there_is_a_reason():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    found, reason = matmul_peaks([Place("cuda", "float32", 1)], preload=PRELOAD)
    assert found == {}
    assert reason.startswith("measuring the peak failed")
    assert "\n" not in reason


@pytest.mark.parametrize(
    ("changes", "threads"),
    [
        ({}, 1),
        ({"lanes": 64}, usable_cores()),
        ({"method": "al-ddp", "engine": "threads", "lanes": 1, "replicas": 2}, min(2, usable_cores())),
    ],
)
def test_a_scenario_may_use_its_lanes_and_no_more_than_the_cores(changes, threads):
    assert place_of(scenario(**changes)) == Place("cpu", "float32", threads)


def test_a_device_is_one_place_and_several_are_none():
    assert place_of(scenario(method="bp", engine="eager", device="cuda", lanes=2)) == Place("cuda", "float32", 1)
    assert place_of(scenario(method="ddp", engine="ranks", device="cuda", lanes=2, batch_size=8)) is None


def test_the_fastest_counts_and_the_first_does_not():
    now = 0.0
    durations = itertools.chain([0.001], [0.3, 0.2, 0.25, 0.5, 0.21, 0.22, 0.19], itertools.repeat(9.0))

    def call():
        nonlocal now
        now += next(durations)

    assert fastest_seconds(call, clock=lambda: now, repeat_seconds=1.5, least=5) == pytest.approx(0.2)


def test_few_long_calls_are_enough():
    now, calls = 0.0, 0

    def call():
        nonlocal now, calls
        now += 10.0
        calls += 1

    assert fastest_seconds(call, clock=lambda: now, repeat_seconds=0.4, least=3) == 10.0
    assert calls == 4


def test_a_place_that_fails_takes_no_other_with_it(monkeypatch):
    def one_fails(place):
        if place.precision == "float64":
            raise RuntimeError("made up")
        return 1e9

    monkeypatch.setattr(module, "_measure", one_fails)
    good, bad = Place("cpu", "float32", 1), Place("cpu", "float64", 1)
    found = module._measure_all([bad, good])
    assert [(peak.place, peak.flops_per_second) for peak in found.peaks] == [(good, 1e9)]
    assert found.reason == "measuring the peak failed: RuntimeError: made up"
