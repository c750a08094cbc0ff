"""Shares of the SMs as lanes: streams of one GPU that never compete for a multiprocessor.

Plain streams leave it to the GPU which of them runs: a large kernel of one lane fills the device and the others wait.
With shares each lane has SMs of its own (`albench.green_contexts`), so that K lanes really run K tasks at a time. The
price: a task alone cannot use the rest of the device, so shares are worth it only where one component cannot fill it.
Libraries may choose other kernels for fewer SMs: results agree with other lanes up to rounding, not bit by bit.

Work goes to a share by its *stream*, never by making its context current: autograd runs a backward pass in its own
threads, but on the stream of the forward pass. A graph recorded on these streams keeps to their SMs when replayed.
"""

from __future__ import annotations

from numbers import Integral
from types import TracebackType

import torch

from albench import green_contexts
from albench.errors import UsageError
from albench.green_contexts import GreenContextError, GreenContexts


class Shares:
    """Streams on disjoint shares of the SMs of `device`, until closed. Made by `share_streams`."""

    def __init__(self, contexts: GreenContexts, device: torch.device) -> None:
        self._contexts = contexts
        self.device = device
        self.streams: list[torch.cuda.ExternalStream] = [
            torch.cuda.ExternalStream(handle, device=device)  # type: ignore[no-untyped-call]
            for handle in contexts.streams
        ]
        """One a share; empty once closed."""
        self.sms = list(contexts.sms)
        """SMs of each share; they stay readable once closed."""
        self.leftover_sms = contexts.leftover_sms
        """SMs that are in no share, so idle while only shares run."""

    def close(self) -> None:
        """Wait for the work on the streams and give the SMs back; twice does no harm.

        Before: drop the graphs recorded on the streams and the tensors marked with ``record_stream`` for them, and
        leave their ``torch.cuda.stream`` blocks. Raises `GreenContextError` if the driver reports an error, as it does
        after a kernel that failed.
        """
        self.streams.clear()
        self._contexts.close()

    def __enter__(self) -> Shares:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except GreenContextError as problem:
            if error is None:
                raise
            error.add_note(f"while closing the shares: {problem}")  # what went wrong first is what the user needs


def share_streams(count: int, device: torch.device, sms: int | None = None) -> Shares:
    """Return `count` streams on disjoint, equal shares of the SMs of `device`: of `sms` SMs, or the largest possible.

    A driver rounds `sms` up to what its architecture launches together; `Shares.sms` says what it has made.

    Close the result, or use it in a ``with``. Raises `UsageError` where shares are not available or the device has
    fewer, `GreenContextError` where the driver refuses.
    """
    if not (isinstance(count, Integral) and count >= 1):
        raise UsageError(f"the number of shares is {count!r}: give a whole number of at least 1")
    reason = unavailable_reason(device)
    if reason is not None:
        raise UsageError(f"shares of the SMs are not available: {reason}")
    device = _with_index(device)
    torch.cuda.synchronize(device)  # makes the device's primary context active, which green contexts build on
    contexts = GreenContexts(int(count), device.index, sms)
    try:
        return Shares(contexts, device)
    except BaseException:
        contexts.close()
        raise


def unavailable_reason(device: torch.device | None = None) -> str | None:
    """Return why the SMs of `device` (None: the current CUDA device) cannot be shared out, with the remedy, or None.

    Asks the driver, so CUDA is initialised where there is a device: not for a process that forks later.
    """
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA: install a CUDA build of torch"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device: run where there is one, and look at CUDA_VISIBLE_DEVICES"
    if device is not None and device.type != "cuda":
        return f"{device} has no SMs: give a CUDA device"
    if device is not None and device.index is not None and device.index >= torch.cuda.device_count():
        return f"there is no {device}: give cuda:0 to cuda:{torch.cuda.device_count() - 1}"
    reason = green_contexts.unavailable_reason()
    if reason is not None:
        return reason
    device = _with_index(device or torch.device("cuda"))
    try:
        most = green_contexts.most_contexts(device.index)
    except GreenContextError as error:
        return f"the driver cannot split {device} ({error}): use plain streams there"
    return None if most else f"the driver makes no group of SMs of {device}: use plain streams there"


def _with_index(device: torch.device) -> torch.device:
    return device if device.index is not None else torch.device("cuda", torch.cuda.current_device())
