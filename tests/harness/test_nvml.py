"""Readings of GPUs that are made up: every fault is a reason in words, and none is an error."""

import inspect
import sys

import pynvml
import pytest

from albench.harness.nvml import FIELDS, clock_event_names, open_gpus
from tests.harness.fake_nvml import FakeGpu, FakeNvml, error


@pytest.fixture
def opened(monkeypatch):
    """Open the GPUs of a made-up library."""

    def opened(nvml, visible=None, cuda_order=None):
        monkeypatch.setitem(sys.modules, nvml.__name__, nvml)
        return open_gpus(visible=visible, cuda_order=cuda_order, module=nvml.__name__)

    return opened


def two():
    return FakeNvml([FakeGpu(uuid="GPU-aaaa-1"), FakeGpu(uuid="GPU-bbbb-2")])


def test_everything_is_read_in_plain_units(opened):
    gpus, reason = opened(FakeNvml([FakeGpu(events=0x4)]))
    assert reason == ""
    assert gpus[0].read() == {
        "utilisation": 0.5,
        "memory_bytes": 2**30,
        "sm_clock_hertz": 1.5e9,
        "power_watts": 200.0,
        "energy_joules": 1000.0,
        "temperature_celsius": 60,
        "clock_events": 4,
    }
    assert gpus[0].reasons() == {}
    assert (gpus[0].info.name, gpus[0].info.uuid) == ("Fake A", "GPU-aaaa-1")


@pytest.mark.parametrize(
    ("nvml", "words"),
    [
        (FakeNvml([], init=error("LIBRARY_NOT_FOUND")), "NVML: NVML Shared Library Not Found"),
        (FakeNvml([], init=error("DRIVER_NOT_LOADED")), "NVML: Driver Not Loaded"),
        (FakeNvml([], init=error("LIB_RM_VERSION_MISMATCH")), "version mismatch"),
        (FakeNvml([], init=OSError("broken")), "NVML: OSError: broken"),
        (FakeNvml([]), "NVML sees no GPU"),
    ],
)
def test_no_gpu_is_a_reason(opened, nvml, words):
    gpus, reason = opened(nvml)
    assert gpus == []
    assert words in reason
    assert "\n" not in reason


def test_no_binding_is_a_reason():
    gpus, reason = open_gpus(visible=None, module="albench_has_no_such_module")
    assert gpus == []
    assert "No module named" in reason


def test_the_fake_has_the_calls_of_the_real_library():
    """A name or an argument that the real one does not have would only be noticed where there is a GPU."""
    calls = [name for name in vars(FakeNvml) if name.startswith("nvml")]
    assert len(calls) > 10
    for name in calls:
        real = inspect.signature(getattr(pynvml, name)).parameters.values()
        needed = [one for one in real if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD]
        assert len(needed) in (0, len(inspect.signature(getattr(FakeNvml, name)).parameters) - 1), name


def test_the_real_library_is_met_as_it_is_here():
    gpus, reason = open_gpus(visible=None)
    assert gpus or reason.startswith("NVML")
    for gpu in gpus:
        assert set(gpu.read()) | set(gpu.reasons()) == set(FIELDS)


@pytest.mark.parametrize(
    ("visible", "uuids"),
    [
        (None, ["GPU-aaaa-1", "GPU-bbbb-2"]),
        ("0,1", ["GPU-aaaa-1", "GPU-bbbb-2"]),
        ("1", ["GPU-bbbb-2"]),
        ("1, 0", ["GPU-bbbb-2", "GPU-aaaa-1"]),
        ("GPU-bb", ["GPU-bbbb-2"]),
        ("GPU-bbbb-2,0", ["GPU-bbbb-2", "GPU-aaaa-1"]),
        ("1,7,0", ["GPU-bbbb-2"]),
        ("1,-1,0", ["GPU-bbbb-2"]),
        ("GPU-", []),
        ("GPU-nobody", []),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("MIG-nobody", []),
    ],
)
def test_only_visible_gpus_are_read_in_the_order_in_which_cuda_counts_them(opened, visible, uuids):
    gpus, reason = opened(two(), visible)
    assert [gpu.info.uuid for gpu in gpus] == uuids
    assert [gpu.info.index for gpu in gpus] == list(range(len(uuids)))
    assert bool(reason) == (not uuids)


