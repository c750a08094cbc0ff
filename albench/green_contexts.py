"""Green contexts: the SMs of one GPU divided between streams, so that kernels of one stream never wait for another's.

A green context is a light CUDA context that owns some of the device's SMs (streaming multiprocessors). Work on a stream
of it runs on those and on no others. **All contexts must come from one split.** A split describes groups of SMs and
reserves nothing: a second split begins again with the same SMs, so contexts from two splits lie on top of each other.

Which sizes a split can have is the driver's business. It rounds up to what the architecture launches together, and
a defective cluster of SMs can cost a group. So nothing about sizes is assumed here: the driver is asked, by splits that
it only simulates, for the largest size at which the device yields as many groups as wanted.

This is the driver's API as the package cuda-bindings gives it (``cuda.bindings.driver``), without torch. The contexts
share the device's primary context, which torch uses too: memory, events and modules are common to all of them.
"""

from __future__ import annotations

import importlib
from typing import Any

from albench.errors import UsageError

OLDEST_DRIVER = 12080
"""CUDA version (1000 · major + 10 · minor) that the driver must support. Streams of green contexts came with 12.5;
torch asks for 12.8 for its own green contexts, and nothing older is tried there."""
FUNCTIONS = (
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGet",
    "cuDeviceGetDevResource",
    "cuDevSmResourceSplitByCount",
    "cuDevResourceGenerateDesc",
    "cuGreenCtxCreate",
    "cuGreenCtxGetDevResource",
    "cuGreenCtxStreamCreate",
    "cuStreamSynchronize",
    "cuStreamDestroy",
    "cuGreenCtxDestroy",
    "cuGetErrorName",
    "cuGetErrorString",
)
"""What is called of the driver."""
NOT_DIVISIBLE = ("CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION", "CUDA_ERROR_INVALID_VALUE")
"""How the driver may refuse a simulated split whose groups would be too large, instead of saying "no group"."""


class GreenContextError(RuntimeError):
    """The driver refused a call. Carries the `function` and the driver's name of the error, such as
    CUDA_ERROR_OUT_OF_MEMORY; where the call did not reach the driver, the name of the exception."""

    def __init__(self, function: str, error_name: str, description: str) -> None:
        self.function = function
        self.error_name = error_name
        self.description = description
        super().__init__(f"{function}: {error_name} ({description})")

    def __reduce__(self) -> tuple[type[GreenContextError], tuple[str, str, str]]:
        """Let the error cross from a process to its parent: an exception is rebuilt from its message otherwise."""
        return type(self), (self.function, self.error_name, self.description)


def load_driver() -> Any:
    """Return the module ``cuda.bindings.driver``. Raises `ImportError` where cuda-bindings is not installed."""
    return importlib.import_module("cuda.bindings.driver")


def unavailable_reason() -> str | None:
    """Return why this machine's software cannot make green contexts, with the remedy; None where it can.

    Looks at the package and at the driver's version, at no device.
    """
    try:
        driver = load_driver()
    except ImportError as error:
        return f"the package cuda-bindings cannot be imported ({error}): install the one of torch's CUDA version"
    missing = [name for name in FUNCTIONS if not hasattr(driver, name)]
    if missing:
        return f"cuda-bindings lacks {', '.join(missing)}: install version {_version(OLDEST_DRIVER)} or newer"
    try:
        (version,) = _call(driver, "cuDriverGetVersion")
    except GreenContextError as error:
        return f"the CUDA driver does not answer ({error}): install NVIDIA's driver"
    if version < OLDEST_DRIVER:
        return (
            f"the GPU's driver supports CUDA {_version(version)}: "
            f"install one that supports {_version(OLDEST_DRIVER)} or newer"
        )
    return None


def most_contexts(ordinal: int) -> int:
    """Return into how many groups of equal size the driver can split the SMs of the device called `ordinal`.

    Raises `GreenContextError` where it cannot say, `ImportError` without cuda-bindings.
    """
    driver = load_driver()
    return _simulated_groups(driver, _all_sms(driver, _device(driver, ordinal)), 1)


