"""A prediction uses what was learned as it stands, and leaves whoever trains alone."""

import pytest
import torch
from torch import nn

from albench.prediction import frozen_view


def normalising():
    """A network in training mode, part of which is in evaluation mode already."""
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(6)))
    net[2][1].eval()
    return net


def modes(net):
    return [module.training for module in net.modules()]


def test_statistics_are_used_as_they_stand_and_nothing_is_dropped():
    net = normalising()
    for _ in range(3):
        net(torch.randn(8, 4) + 2)
    before, mode = {name: value.clone() for name, value in net.state_dict().items()}, modes(net)
    x = torch.randn(8, 4)
    with torch.no_grad():
        found = frozen_view(net)(x)
        assert torch.equal(found, frozen_view(net)(x))
        torch.testing.assert_close(found[:1], frozen_view(net)(x[:1]))
    assert modes(net) == mode
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with torch.no_grad():
        assert torch.equal(found, net.eval()(x))


def test_the_module_is_never_in_evaluation_mode_meanwhile():
    """A lane may be at work on it."""
    net = normalising()
    seen = []
    net[0].register_forward_hook(lambda *_: seen.append(modes(net)))
    mode = modes(net)
    frozen_view(net)(torch.randn(8, 4))
    assert seen == [mode]


def test_gradients_and_new_weights_are_the_modules_own():
    net = normalising()
    frozen_view(net)(torch.randn(8, 4)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    double = frozen_view(net.double())
    assert double(torch.randn(2, 4, dtype=torch.float64)).dtype == torch.float64


def test_what_is_frozen_already_is_returned_as_it_is():
    net = normalising().eval()
    assert frozen_view(net) is net


@pytest.mark.parametrize(
    "change",
    [
        lambda net: nn.utils.parametrizations.weight_norm(net[0]),
        lambda net: net.add_module("none", None),
        lambda net: net.append(net[0].__class__(6, 4)) and net.append(net[0]),
    ],
    ids=["parametrized", "empty place", "layer used twice"],
)
def test_modules_of_every_make_have_a_view(change):
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))
    change(net)
    view, x = frozen_view(net), torch.randn(8, 4)
    layers = [module for module in net.eval() if module is not None]
    expected = x
    for layer in layers:
        expected = layer(expected)
    found = x
    for layer in (module for module in view if module is not None):
        found = layer(found)
    assert torch.equal(found, expected)