def test_gpus_that_differ_may_be_numbered_otherwise(opened):
    mixed = FakeNvml([FakeGpu("small"), FakeGpu("large")])
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in opened(mixed)[1]
    assert opened(mixed, cuda_order="PCI_BUS_ID")[1] == ""
    assert len(opened(mixed)[0]) == 2


def test_a_mig_instance_has_memory_and_reasons_for_the_rest(opened):
    """NVML knows no utilisation of an instance, and power, energy and clocks only of the whole card."""
    lacking = {name: error("NOT_SUPPORTED") for name in ("utilisation", "power", "energy", "clock", "events")}
    instance = FakeGpu("Fake MIG 1g", "MIG-1234", **lacking)
    gpus, reason = opened(FakeNvml([FakeGpu()], mig={"MIG-1234": instance}), "MIG-1234")
    assert reason == ""
    assert set(gpus[0].read()) == {"memory_bytes", "temperature_celsius"}
    assert gpus[0].reasons() == dict.fromkeys(
        ("utilisation", "power_watts", "energy_joules", "sm_clock_hertz", "clock_events"), "Not Supported"
    )


def test_a_field_that_is_not_there_is_asked_for_once(opened):
    gpu = FakeGpu(power=error("NOT_SUPPORTED"), energy=error("NO_PERMISSION"))
    gpus, _ = opened(FakeNvml([gpu]))
    for _ in range(5):
        assert "power_watts" not in gpus[0].read()
    assert gpu.calls["power"] == gpu.calls["energy"] == 1
    gpus[0].begin()
    assert gpus[0].reasons()["energy_joules"] == "Insufficient Permissions"


def test_an_error_that_passes_is_counted_and_the_next_reading_tried(opened):
    gpus, _ = opened(
        FakeNvml([FakeGpu(power=[200_000, error("TIMEOUT"), error("UNKNOWN"), error("TIMEOUT"), 100_000])])
    )
    found = [gpus[0].read().get("power_watts") for _ in range(5)]
    assert found == [200.0, None, None, None, 100.0]
    assert gpus[0].reasons() == {"power_watts": "Timeout (2 times); Unknown Error (1 times)"}
    gpus[0].begin()
    assert gpus[0].reasons() == {}


def test_a_gpu_that_is_lost_is_left_alone(opened):
    """Each further call to a lost card may take seconds."""
    gpu = FakeGpu(memory=[2**30, error("GPU_IS_LOST")])
    gpus, _ = opened(FakeNvml([gpu, FakeGpu(uuid="GPU-bbbb-2")]))
    assert len(gpus[0].read()) == len(FIELDS)
    gpus[0].read()
    calls = dict(gpu.calls)
    assert gpus[0].read() == {}
    assert gpu.calls == calls
    assert gpus[0].reasons() == dict.fromkeys(FIELDS, "GPU is lost")
    assert len(gpus[1].read()) == len(FIELDS), "its neighbour goes on"


def test_a_driver_before_535_tells_the_reasons_under_their_old_name(opened):
    gpus, _ = opened(FakeNvml([FakeGpu(events=error("FUNCTION_NOT_FOUND"), **{"old events": 0x20})]))
    assert gpus[0].read()["clock_events"] == 0x20


def test_an_answer_that_nobody_expects_costs_that_field_only(opened):
    gpus, _ = opened(FakeNvml([FakeGpu(temperature=AttributeError("no such call"), name=error("UNKNOWN"))]))
    assert set(gpus[0].read()) == set(FIELDS) - {"temperature_celsius"}
    assert gpus[0].reasons() == {"temperature_celsius": "AttributeError: no such call"}
    assert gpus[0].info.name == ""


@pytest.mark.parametrize(
    ("bits", "names"),
    [
        (0x0, []),
        (0x1, []),  # an idle GPU is not throttled
        (0x4 | 0x40, ["software power cap", "hardware thermal slowdown"]),
        (0x1 | 0x8, ["hardware slowdown"]),
        (0x8000, ["unknown reason 0x8000"]),
    ],
)
def test_reasons_have_names(bits, names):
    assert clock_event_names(bits) == names
