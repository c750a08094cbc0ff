"""NVML: readings of the GPUs that a case may use, and for every reading that there is not, why.

What NVML calls *utilisation* is the share of its own last window (between 1/6 s and 1 s, by product) in which at least
one kernel ran: 100 % may be one thread of one multiprocessor. Power is on many cards an average over the last second as
well. The energy counter, where there is one (Volta and later), has no such window.

Nothing here raises. No GPU, no library, an old driver, a field that this card does not have (on a MIG instance most of
them), a card that is lost in the middle: each is a line of text that ends up in the record.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from albench.errors import message_of, one_line

T = TypeVar("T")

LOOK_BACK_SECONDS = 1.0
"""The longest time that NVML averages utilisation and power over; a reading says nothing about a shorter window."""

FIELDS: dict[str, Callable[[Any, Any], float]] = {
    "utilisation": lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100,
    "memory_bytes": lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used,
    "sm_clock_hertz": lambda nvml, gpu: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM) * 1e6,
    "power_watts": lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1e3,
    "energy_joules": lambda nvml, gpu: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1e3,
    "temperature_celsius": lambda nvml, gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
    "clock_events": lambda nvml, gpu: _clock_events(nvml, gpu),
}
"""What is read of a GPU in one go: name with its unit, and how."""

CLOCK_EVENTS = {
    0x002: "application clocks setting",
    0x004: "software power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "software thermal slowdown",
    0x040: "hardware thermal slowdown",
    0x080: "hardware power brake slowdown",
    0x100: "display clock setting",
    0x200: "board limit",
    0x400: "reliability",
}
"""NVML's clock event (formerly throttle) reasons: bit and name. Left out is the lowest bit, "GPU idle", which slows
nothing down."""
IDLE_EVENT = 0x001

LOST = ("GPU_IS_LOST", "RESET_REQUIRED", "UNINITIALIZED", "GPU_NOT_FOUND")
"""Errors after which a card is not asked again: every further call may take long, and none can succeed."""
FOR_GOOD = (
    "NOT_SUPPORTED",
    "FUNCTION_NOT_FOUND",  # the driver is older than the field
    "NO_PERMISSION",
    "INVALID_ARGUMENT",  # what some drivers say of a MIG instance
    "ARGUMENT_VERSION_MISMATCH",
    "DEPRECATED",
)
"""Errors after which one field is not asked again. All others, such as a time-out, may pass."""


class GpuInfo(msgspec.Struct, kw_only=True, frozen=True):
    """Which GPU it is."""

    index: int
    """Its place among the GPUs that CUDA_VISIBLE_DEVICES leaves, from 0."""
    name: str
    uuid: str
    """"GPU-…" or "MIG-…"; empty where NVML does not say."""


class Gpu:
    """One GPU that is read again and again."""

    def __init__(self, nvml: Any, handle: Any, index: int) -> None:
        self._nvml, self._handle = nvml, handle
        self._lost_values = _values(nvml, LOST)
        self._final_values = _values(nvml, FOR_GOOD)
        self.info = GpuInfo(
            index=index, name=_told(nvml.nvmlDeviceGetName, handle), uuid=_told(nvml.nvmlDeviceGetUUID, handle)
        )
        self.lost = ""
        """Why the card is not asked any more; empty while it is."""
        self._missing: dict[str, str] = {}
        self._failed: dict[str, Counter[str]] = {}

    def read(self) -> dict[str, float]:
        """Return what can be read now, by the names of `FIELDS`."""
        found: dict[str, float] = {}
        for name, field in FIELDS.items():
            if self.lost:
                break
            if name in self._missing:
                continue
            try:
                found[name] = field(self._nvml, self._handle)
            except self._nvml.NVMLError as error:
                self._note(name, error)
            except Exception as error:  # a library that lacks the call, or answers in another way
                self._missing[name] = one_line(error)
        return found

    def _note(self, name: str, error: Any) -> None:
        if error.value in self._lost_values:
            self.lost = message_of(error)
        elif error.value in self._final_values:
            self._missing[name] = message_of(error)
        else:
            self._failed.setdefault(name, Counter())[message_of(error)] += 1

    def begin(self) -> None:
        """Forget the errors that may have passed."""
        self._failed.clear()

    def reasons(self) -> dict[str, str]:
        """Return for each field that was not always read why, since `begin`."""
        if self.lost:
            return dict.fromkeys(FIELDS, self.lost)
        passing = {
            name: "; ".join(f"{error} ({count} times)" for error, count in errors.items())
            for name, errors in self._failed.items()
        }
        return passing | self._missing


def open_gpus(*, visible: str | None, cuda_order: str | None = None, module: str = "pynvml") -> tuple[list[Gpu], str]:
    """Return the GPUs that a case may use, and a reason where there is none or where their order is not certain.

    `visible` is the value of CUDA_VISIBLE_DEVICES, None where it is not set; `cuda_order` that of CUDA_DEVICE_ORDER.
    NVML counts cards as they sit on the bus, and CUDA by default the fastest first: where cards differ and the user
    numbers them, only ``CUDA_DEVICE_ORDER=PCI_BUS_ID`` makes both count alike.
    """
    try:
        nvml = importlib.import_module(module)
    except ImportError as error:
        return [], f"NVML: {one_line(error)}"
    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        if visible is not None:
            handles = _visible(nvml, handles, visible)
        gpus = [Gpu(nvml, handle, i) for i, handle in enumerate(handles)]
    except nvml.NVMLError as error:
        return [], f"NVML: {message_of(error)}"
    except Exception as error:  # a broken library must not cost a measurement
        return [], f"NVML: {one_line(error)}"
    if not gpus:
        return [], "NVML sees no GPU" if visible is None else f"CUDA_VISIBLE_DEVICES={visible!r} leaves no GPU"
    differ = len({gpu.info.name for gpu in gpus}) > 1
    if differ and cuda_order != "PCI_BUS_ID":
        return gpus, "GPUs differ: set CUDA_DEVICE_ORDER=PCI_BUS_ID, else CUDA may number them otherwise than NVML"
    return gpus, ""


def _visible(nvml: Any, handles: list[Any], visible: str) -> list[Any]:
    """Return the handles that CUDA_VISIBLE_DEVICES names, in its order; as in CUDA, the first bad name ends it."""
    uuids = [_told(nvml.nvmlDeviceGetUUID, handle) for handle in handles]
    found: list[Any] = []
    for part in visible.split(","):
        name = part.strip()
        if name.isdecimal():
            chosen = [handles[int(name)]] if int(name) < len(handles) else []
        elif name.startswith("GPU-"):  # may be cut short as long as it names one card
            chosen = [handle for handle, uuid in zip(handles, uuids, strict=True) if uuid.startswith(name)]
        elif name.startswith("MIG-"):
            try:
                chosen = [nvml.nvmlDeviceGetHandleByUUID(name)]
            except nvml.NVMLError:
                chosen = []
        else:
            chosen = []
        if len(chosen) != 1:
            break
        found += chosen
    return found


def clock_event_names(bits: int) -> list[str]:
    """Return the names of the reasons that held the clock back, from NVML's bits; unknown bits as numbers."""
    known = [name for bit, name in CLOCK_EVENTS.items() if bits & bit]
    rest = bits & ~(sum(CLOCK_EVENTS) | IDLE_EVENT)
    return known + ([f"unknown reason {rest:#x}"] if rest else [])


def _clock_events(nvml: Any, gpu: Any) -> float:
    try:
        return int(nvml.nvmlDeviceGetCurrentClocksEventReasons(gpu))
    except nvml.NVMLError as error:
        if error.value != nvml.NVML_ERROR_FUNCTION_NOT_FOUND:
            raise
        return int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu))  # its name before driver 535


def answered(call: Callable[[], T]) -> T | None:
    """Return what the library answers; None where it does not, whatever it raises."""
    try:
        return call()
    except Exception:
        return None


def _told(call: Callable[[Any], str | bytes], handle: Any) -> str:
    """Return what NVML calls a card; empty if it does not say."""
    text = answered(lambda: call(handle))
    if text is None:
        return ""
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)


def _values(nvml: Any, names: tuple[str, ...]) -> set[int]:
    """Return the numbers of NVML's errors that this version of the library knows."""
    return {value for name in names if (value := getattr(nvml, f"NVML_ERROR_{name}", None)) is not None}
