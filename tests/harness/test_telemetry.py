"""Summaries of readings that are made up, so that every number has a known answer and every gap a reason."""

import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albench.analysis.sampling import MINIMUM_READINGS, SERIES_POINTS
from albench.harness import telemetry as module
from albench.harness.host import HostReading
from albench.harness.nvml import GpuInfo
from albench.harness.telemetry import Reading, Telemetry, clock_reason, summarised

ONE = [GpuInfo(index=0, name="Fake A", uuid="GPU-aaaa-1")]
TWO = [*ONE, GpuInfo(index=1, name="Fake A", uuid="GPU-bbbb-2")]
GPU = {
    "utilisation": 0.5,
    "memory_bytes": 2.0**30,
    "sm_clock_hertz": 1.5e9,
    "power_watts": 200.0,
    "temperature_celsius": 60.0,
    "clock_events": 0,
}


def host(at, *, frequency=2e9, memory=1000, own=1.2):
    """A machine of two cores: one all busy, the other half; our processes use `own` cores, neighbours steal 0.1."""
    return HostReading(
        at=at,
        core_seconds=[500.0 + at, 100.0 + at / 2],
        stolen_seconds=0.1 * at,
        own_seconds=own * at,
        sampler_seconds=0.004 * at,
        memory_bytes=memory,
        frequency_hertz=frequency,
    )


def readings(seconds=10.0, interval=0.1, gpus=(), **changes):
    """Readings from 0 to `seconds`; `gpus`: by GPU, a function of the time."""
    times = [i * interval for i in range(round(seconds / interval) + 1)]
    return [Reading(host=host(t, **changes), gpus=[gpu(t) for gpu in gpus]) for t in times]


def summary(found, start, end, gpus=(), **options):
    options.setdefault("gpu_reasons", [{} for _ in gpus])
    return summarised(found, start, end, gpus=gpus, **options)


def busy(**changes):
    """A GPU that draws 200 W, counter included."""
    return lambda t: GPU | {"energy_joules": 5000.0 + 200.0 * t} | changes


def test_cores_are_told_apart_by_who_uses_them():
    found = summary(readings(), 2.03, 7.77)
    assert found.window_seconds == pytest.approx(5.74)
    assert found.samples == 57
    assert found.interval_seconds == pytest.approx(0.1)
    assert found.core_use == pytest.approx([1.0, 0.5])
    assert found.own_cores == pytest.approx(1.2)
    assert found.other_cores == pytest.approx(0.3)
    assert found.stolen_cores == pytest.approx(0.1)
    assert found.sampler_cores == pytest.approx(0.004)
    assert found.cpu_frequency_hertz == 2e9
    assert found.peak_memory_bytes == 1000
    assert found.reasons == {}
    assert found.too_short == ""


def test_ticks_that_do_not_agree_make_no_negative_load():
    assert summary(readings(own=1.51), 2.0, 8.0).other_cores == 0.0


def test_a_machine_without_frequency_says_so():
    found = summary(readings(frequency=None), 2.0, 8.0)
    assert found.cpu_frequency_hertz is None
    assert "no CPU frequency" in found.reasons["cpu_frequency_hertz"]


def test_memory_is_the_most_inside_the_window():
    found = readings()
    for place, memory in [(5, 9_000), (50, 4_000), (95, 8_000)]:
        found[place] = Reading(host=host(place * 0.1, memory=memory))
    assert summary(found, 2.0, 8.0).peak_memory_bytes == 4_000


def test_a_window_with_too_few_readings_is_marked_and_not_averaged():
    found = summary(readings(gpus=[busy()]), 2.01, 2.35, ONE)
    assert found.samples == 3 < MINIMUM_READINGS
    assert "3 readings in a window of 0.34 s" in found.too_short
    assert (found.core_use, found.own_cores, found.peak_memory_bytes, found.series) == (None, None, None, None)
    assert found.gpus[0].mean_utilisation is None
    assert found.energy_joules is None


def test_readings_that_begin_after_the_window_are_no_counter():
    found = summary(readings()[40:], 2.0, 8.0)
    assert found.own_cores is None
    assert found.core_use is None
    assert found.other_cores is None
    assert "do not cover" in found.reasons["own_cores"]
    assert found.peak_memory_bytes == 1000


def test_two_gpus_and_their_energy():
    found = summary(readings(gpus=[busy(), busy(utilisation=1.0)]), 2.0, 7.0, TWO)
    first, second = found.gpus
    assert (first.mean_utilisation, second.mean_utilisation) == (0.5, 1.0)
    assert first.energy_joules == pytest.approx(1000.0)
    assert first.energy_source == "energy counter"
    assert found.energy_joules == pytest.approx(2000.0)
    assert first.mean_power_watts == first.peak_power_watts == 200.0
    assert first.mean_sm_clock_hertz == first.lowest_sm_clock_hertz == 1.5e9
    assert first.peak_temperature_celsius == 60.0
    assert first.peak_memory_bytes == 2**30
    assert first.throttle_reasons == {}
    assert first.used is None
    assert first.reasons == {}


def test_only_the_gpus_that_the_case_ran_on_count():
    """torch tells a uuid without NVML's "GPU-"."""
    found = summary(readings(gpus=[busy(), busy()]), 2.0, 7.0, TWO, used=["bbbb-2"])
    assert [gpu.used for gpu in found.gpus] == [False, True]
    assert found.energy_joules == pytest.approx(1000.0)
    assert found.series is not None
    assert not any(name.startswith("GPU 0") for name in found.series.columns)
    assert any(name.startswith("GPU 1") for name in found.series.columns)


