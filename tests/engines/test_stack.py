"""The stack: what may share one, and that it computes what its components would."""

import pytest
import torch
from torch import nn

from albench.associated import AssociatedComponent
from albench.component import ParameterGroup
from albench.engines import EngineOptions, make_engine
from albench.engines.stack import Stack, refusal, shape_signature
from albench.errors import UsageError
from tests.engines.locally_supervised import LocalNetwork, StackableLocallySupervised
from tests.engines.made_up import batches, largest_difference, network, trained

pytestmark = pytest.mark.timeout(120)


def component(change=lambda component: None):
    made = network(6).components[1]
    change(made)
    return made


class Doubled(nn.Linear):
    """A layer with a forward pass of its own."""

    def forward(self, x):
        return 2 * super().forward(x)


class Shifted(nn.Sigmoid):
    """An activation with a forward pass of its own."""

    def forward(self, x):
        return super().forward(x) - 0.5


def unbiased(made):
    made.b[0] = nn.Linear(9, 9, bias=False)


REFUSED = {
    "dropout": (lambda c: c.f.append(nn.Dropout()), "f.2 is Dropout"),
    "batch norm": (lambda c: c.f.append(nn.BatchNorm1d(9)), "f.2 is BatchNorm1d"),
    "no bias": (unbiased, "b.0 is Linear"),
    "a kind of linear layer": (lambda c: c.b.insert(0, Doubled(9, 9)), "b.0 is Doubled"),
    "a kind of activation": (lambda c: c.b.append(Shifted()), "b.2 is Shifted"),
    "a weight of its own": (
        lambda c: c.register_parameter("scale", nn.Parameter(torch.ones(1))),
        "scale is not trained",
    ),
    "a frozen weight": (lambda c: c.g[0].weight.requires_grad_(False), "g.0.weight is not trained"),
    "another flattening": (lambda c: c.f.insert(0, nn.Flatten(0, 1)), "f.0 is Flatten"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_stacked_is_refused_by_name(case):
    change, words = REFUSED[case]
    assert words in refusal(component(change))


def test_what_can_be_stacked_is_not_refused():
    assert refusal(component()) == ""
    assert refusal(network(4, bridge_width=20).components[0]) == ""
    assert "does not declare" in refusal(nn.Linear(2, 2))


DIFFERENT = {
    "a frozen weight": lambda c: c.g[0].weight.requires_grad_(False),
    "another activation": lambda c: c.f.__setitem__(1, nn.Tanh()),
    "another constant": lambda c: c.f.__setitem__(1, nn.ELU(alpha=0.5)),
    "another width": lambda c: c.b.__setitem__(0, nn.Linear(9, 8)),
    "other rates": lambda c: setattr(
        c, "parameter_groups", lambda: [ParameterGroup(parameters=list(c.parameters()), rate=3)]
    ),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_what_differs_shares_no_stack(case):
    """One of them would be trained as if it were the other."""
    assert shape_signature(component()) == shape_signature(component())
    assert shape_signature(component(DIFFERENT[case])) != shape_signature(component())


@pytest.mark.parametrize("case", ["a frozen weight", "another activation", "another constant", "other rates"])
def test_an_odd_one_out_in_the_middle_runs_beside_its_neighbours(case):
    """It splits the row into stacks, and the run still ends where the serial order ends."""
    data = batches(30, ragged=3, dtype=torch.float64)
    states = []
    for name in ("serial", "fused"):
        net = network(14, dtype=torch.float64)
        DIFFERENT[case](net.components[3])
        states.append(trained(name, data, net=net)[0])
    assert largest_difference(*states) <= 1e-10


def test_neighbours_that_are_all_frozen_are_refused_by_name():
    """Rather than trained in spite of it."""
    net = network(8)
    for made in net.components:
        made.g.requires_grad_(False)
    with pytest.raises(UsageError, match=r"component 1 cannot be stacked: its parameter g.0.weight is not trained"):
        make_engine("fused", net)


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
