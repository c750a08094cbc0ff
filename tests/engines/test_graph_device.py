"""The graph engine where a tick is really recorded: branches overlap, the host never waits, memory stays flat."""

import itertools

import pytest
import torch

from albench.engines import ComponentError, make_engine
from albench.engines.capture import no_wait_for_the_device
from tests.engines.device_runs import host_seconds_per_tick, moved
from tests.engines.graph_runs import assert_serials, of_sizes, replays
from tests.engines.locally_supervised import LocallySupervised, LocalNetwork
from tests.engines.made_up import batches, network

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("_warm_ups"), pytest.mark.cuda]


@pytest.mark.parametrize("lanes", [2, 8])
def test_bitwise_equal_where_branches_really_overlap(lanes):
    data = batches(60, batch_size=256, ragged=100)
    make = lambda: network(16, width=1024)  # noqa: E731 - a fresh one for each engine
    for _ in range(3):
        assert_serials(data, device="cuda", make=make, lanes=lanes, learning_rate=1e-3)


def test_the_host_never_waits_for_the_device_between_recordings():
    """Not for a new rate, not for a ragged mini-batch, not to drain."""
    data = moved(of_sizes(*[8] * 20, 5, *[8] * 10, 3), "cuda")
    with make_engine("graph", network(16).cuda(), learning_rate=lambda k: 1e-2 / (1 + k), lanes=4) as engine:
        engine.fit(data[:3])
        with no_wait_for_the_device():
            engine.fit(data[3:])
        assert engine.recordings == 1


@pytest.mark.parametrize("hidden_layers", [4, 32])
def test_a_tick_is_one_replay_on_a_device(hidden_layers, record_property):
    """The host's time for a tick goes into the report of the tests; it is not judged here."""
    x, y = moved(batches(1, batch_size=64), "cuda")[0]
    with make_engine("graph", network(hidden_layers, width=64).cuda(), lanes=2) as engine:
        record_property("host_seconds_per_tick", host_seconds_per_tick(engine, (x, y), 500))
        assert len(replays) == engine.minibatches_seen - 1 + 2 * (hidden_layers // 2 - 1)


def test_memory_stays_flat():
    """Over many mini-batches, and over recordings that replace each other."""
    data = moved(batches(9, batch_size=64, ragged=30), "cuda")
    other = moved(batches(10, batch_size=32), "cuda")
    with make_engine("graph", network(16, width=64).cuda(), lanes=4) as engine:

        def both():
            engine.fit(itertools.islice(itertools.cycle(data), 200))
            engine.fit(itertools.islice(itertools.cycle(other), 200))
            torch.cuda.synchronize()
            return torch.cuda.memory_allocated(), torch.cuda.memory_reserved()

        both()
        allocated, reserved = both()
        engine.fit(itertools.islice(itertools.cycle(data), 2000))
        now_allocated, now_reserved = both()
        assert now_allocated <= allocated
        assert now_reserved <= reserved + 2**25, "more than one odd segment of the allocator"
        assert engine.recordings >= 5


def test_a_component_that_looks_at_the_device_is_named():
    class Looking(LocallySupervised):
        def forward(self, features, target):
            update = super().forward(features, target)
            update.losses["local"].item()
            return update

    engine = make_engine("graph", LocalNetwork(Looking).cuda())
    with engine, pytest.raises(ComponentError, match="component 0 failed on mini-batch 1"):
        engine.fit(moved(batches(4), "cuda"))


def test_hooks_that_a_replay_does_not_call_are_noted():
    net = network(8).cuda()
    net.components[2].f.register_forward_hook(lambda module, given, out: None)
    with make_engine("graph", net) as engine:
        engine.fit(moved(batches(4), "cuda"))
        assert engine.notes == [
            "component 2 has hooks: their Python runs when a tick is recorded, not when it is replayed"
        ]
