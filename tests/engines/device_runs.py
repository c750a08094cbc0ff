"""Engines of CUDA lanes, made to run where the tests run: on the CPU all logic but the overlap, and on a device."""

import contextlib
import time
from unittest import mock

import torch

import albench.engines as engines
from albench.engines.graph import GraphEngine
from albench.engines.streams import StreamsEngine
from tests.engines.locally_supervised import LocallySupervised
from tests.engines.made_up import network, trained


class StreamsOnCpu(StreamsEngine):
    device_types = frozenset({"cuda", "cpu"})


class GraphOnCpu(GraphEngine):
    device_types = frozenset({"cuda", "cpu"})


ON_CPU = {
    "streams": ("tests.engines.device_runs", "StreamsOnCpu"),
    "graph": ("tests.engines.device_runs", "GraphOnCpu"),
}


def allowed_on_the_cpu():
    """Return a context in which `make_engine` makes CPU twins of the engines of CUDA lanes."""
    return mock.patch.dict(engines.ENGINES, ON_CPU)


def moved(data, device):
    return [(x.to(device), y.to(device)) for x, y in data]


def trained_on(device, name, data, *, net=None, hidden_layers=8, **options):
    """Return what `trained` returns, from a run on `device`."""
    net = (net if net is not None else network(hidden_layers)).to(device)
    with allowed_on_the_cpu():
        return trained(name, moved(data, device), net=net, **options)


class Clocked:
    """A stream that knows which work of which stream comes before its own next work: a vector clock."""

    def __init__(self, number, count, deaf):
        self.number, self.deaf = number, deaf
        self.seen = [0] * count

    def work(self):
        self.seen[self.number] += 1
        return self.number, self.seen[self.number]

    def record_event(self, event):
        event[:] = self.seen

    def wait_event(self, event):
        if not self.deaf and event:
            self.seen = [max(pair) for pair in zip(self.seen, event, strict=True)]

    def wait_stream(self, stream):
        self.wait_event(stream.seen)


class ClockedLanes:
    """Lanes of such streams, and the caller's."""

    def __init__(self, count, deaf=False):
        clocked = [Clocked(number, count + 1, deaf) for number in range(count + 1)]
        self.the_caller, self.streams = clocked[0], clocked[1:]
        self.current = self.the_caller

    @contextlib.contextmanager
    def on(self, lane):
        before, self.current = self.current, self.streams[lane]
        yield
        self.current = before

    def event(self):
        return []


class Normalised(LocallySupervised):
    """A component with running statistics: they are to be those of its own mini-batches, in order."""

    def __init__(self, features, width, seed):
        super().__init__(features, width, seed)
        self.body.append(torch.nn.BatchNorm1d(width))


def host_seconds_per_tick(engine, batch, count):
    """Return the seconds that this thread spends on a mini-batch while the device has room for more launches."""
    engine.fit([batch] * 3)
    torch.cuda.synchronize()
    start = time.perf_counter()
    engine.fit([batch] * count)
    seconds = time.perf_counter() - start
    torch.cuda.synchronize()
    return seconds / count
