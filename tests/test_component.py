"""The protocol's helpers: targets of any form, and the graph that must not cross from one component to the next."""

from typing import NamedTuple

import pytest
import torch
from torch import nn

from albench.component import Component, ParameterGroup, Update, map_target, refuse_graph
from albench.engines.engine import as_network
from albench.errors import UsageError
from tests.engines.made_up import network


class Rows(NamedTuple):
    rows: torch.Tensor
    index: torch.Tensor | None


def test_map_target_keeps_the_form():
    """Tensors, named tuples, tuples, None, and one in another."""
    one = torch.ones(2)
    assert map_target(torch.neg, None) is None
    assert torch.equal(map_target(torch.neg, one), -one)
    mapped = map_target(torch.neg, (Rows(one, None), one))
    assert isinstance(mapped, tuple)
    assert isinstance(mapped[0], Rows)
    assert mapped[0].index is None
    assert torch.equal(mapped[0].rows, -one)
    assert torch.equal(mapped[1], -one)


def test_map_target_pairs_what_stands_in_the_same_place():
    joined = map_target(lambda *t: torch.cat(t), Rows(torch.zeros(1), None), Rows(torch.ones(2), None))
    assert joined.rows.tolist() == [0, 1, 1]


def test_map_target_refuses_other_forms():
    with pytest.raises(TypeError, match="not list"):
        map_target(torch.neg, [torch.ones(1)])
    with pytest.raises(ValueError, match="zip"):
        map_target(torch.add, (torch.ones(1),), (torch.ones(1), torch.ones(1)))


@pytest.mark.parametrize("place", ["features", "target", "part of a target"])
def test_a_graph_is_refused_wherever_it_is_handed_on(place):
    """Through a graph the next component's loss would reach this one's weights, and local learning be local no more."""
    clean, dirty = torch.ones(2), torch.ones(2, requires_grad=True) * 2
    refuse_graph(Update(clean, Rows(clean, None), {}))
    refuse_graph(Update(clean, None, {}))
    update = {
        "features": Update(dirty, clean, {}),
        "target": Update(clean, dirty, {}),
        "part of a target": Update(clean, (clean, Rows(dirty, None)), {}),
    }[place]
    with pytest.raises(TypeError, match="detach"):
        refuse_graph(update)


def test_the_paper_network_follows_the_protocol_and_a_layer_does_not():
    net = network(4)
    assert as_network(net) is net
    assert all(isinstance(component, Component) for component in net.components)
    assert not isinstance(nn.Linear(2, 2), Component)
    with pytest.raises(UsageError, match="Linear has no `components`"):
        as_network(nn.Linear(2, 2))


def test_groups_hold_every_parameter_once_and_g_and_h_learn_twice_as_fast():
    for component in network(4, bridge_width=20).components:
        groups = component.parameter_groups()
        assert [group.rate for group in groups] == [1.0, 2.0]
        grouped = [id(p) for group in groups for p in group.parameters]
        assert sorted(grouped) == sorted(id(p) for p in component.parameters())
        slow = {id(p) for function in (component.f, component.b) for p in function.parameters()}
        assert {id(p) for p in groups[0].parameters} == slow


def test_a_group_has_the_base_rate_unless_said_otherwise():
    assert ParameterGroup(parameters=[]).rate == 1.0
