"""Cutting the BP twin into stages: the same network in other hands, and no stage needlessly expensive."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from albench.errors import UsageError
from albench.methods.stages import cut_stages
from albench.networks import mlp


def twin(hidden_layers, *, in_features=12, width=9, bridge_width=None):
    return mlp(in_features=in_features, width=width, hidden_layers=hidden_layers, classes=5, bridge_width=bridge_width)


def kinds(stages):
    return [" ".join(type(layer).__name__ for layer in stage) for stage in stages]


def test_activations_stay_with_their_linear_layer_and_flatten_with_the_first():
    assert kinds(cut_stages(twin(4), 4)) == [
        "Flatten Linear ReLU",
        "Linear ReLU",
        "Linear ReLU",
        "Linear ReLU Linear",
    ]
    assert kinds(cut_stages(twin(1), 2)) == ["Flatten Linear ReLU", "Linear"]
    assert kinds(cut_stages(twin(1), 1)) == ["Flatten Linear ReLU Linear"]


@given(hidden_layers=st.integers(1, 12), data=st.data())
@settings(deadline=None, max_examples=25)
def test_stages_are_the_network_part_by_part(hidden_layers, data):
    """Every layer once and in order, the very same parameters under the same names, and the same output."""
    network = twin(hidden_layers)
    count = data.draw(st.integers(1, hidden_layers + 1))
    stages = cut_stages(network, count)
    assert len(stages) == count
    assert all(any(isinstance(layer, nn.Linear) for layer in stage) for stage in stages)
    assert [layer for stage in stages for layer in stage] == list(network)
    own = dict(network.named_parameters())
    found = {name: parameter for stage in stages for name, parameter in stage.named_parameters()}
    assert found.keys() == own.keys()
    assert all(found[name] is parameter for name, parameter in own.items())
    x = torch.randn(3, 12)
    onward = x
    for stage in stages:
        onward = stage(onward)
    assert torch.equal(onward, network(x))


def test_stages_are_balanced_by_multiplications_not_by_layers():
    """784 inputs make the first of nine equal-looking layers worth three of the others."""
    stages = cut_stages(twin(8, in_features=784, width=256), 4)
    assert kinds(stages)[0] == "Flatten Linear ReLU"
    costs = [sum(layer.in_features * layer.out_features for layer in s if isinstance(layer, nn.Linear)) for s in stages]
    assert max(costs) == 784 * 256


@pytest.mark.parametrize("stages", [0, 6])
def test_more_stages_than_linear_layers_are_refused_with_the_remedy(stages):
    with pytest.raises(UsageError, match=f"{stages} stages .* 5 linear layers: give 1 to 5 stages") as caught:
        cut_stages(twin(4), stages)
    assert "\n" not in str(caught.value)


def test_layers_whose_cost_is_unknown_are_refused():
    with pytest.raises(UsageError, match="layer 1 is BatchNorm1d"):
        cut_stages(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3)), 2)
