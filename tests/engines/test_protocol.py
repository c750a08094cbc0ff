"""Engines train any component that follows the protocol: here a locally supervised one that is not AL (as in DGL)."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from albench.component import Component, ComponentNetwork, ParameterGroup, Update
from albench.engines import make_engine
from albench.errors import UsageError
from tests.engines.made_up import CLASSES, FEATURES, assert_bitwise_equal, batches, largest_difference, trained


class LocallySupervised(nn.Module):
    """A layer with an auxiliary classifier of its own; the target that it hands on are the labels."""

    def __init__(self, features, width, seed, *, dropout=0.0):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)
        self.dropout = dropout
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.body = nn.Sequential(nn.Linear(features, width), nn.ReLU())
            self.head = nn.Sequential(nn.Linear(width, CLASSES))

    def forward(self, features, target):
        out = self.body(features)
        if self.dropout:
            keep = torch.rand(out.shape, generator=self.generator) > self.dropout
            out = out * keep / (1 - self.dropout)
        return Update(out.detach(), target, {"local": F.cross_entropy(self.head(out), target)})

    def parameter_groups(self):
        return [ParameterGroup(parameters=list(self.parameters()))]


class StackableLocallySupervised(LocallySupervised):
    """The same, written so that a leading dimension is welcome."""

    stackable = True

    def forward(self, features, target):
        out = self.body(features)
        logs = F.log_softmax(self.head(out), dim=-1)
        return Update(out.detach(), target, {"local": -logs.gather(-1, target.unsqueeze(-1)).squeeze(-1).mean(-1)})


class LocalNetwork(nn.Module):
    def __init__(self, kind, count=4, width=9, **options):
        super().__init__()
        self.components = nn.ModuleList(
            kind(FEATURES if i == 0 else width, width, seed=i, **options) for i in range(count)
        )
        self.classes = CLASSES

    def first_target(self, labels, *, dtype, distinct_targets):
        return labels


def test_the_protocol_is_what_it_follows():
    net = LocalNetwork(LocallySupervised)
    assert isinstance(net, ComponentNetwork)
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


def test_fused_trains_a_stackable_one():
    data = batches(40)
    serial, _ = trained("serial", data, net=LocalNetwork(StackableLocallySupervised))
    fused, _ = trained("fused", data, net=LocalNetwork(StackableLocallySupervised))
    assert largest_difference(serial, fused) <= 1e-5


def test_features_with_a_graph_are_refused():
    class Leaky(LocallySupervised):
        def forward(self, features, target):
            update = super().forward(features, target)
            return update._replace(features=self.body(features))

    with make_engine("serial", LocalNetwork(Leaky)) as engine, pytest.raises(RuntimeError, match="detach"):
        engine.fit(batches(1))


def test_a_network_that_is_none_is_refused():
    with pytest.raises(UsageError, match="has no `components`"):
        make_engine("serial", nn.Linear(2, 2))
