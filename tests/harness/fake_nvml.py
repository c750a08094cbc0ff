# ruff: noqa: N802 - the names are the library's
"""A fake NVML: GPUs that are made up, behind the names of the real library.

    nvml = FakeNvml([FakeGpu(power=[250_000, not_supported()])])

Errors, constants and handles' meaning are the real library's. What a GPU answers is a value, an error, a list that is
worked through (its last entry stays) or a function without arguments; units are NVML's (percent, MHz, mW, mJ).

The module itself can stand in for the real one in another process: it then has two GPUs that are always at work.
"""

from __future__ import annotations

import time
import types
from typing import Any

import pynvml


def error(name: str) -> pynvml.NVMLError:
    """Return the error called ``NVML_ERROR_<name>``."""
    return pynvml.NVMLError(getattr(pynvml, f"NVML_ERROR_{name}"))


class FakeGpu:
    """One GPU."""

    def __init__(self, name: str = "Fake A", uuid: str = "GPU-aaaa-1", **answers: Any) -> None:
        usual = {
            "utilisation": 50,
            "memory": 2**30,
            "clock": 1500,
            "power": 200_000,
            "energy": 1_000_000,
            "temperature": 60,
            "events": 0,
        }
        self.answers = usual | {"name": name, "uuid": uuid} | answers
        self.calls = dict.fromkeys(self.answers, 0)

    def tell(self, what: str) -> Any:
        answer = self.answers[what]
        number = self.calls[what]
        self.calls[what] += 1
        if isinstance(answer, list):
            answer = answer[min(number, len(answer) - 1)]
        if callable(answer):
            answer = answer()
        if isinstance(answer, BaseException):
            raise answer
        return answer


class FakeNvml(types.ModuleType):
    """The library."""

    NVMLError = pynvml.NVMLError
    NVML_CLOCK_SM = pynvml.NVML_CLOCK_SM
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU

    def __init__(
        self, gpus: list[FakeGpu], *, init: BaseException | None = None, mig: dict[str, FakeGpu] | None = None
    ):
        super().__init__("fake_nvml_of_a_test")
        self.gpus, self.init, self.mig = gpus, init, mig or {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("NVML_ERROR_"):
            return getattr(pynvml, name)
        raise AttributeError(name)

    def nvmlInit(self):
        if self.init is not None:
            raise self.init

    def nvmlDeviceGetCount(self):
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index):
        return self.gpus[index]

    def nvmlDeviceGetHandleByUUID(self, uuid):
        if uuid not in self.mig:
            raise error("NOT_FOUND")
        return self.mig[uuid]

    def nvmlDeviceGetName(self, gpu):
        return gpu.tell("name")

    def nvmlDeviceGetUUID(self, gpu):
        return gpu.tell("uuid")

    def nvmlDeviceGetUtilizationRates(self, gpu):
        return types.SimpleNamespace(gpu=gpu.tell("utilisation"), memory=0)

    def nvmlDeviceGetMemoryInfo(self, gpu):
        return types.SimpleNamespace(used=gpu.tell("memory"), total=80 * 2**30)

    def nvmlDeviceGetClockInfo(self, gpu, kind):
        assert kind == pynvml.NVML_CLOCK_SM
        return gpu.tell("clock")

    def nvmlDeviceGetPowerUsage(self, gpu):
        return gpu.tell("power")

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu):
        return gpu.tell("energy")

    def nvmlDeviceGetTemperature(self, gpu, sensor):
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return gpu.tell("temperature")

    def nvmlDeviceGetCurrentClocksEventReasons(self, gpu):
        return gpu.tell("events")

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, gpu):
        return gpu.tell("old events")


POWER_WATTS = 100.0
_two = FakeNvml(
    [
        FakeGpu(uuid=f"GPU-{letter * 8}", power=round(POWER_WATTS * 1e3), energy=lambda: time.perf_counter() * 1e5)
        for letter in "ab"
    ]
)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(_two, name)
