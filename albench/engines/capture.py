"""Capture: a body of launches recorded once and replayed as a whole.

On a GPU a tick of the pipeline is hundreds of small kernels, and Python needs longer to launch them than the card to
run them. A CUDA graph holds the launches: replaying it costs the host one call, however many there are. What a body
must keep to: the same tensors at the same addresses every time, no look at a value on the device, all work forked to
other streams joined again at the end. Before it is recorded a body runs a few times for real, because libraries set
themselves up on their first call; so it must be harmless at that moment (the engines mark every slot as idle).

Elsewhere there is nothing to record and the body itself is returned. That is how the engines that replay are tested
on machines without a GPU: all of their logic but the recording.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

WARM_UPS = 3
"""Runs before recording, as torch's notes on CUDA graphs ask for."""


def record(
    body: Callable[[], None],
    *,
    device: torch.device,
    stream: torch.cuda.Stream | None = None,
    pool: Any = None,
    generators: Sequence[torch.Generator] = (),
) -> Callable[[], None]:
    """Return a function that does what `body` does, with one launch if `device` is a GPU.

    `stream`: to record on (None: a new one); lanes that are shares of the SMs give one of theirs. `pool`: a memory pool
    of ``torch.cuda.graph_pool_handle()`` to share with other recordings that are never replayed at the same time.
    `generators`: those of the device that the body draws from, besides torch's own; each replay draws on from where
    they stand.
    """
    if device.type != "cuda":
        return body
    stream = stream or torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS - 1):
            body()
        # A body that looks at the device is found out here: failing inside a recording would break torch's allocator
        # for the rest of the process (until torch 2.12).
        with no_wait_for_the_device():
            body()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    # Only this thread is held to what a recording forbids: others may be copying the next mini-batches.
    with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
        body()
    return graph.replay


@contextlib.contextmanager
def no_wait_for_the_device() -> Iterator[None]:
    """Raise RuntimeError where the host waits for the device."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that this mode is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
