"""Engines train any component that follows the protocol: here a locally supervised one that is not AL (as in DGL)."""

import pytest
import torch
from torch import nn

from albench.component import Component
from albench.engines import ComponentError, make_engine
from albench.engines.engine import as_network
from albench.errors import UsageError
from tests.engines.locally_supervised import LocallySupervised, LocalNetwork, StackableLocallySupervised
from tests.engines.made_up import assert_bitwise_equal, batches, largest_difference, trained

pytestmark = pytest.mark.timeout(120)


def test_the_protocol_is_what_it_follows():
    net = LocalNetwork(LocallySupervised)
    assert as_network(net) is net
    assert all(isinstance(component, Component) for component in net.components)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_serial_and_threads_agree_bitwise(dropout):
    """With dropout too: its random numbers come from the component's own generator, not from who runs first."""
    data = batches(20, ragged=3)
    serial, losses = trained("serial", data, net=LocalNetwork(LocallySupervised, dropout=dropout))
    threads, threads_losses = trained("threads", data, net=LocalNetwork(LocallySupervised, dropout=dropout), lanes=3)
    assert_bitwise_equal(serial, threads)
    assert losses == threads_losses


def test_a_run_with_dropout_resumes_exactly():
    """The generators are part of the state."""
    data = batches(20)
    whole, _ = trained("serial", data, net=LocalNetwork(LocallySupervised, dropout=0.3))
    with make_engine("threads", LocalNetwork(LocallySupervised, dropout=0.3), learning_rate=1e-2, lanes=2) as engine:
        engine.fit(data[:11])
        state = engine.state_dict()
    with make_engine("serial", LocalNetwork(LocallySupervised, dropout=0.3), learning_rate=1e-2) as engine:
        engine.load_state_dict(state)
        engine.fit(data[11:])
        assert_bitwise_equal(whole, engine.state_dict())


def test_fused_asks_for_the_promise():
    with pytest.raises(UsageError, match="does not declare `stackable = True`"):
        make_engine("fused", LocalNetwork(LocallySupervised))


@pytest.mark.parametrize("count", [1, 2, 6])
def test_fused_trains_a_stackable_one(count):
    """Its losses come back as [K]; labels travel as a stack of integers."""
    data = batches(40, ragged=3, dtype=torch.float64)
    nets = [LocalNetwork(StackableLocallySupervised, count).double() for _ in range(2)]
    serial, losses = trained("serial", data, net=nets[0])
    fused, fused_losses = trained("fused", data, net=nets[1])
    assert largest_difference(serial, fused) <= 1e-10
    assert [one["local"] for one in fused_losses] == pytest.approx([one["local"] for one in losses], rel=1e-9)


class Leaky:
    """Mixed into a component: it hands on what still has a graph."""

    part = "features"

    def forward(self, features, target):
        update = super().forward(features, target)
        out = self.body(features)
        return update._replace(**{self.part: out if self.part == "features" else (target, out)})


@pytest.mark.parametrize("part", ["features", "target"])
@pytest.mark.parametrize("name", ["serial", "threads", "fused"])
def test_what_has_a_graph_is_refused(name, part):
    """Or gradients would cross from one component to the next, and nobody would notice."""
    kind = type("LeakyComponent", (Leaky, StackableLocallySupervised), {"part": part})
    with make_engine(name, LocalNetwork(kind)) as engine, pytest.raises(ComponentError, match="detach"):
        engine.fit(batches(1))


class Normalised(LocallySupervised):
    """With BatchNorm: a buffer that each task moves."""

    def __init__(self, features, width, seed):
        super().__init__(features, width, seed)
        self.body.insert(1, nn.BatchNorm1d(width))


def test_running_statistics_are_moved_in_mini_batch_order_and_saved():
    """They belong to their component: the same on threads, and the same after a resumed run."""
    data = batches(12, ragged=3)
    whole, _ = trained("serial", data, net=LocalNetwork(Normalised))
    assert any("running_mean" in name for name in whole["components"][0]["weights"])
    threads, _ = trained("threads", data, net=LocalNetwork(Normalised), lanes=3)
    assert_bitwise_equal(whole, threads)
    with make_engine("threads", LocalNetwork(Normalised), learning_rate=1e-2, lanes=2) as engine:
        engine.fit(data[:5])
        state = engine.state_dict()
    with make_engine("serial", LocalNetwork(Normalised), learning_rate=1e-2) as engine:
        engine.load_state_dict(state)
        engine.fit(data[5:])
        assert_bitwise_equal(whole, engine.state_dict())
    with pytest.raises(UsageError, match="does not declare"):
        make_engine("fused", LocalNetwork(Normalised))


def test_gradients_stay_inside_a_component():
    """No engine lets the loss of component 1 reach component 0: alone, component 0 learns the very same weights."""
    data = batches(10)
    alone, _ = trained("serial", data, net=LocalNetwork(LocallySupervised, 1))
    for name in ("serial", "threads"):
        together, _ = trained(name, data, net=LocalNetwork(LocallySupervised, 4))
        for parameter, weight in alone["components"][0]["weights"].items():
            assert torch.equal(weight, together["components"][0]["weights"][parameter])


def test_a_network_that_is_none_is_refused():
    with pytest.raises(UsageError, match="has no `components`"):
        make_engine("serial", nn.Linear(2, 2))
