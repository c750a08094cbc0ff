"""What counts as shared; that engines refuse it is tested with them."""

import pytest
import torch
from torch import nn

from albench.engines.sharing import memory_of, refuse_shared_tensors
from albench.errors import UsageError
from tests.engines.made_up import network


def test_names_of_what_is_shared_are_said():
    net = network(8)
    net.components[3].h[0].weight = net.components[1].b[0].weight
    with pytest.raises(UsageError, match=r"components 1 and 3 share a parameter \(b.0.weight of the one is h.0.weight"):
        refuse_shared_tensors(net.components)


def test_two_parameters_on_the_same_memory_are_shared():
    net = network(8)
    refuse_shared_tensors(net.components)
    net.components[2].f[0].bias.data = net.components[1].f[0].bias.data
    with pytest.raises(UsageError, match="components 1 and 2 share a parameter .f.0.bias of the one is f.0.bias"):
        refuse_shared_tensors(net.components)


def test_what_is_empty_is_not_shared():
    empty = [torch.empty(0), torch.empty(0), torch.empty(3, device="meta"), torch.empty(3, device="meta")]
    assert len(set(map(memory_of, empty))) == 4


def test_a_component_may_use_its_own_twice():
    made = network(6).components[1]
    made.b[0].weight = made.f[0].weight
    refuse_shared_tensors([made, network(6).components[1]])


class Bare:
    """No more than the protocol asks for."""

    def __init__(self, *parameters):
        self.parameters = lambda: iter(parameters)


def test_components_without_names_are_looked_at_too():
    shared, other = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    with pytest.raises(UsageError, match="share a parameter .number 0 of the one is number 1 of the other"):
        refuse_shared_tensors([Bare(shared), Bare(other, shared)])
