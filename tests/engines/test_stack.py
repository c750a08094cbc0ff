"""The stack: that it computes what its components would, and is copied whole."""

import copy
import pickle

import pytest
import torch

from albench.associated import AssociatedComponent
from albench.engines import EngineOptions, make_engine
from albench.engines.stack import Stack
from albench.errors import UsageError
from tests.engines.locally_supervised import LocalNetwork, StackableLocallySupervised
from tests.engines.made_up import assert_bitwise_equal, batches, largest_difference, network, trained

pytestmark = pytest.mark.timeout(120)


def test_weights_go_in_and_come_out_unchanged():
    net = network(10, bridge_width=20)
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    stack = Stack(net.components[1:], EngineOptions())
    assert len(stack) == 4
    stack.gather()
    for parameter in net.parameters():
        parameter.data.zero_()
    stack.scatter()
    for name, weight in net.state_dict().items():
        assert torch.equal(weight, before[name]) != name.startswith("components.0") or not before[name].any()


def test_the_written_reverse_pass_is_autograds(monkeypatch):
    """The same run with one and with the other."""
    data = batches(20, ragged=3, dtype=torch.float64)
    written, losses = trained("fused", data, net=network(8, bridge_width=20, dtype=torch.float64))
    assert Stack(network(8).components[1:], EngineOptions())._explicit, (
        "Associated Learning's must take the written one"
    )
    monkeypatch.delattr(AssociatedComponent, "explicit_update")
    assert not Stack(network(8).components[1:], EngineOptions())._explicit
    recorded, recorded_losses = trained("fused", data, net=network(8, bridge_width=20, dtype=torch.float64))
    assert largest_difference(written, recorded) <= 1e-12
    for one, other in zip(losses, recorded_losses, strict=True):
        assert one == pytest.approx(other, rel=1e-12)


def test_a_component_not_of_this_protocols_making_takes_autograd():
    net = LocalNetwork(StackableLocallySupervised)
    stack = Stack(net.components[1:], EngineOptions())
    assert not stack._explicit


def test_moments_before_the_first_update_are_none():
    stack = Stack(network(6).components[1:], EngineOptions())
    assert stack.moments(0) == {}
    assert stack.losses() == [{}, {}]


def test_a_network_that_has_moved_is_refused():
    net = network(8)
    with make_engine("fused", net, lanes=1) as engine:
        net.double()
        with pytest.raises(
            UsageError, match="torch.float64 on cpu and was torch.float32 on cpu: move a network before"
        ):
            engine.fit(batches(2, dtype=torch.float64))


def test_a_state_in_which_parameters_differ_in_updates_is_refused():
    """A row has one count: Adam's correction would be wrong for some of it."""
    with make_engine("serial", network(6)) as engine:
        engine.fit(batches(2))
        state = engine.state_dict()
    state["components"][2]["optimizer"]["f.0.weight"]["step"] += 1
    with make_engine("fused", network(6)) as engine, pytest.raises(UsageError, match=r"after \[2.0, 3.0\] updates"):
        engine.load_state_dict(state)


class Doubling(AssociatedComponent):
    """With a forward pass of its own, and the reverse pass of another one inherited."""

    def forward(self, features, target):
        update = super().forward(features, target)
        return update._replace(losses={**update.losses, "activity": self.f(features).square().mean((-2, -1))})


def test_a_subclass_with_another_forward_pass_is_trained_by_that_one():
    data = batches(20, ragged=3, dtype=torch.float64)
    runs = []
    for name in ("serial", "fused"):
        net = network(8, dtype=torch.float64)
        for component in net.components:
            component.__class__ = Doubling
        runs.append(trained(name, data, net=net))
    assert largest_difference(runs[0][0], runs[1][0]) <= 1e-10
    assert "activity" in runs[1][1][2]


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))], ids=["copied", "pickled"]
)
@pytest.mark.parametrize("kind", ["written", "autograd"])
def test_a_copied_engine_goes_on_as_the_first(duplicate, kind):
    """Its views must not be cut apart: the copy would train weights that nobody reads."""
    data = batches(20)
    net = network(8) if kind == "written" else LocalNetwork(StackableLocallySupervised)
    with make_engine("fused", net, learning_rate=1e-2, lanes=1) as engine:
        engine.fit(data[:8])
        with duplicate(engine) as other:
            assert other.losses == engine.losses
            engine.fit(data[8:])
            before = engine.state_dict()
            other.fit(data[8:])
            assert_bitwise_equal(before, other.state_dict())
            assert_bitwise_equal(before, engine.state_dict())
            assert other.losses == engine.losses
