"""Real sweeps with their instruments: records hold what was seen, and a sampler that is killed costs no record."""

import os
import signal
import threading
import time

import psutil
import pytest

from albench.harness.instruments import NOT_WANTED
from albench.harness.records import read
from albench.harness.runner import Limits, run_sweep
from albench.harness.sampler import PROCESS_NAME
from tests.harness.test_isolation import process_name
from tests.harness.test_records import scenario
from tests.harness.test_runner import Silent

pytestmark = pytest.mark.timeout(180)
LONG = {"engine": "serial", "minibatches": 1000, "width": 64, "batch_size": 32}
"""A window of a second or so: enough for readings."""


def sweep(scenarios, directory, **options):
    limits = options.pop("limits", Limits(rounds=1, control=False))
    return run_sweep(scenarios, directory, suite="made up", limits=limits, progress=Silent(), **options)


def samplers(parent=None):
    found = psutil.Process(parent).children(recursive=True)
    return [process for process in found if process_name(process) == PROCESS_NAME]


def test_records_hold_what_the_instruments_saw(tmp_path):
    sweep([scenario(**LONG)], tmp_path, limits=Limits(rounds=2, relative_half_width=1e-9, control=False))
    first, second = read(tmp_path)
    for record in (first, second):
        assert record.telemetry is not None, record.telemetry_reason
        assert record.telemetry_reason == ""
        assert record.telemetry.window_seconds == pytest.approx(record.seconds)
        assert record.telemetry.samples > 0
        if not record.telemetry.too_short:
            assert record.telemetry.own_cores is not None
            assert record.telemetry.own_cores > 5 * (record.telemetry.sampler_cores or 0), "the case is ours"
        assert record.matmul_peak_flops_per_second is not None
        assert record.matmul_peak_reason == ""
    assert first.matmul_peak_flops_per_second == second.matmul_peak_flops_per_second, "measured once a sweep"
    assert first.memory is not None
    assert first.memory_reason == ""
    assert (second.memory, second.memory_reason) == (
        None,
        "taken in the first round, of the longest run, and not of controls",
    )
    assert not samplers()


def test_a_sweep_that_wants_none_starts_none_and_says_so(tmp_path):
    sweep([scenario(minibatches=5)], tmp_path, telemetry=False)
    (record,) = read(tmp_path)
    assert record.status == "measured"
    assert (record.telemetry, record.telemetry_reason) == (None, NOT_WANTED)
    assert (record.matmul_peak_flops_per_second, record.matmul_peak_reason) == (None, NOT_WANTED)
    assert record.memory is not None


def kill_the_next_sampler():
    """Kill the sampler some tenths of a second after it has appeared; return the thread that does."""

    def kill():
        for _ in range(3000):
            found = samplers()
            if found:
                time.sleep(0.2)
                os.kill(found[0].pid, signal.SIGKILL)
                return
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    return killer


def test_a_sampler_that_is_killed_in_a_sweep_costs_telemetry_of_one_case_only(tmp_path):
    long = [scenario(**(LONG | {"minibatches": 500 + i})) for i in range(3)]
    killer = kill_the_next_sampler()
    sweep(long, tmp_path)
    killer.join()
    records = read(tmp_path)
    assert [record.status for record in records] == ["measured"] * 3
    assert all(record.seconds for record in records)
    assert [record.telemetry is not None for record in records] == [False, True, True]
    assert records[0].telemetry_reason == "the sampler ended by signal SIGKILL during the case"
    assert not samplers()


def test_a_wall_clock_that_jumps_by_decades_changes_nothing(tmp_path, monkeypatch):
    """Every duration and every moment of a reading is on a clock that nobody can set."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 1e9 * (int(time.perf_counter() * 50) % 2))
    sweep([scenario(**LONG)], tmp_path)
    (record,) = read(tmp_path)
    assert record.seconds is not None
    assert 0 < record.seconds < 60
    assert record.telemetry is not None
    assert record.telemetry.window_seconds == pytest.approx(record.seconds)