def test_without_a_counter_energy_is_mean_power_times_the_window():
    found = summary(readings(gpus=[lambda t: GPU]), 2.0, 7.0, ONE, gpu_reasons=[{"energy_joules": "Not Supported"}])
    assert found.gpus[0].energy_joules == pytest.approx(1000.0)
    assert found.gpus[0].energy_source == "mean power"
    assert found.gpus[0].reasons == {"energy_joules": "Not Supported"}


@pytest.mark.parametrize("reset_to", [0.0, 5900.0], ids=["wrapped", "a step back"])
def test_a_counter_that_goes_backwards_is_replaced_by_power_and_says_so(reset_to):
    def gpu(t):
        return GPU | {"energy_joules": 5000.0 + 200.0 * t if t < 5 else reset_to + 200.0 * (t - 5)}

    found = summary(readings(gpus=[gpu]), 2.0, 7.0, ONE).gpus[0]
    assert found.energy_joules == pytest.approx(1000.0)
    assert found.energy_source == "mean power"
    assert found.reasons["energy_joules"] == "the counter went backwards"


def test_with_neither_counter_nor_power_there_is_no_energy():
    bare = {name: value for name, value in GPU.items() if name != "power_watts"}
    found = summary(readings(gpus=[busy(), lambda t: bare]), 2.0, 7.0, TWO)
    assert found.gpus[1].energy_joules is None
    assert found.gpus[1].energy_source == ""
    assert {"energy_joules", "power_watts"} <= found.gpus[1].reasons.keys()
    assert found.energy_joules is None, "half of the energy is not the energy"


def test_utilisation_and_power_of_a_window_as_short_as_nvmls_own_are_not_told():
    """NVML averages them over up to a second: in a window of 1.2 s nearly all readings speak of the time before it."""
    found = summary(readings(gpus=[busy()]), 2.0, 3.2, ONE).gpus[0]
    assert found.mean_utilisation is None
    assert found.mean_power_watts is None
    assert "looks that far back" in found.reasons["utilisation"]
    assert found.mean_memory_bytes == 2**30
    assert found.energy_joules == pytest.approx(240.0), "the counter has no such window"


def test_the_time_before_the_window_does_not_show_in_utilisation():
    """Idle before, all busy in the window; NVML shows the mean of the last second."""
    found = summary(readings(gpus=[lambda t: busy(utilisation=min(max(t - 3.0, 0.0), 1.0))(t)]), 3.0, 8.0, ONE)
    assert found.gpus[0].mean_utilisation == pytest.approx(1.0)


def test_a_gpu_that_is_lost_half_way_is_cut_short_and_says_so():
    def gpu(t):
        return busy()(t) if t < 5 else {}

    lost = dict.fromkeys(("utilisation", "energy_joules"), "GPU is lost")
    found = summary(readings(gpus=[gpu]), 2.0, 7.0, ONE, gpu_reasons=[lost]).gpus[0]
    assert found.reasons["energy_joules"] == "GPU is lost"
    assert found.energy_source == "mean power"


def test_throttling_has_names_and_shares():
    def gpu(t):
        return busy(clock_events=0x4 if t < 4.45 else 0x4 | 0x20)(t)

    found = summary(readings(gpus=[gpu]), 2.0, 6.95, ONE).gpus[0].throttle_reasons
    assert found == pytest.approx({"software power cap": 1.0, "software thermal slowdown": 0.5}, abs=0.02)


def test_the_series_is_thinned_and_its_counters_are_rates():
    found = summary(readings(seconds=60, gpus=[busy()]), 5.0, 55.0, ONE).series
    assert found is not None
    assert len(found.seconds) <= SERIES_POINTS
    assert found.seconds[-1] == pytest.approx(50.0)
    assert found.seconds == sorted(found.seconds)
    assert all(len(column) == len(found.seconds) for column in found.columns.values())
    assert found.columns["busy cores"] == pytest.approx([1.5] * len(found.seconds))
    assert found.columns["own cores"] == pytest.approx([1.2] * len(found.seconds))
    assert found.columns["GPU 0 power_from_energy_watts"] == pytest.approx([200.0] * len(found.seconds))
    assert "GPU 0 clock_events" not in found.columns
    assert len(msgspec.json.encode(found)) < 12_000, "a record holds one of these"


def test_a_record_keeps_all_of_it():
    found = summary(readings(gpus=[busy()]), 2.0, 7.0, ONE)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Telemetry) == found


@given(
    count=st.integers(0, 40),
    start=st.floats(0, 10),
    length=st.floats(0.001, 10),
    luck=st.randoms(use_true_random=False),
)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_whatever_was_read_there_is_a_summary(count, start, length, luck):
    """Gaps anywhere, counters that jump, readings on one side only: numbers or reasons, and JSON that can be read."""
    names = [*GPU, "energy_joules"]
    times = sorted(luck.uniform(0, 12) for _ in range(count))
    made_up = [
        Reading(host=host(t), gpus=[{name: luck.uniform(0, 1e9) for name in names if luck.random() < 0.8}])
        for t in times
    ]
    found = summary(made_up, start, start + length, ONE)
    assert bool(found.too_short) == (found.samples < MINIMUM_READINGS)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Telemetry) == found
    if not found.too_short:
        gpu = found.gpus[0]
        assert (gpu.mean_utilisation is None) == ("utilisation" in gpu.reasons)
        assert (gpu.mean_power_watts is None) == ("power_watts" in gpu.reasons)
        assert (gpu.throttle_reasons is None) == ("clock_events" in gpu.reasons)


def test_the_clock_is_shared_here_or_that_is_told(monkeypatch):
    """On Linux `time.perf_counter` is CLOCK_MONOTONIC, which one process may read for another."""
    clock = time.get_clock_info("perf_counter")
    assert clock.monotonic
    assert not clock.adjustable
    monkeypatch.setattr(module, "SHARED_CLOCKS", ())
    assert "do not share a clock" in clock_reason()