class GreenContexts:
    """`count` green contexts of one device from one split, each with one stream that does not wait for the default one.

    The device's primary context should be active already (torch has used the device), else it is made and undone
    with every call. `ordinal` counts the devices that this process sees, as torch does. Raises `UsageError` if the
    device yields fewer groups, `GreenContextError` if the driver refuses; nothing is left behind then.
    """

    def __init__(self, count: int, ordinal: int, sms: int | None = None) -> None:
        """`sms`: the size of each context, in SMs; None: as large as an even split gives."""
        self._driver = load_driver()
        self._undo: list[tuple[str, Any]] = []
        self.sms: list[int] = []
        """SMs of each context, as the driver says of the finished context."""
        self.streams: list[int] = []
        """A ``CUstream`` handle for each context; empty once closed."""
        device = _device(self._driver, ordinal)
        whole = _all_sms(self._driver, device)
        self.total_sms: int = whole.sm.smCount
        groups, self.leftover_sms = _split(self._driver, whole, count, ordinal, sms)
        try:
            for group in groups:
                self._provision(group, device)
            self._check_disjoint()
        except BaseException as error:
            for problem in self._undo_all():
                error.add_note(f"while undoing: {problem}")
            raise

    def close(self) -> None:
        """Wait for the work on the streams, then destroy streams and contexts in reverse order; twice does no harm.

        Every step is tried even if one fails; then the first `GreenContextError` is raised.
        """
        problems = self._undo_all()
        if problems:
            for other in problems[1:]:
                problems[0].add_note(f"and then: {other}")
            raise problems[0]

    def _provision(self, group: Any, device: Any) -> None:
        driver = self._driver
        (description,) = _call(driver, "cuDevResourceGenerateDesc", [group], 1)
        # The first drivers with green contexts refuse any other flag; newer ones take it.
        flag = driver.CUgreenCtxCreate_flags.CU_GREEN_CTX_DEFAULT_STREAM
        (context,) = _call(driver, "cuGreenCtxCreate", description, device, flag)
        self._undo.append(("cuGreenCtxDestroy", context))
        (own,) = _call(driver, "cuGreenCtxGetDevResource", context, _sm_type(driver))
        non_blocking = driver.CUstream_flags.CU_STREAM_NON_BLOCKING
        (stream,) = _call(driver, "cuGreenCtxStreamCreate", context, non_blocking, 0)
        # A context may not go while its stream has work: hence wait, then the stream, then the context.
        self._undo += [("cuStreamDestroy", stream), ("cuStreamSynchronize", stream)]
        self.sms.append(own.sm.smCount)
        self.streams.append(int(stream))

    def _check_disjoint(self) -> None:
        if sum(self.sms) + self.leftover_sms > self.total_sms:
            raise GreenContextError(
                "cuDevSmResourceSplitByCount",
                "overlap",
                f"contexts of {self.sms} SMs and {self.leftover_sms} left over, of a device with {self.total_sms}",
            )

    def _undo_all(self) -> list[GreenContextError]:
        self.streams.clear()
        problems = []
        while self._undo:
            function, handle = self._undo.pop()
            try:
                _call(self._driver, function, handle)
            except GreenContextError as problem:
                problems.append(problem)
        return problems


def _device(driver: Any, ordinal: int) -> Any:
    _call(driver, "cuInit", 0)  # does nothing where torch has done it
    (device,) = _call(driver, "cuDeviceGet", ordinal)
    return device


def _all_sms(driver: Any, device: Any) -> Any:
    (resource,) = _call(driver, "cuDeviceGetDevResource", device, _sm_type(driver))
    return resource


def _split(driver: Any, whole: Any, count: int, ordinal: int, sms: int | None) -> tuple[list[Any], int]:
    """Return `count` groups of equal size, of `sms` or else as large as the driver makes them, and how many SMs are in
    none."""
    most = _simulated_groups(driver, whole, sms or 1)
    if count > most:
        each, or_smaller = ("equal size", "") if sms is None else (f"{sms} SMs", ", or smaller ones")
        raise UsageError(
            f"{count} shares of the {whole.sm.smCount} SMs of cuda:{ordinal}: its driver makes at most {most} of "
            f"{each}, give at most {most}{or_smaller}"
        )
    if sms is not None:
        return _groups(driver, whole, count, sms)
    # Downwards from an even division: the driver rounds a size up, and then there may be too few groups. At most as
    # many calls as there are SMs in a group, of microseconds each, and size 1 is known to do.
    sizes = range(whole.sm.smCount // count, 0, -1)
    size = next(size for size in sizes if size == 1 or _simulated_groups(driver, whole, size) >= count)
    return _groups(driver, whole, count, size)


def _groups(driver: Any, whole: Any, count: int, size: int) -> tuple[list[Any], int]:
    """Return `count` groups of `size` SMs or the next size that the driver makes, and how many SMs are in none."""
    groups, made, remainder = _call(driver, "cuDevSmResourceSplitByCount", count, whole, 0, size)
    if made != count:
        raise GreenContextError(
            "cuDevSmResourceSplitByCount", "fewer groups", f"{made} of {size} SMs where it had announced {count}"
        )
    # Without a remainder the driver marks the resource as invalid and leaves its fields undefined.
    return groups, remainder.sm.smCount if remainder.type == _sm_type(driver) else 0


def _simulated_groups(driver: Any, whole: Any, size: int) -> int:
    """Return how many groups of at least `size` SMs the driver would make."""
    try:
        # No groups asked for: the driver only counts.
        _, groups, _ = _call(driver, "cuDevSmResourceSplitByCount", 0, whole, 0, size)
    except GreenContextError as error:
        # Size 1 is what any device that can be split allows: there a refusal is an error.
        if size > 1 and error.error_name in NOT_DIVISIBLE:
            return 0
        raise
    return int(groups)


def _sm_type(driver: Any) -> Any:
    return driver.CUdevResourceType.CU_DEV_RESOURCE_TYPE_SM


def _call(driver: Any, function: str, *arguments: Any) -> tuple[Any, ...]:
    """Return what a driver function returns beside its status. Raises `GreenContextError` for any but success."""
    try:
        status, *results = getattr(driver, function)(*arguments)
    except RuntimeError as error:  # cuda-bindings: the driver library, or this function of it, is not there
        raise GreenContextError(function, type(error).__name__, str(error)) from error
    if status != driver.CUresult.CUDA_SUCCESS:
        name = _text(driver.cuGetErrorName(status)) or f"error {int(status)}"
        raise GreenContextError(function, name, _text(driver.cuGetErrorString(status)) or "no description")
    return tuple(results)


def _text(answer: tuple[Any, bytes | None]) -> str:
    _, text = answer
    return text.decode() if text else ""


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
