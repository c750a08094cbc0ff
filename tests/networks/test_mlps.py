"""The folded MLP and its twin: prediction, parameters, and weights that depend on nothing but the seed."""

import copy
import io

import numpy as np
import pytest
import torch
from torch import nn

from albench.errors import UsageError
from albench.networks import NetworkSpec, associated_mlp, associated_network, mlp, twin_network

SIZES = {"in_features": 12, "width": 9, "classes": 5}


def count(parameters):
    return sum(p.numel() for p in parameters)


@pytest.mark.parametrize("bridge_width", [None, 45])
@pytest.mark.parametrize("hidden_layers", [2, 4, 8])
def test_parameters_are_effective_or_affiliated_and_the_twin_has_the_effective_ones(hidden_layers, bridge_width):
    net = associated_mlp(**SIZES, hidden_layers=hidden_layers, bridge_width=bridge_width)
    effective, affiliated = list(net.effective_parameters()), list(net.affiliated_parameters())
    everything = [id(p) for p in net.parameters()]
    assert sorted(map(id, effective + affiliated)) == sorted(everything)
    twin = mlp(**SIZES, hidden_layers=hidden_layers, bridge_width=bridge_width)
    assert count(twin.parameters()) == count(effective)
    hidden = sum(isinstance(m, nn.ReLU) for m in twin)
    assert hidden == hidden_layers + (bridge_width is not None)


def test_the_papers_mnist_mlp_has_the_papers_parameters():
    with torch.device("meta"):
        twin = mlp(in_features=784, width=1024, hidden_layers=4, classes=10, bridge_width=5120)
    assert count(twin.parameters()) == 13_405_194
    net = associated_mlp(in_features=784, width=1024, hidden_layers=4, classes=10, bridge_width=5120)
    assert count(net.effective_parameters()) == 13_405_194
    assert count(net.parameters()) == pytest.approx(24.96e6, rel=1e-3)


def test_weights_depend_on_seed_and_component_only():
    """Not on torch's random state, which building leaves alone, nor on how many components follow."""
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = associated_mlp(**SIZES, hidden_layers=4, seed=7)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    longer = associated_mlp(**SIZES, hidden_layers=8, seed=7)
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, longer.state_dict()[name]), name
    other = associated_mlp(**SIZES, hidden_layers=4, seed=8)
    assert not torch.equal(one.components[0].f[1].weight, other.components[0].f[1].weight)
    assert not torch.equal(one.components[0].b[0].weight, one.components[1].b[0].weight)


def test_the_papers_activations():
    component = associated_mlp(**SIZES, hidden_layers=2).components[0]
    assert isinstance(component.f[-1], nn.ELU)
    assert all(isinstance(function[-1], nn.Sigmoid) for function in (component.b, component.g, component.h))


def test_behaves_like_any_module():
    net = associated_mlp(**SIZES, hidden_layers=4)
    x = torch.randn(3, 12)
    double = copy.deepcopy(net).double()
    torch.testing.assert_close(double(x.double()).float(), net(x))
    other = associated_mlp(**SIZES, hidden_layers=4, seed=5)
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(x), net(x))
    assert "components.1.f.0.weight" in net.state_dict()


def test_images_are_flattened():
    net = associated_mlp(in_features=64, width=9, hidden_layers=2, classes=5)
    twin = mlp(in_features=64, width=9, hidden_layers=3, classes=5)
    images = torch.randn(2, 1, 8, 8)
    assert net(images).shape == twin(images).shape == (2, 5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_layers": 3}, "hidden_layers is 3.*try 2 or 4"),
        ({"hidden_layers": 1}, "hidden_layers is 1.*try 2"),
        ({"hidden_layers": 0}, "hidden_layers is 0"),
        ({"width": 0}, "width is 0"),
        ({"classes": 0}, "classes is 0"),
        ({"in_features": -1}, "in_features is -1"),
        ({"bridge_width": 0}, "bridge_width is 0"),
        ({"width": 8.0}, "width is 8.0: give a whole number"),
        ({"hidden_layers": 4.0}, "hidden_layers is 4.0: give a whole number"),
        ({"hidden_layers": "4"}, "hidden_layers is '4': give a whole number"),
        ({"classes": None}, "classes is None: give a whole number"),
    ],
)
def test_bad_sizes_are_refused_in_one_line(changes, words):
    with pytest.raises(UsageError, match=words) as caught:
        associated_mlp(**(SIZES | {"hidden_layers": 4} | changes))
    assert "\n" not in str(caught.value)


def test_the_twin_takes_odd_depths_but_no_bridge_in_the_middle_of_them():
    assert mlp(**SIZES, hidden_layers=3)(torch.randn(2, 12)).shape == (2, 5)
    with pytest.raises(UsageError, match="hidden_layers is 3"):
        mlp(**SIZES, hidden_layers=3, bridge_width=20)


@pytest.mark.parametrize("hidden_layers", [0, -2, 2.5])
def test_the_twin_refuses_what_is_no_depth(hidden_layers):
    with pytest.raises(UsageError, match=f"hidden_layers is {hidden_layers}"):
        mlp(**SIZES, hidden_layers=hidden_layers)


def test_sizes_may_be_numpy_integers():
    """Sweeps come from numpy ranges."""
    net = associated_mlp(in_features=np.int64(12), width=np.int64(9), hidden_layers=np.int32(4), classes=5)
    assert net(torch.randn(2, 12)).shape == (2, 5)


def test_saved_whole_and_read_again():
    """torch.save of the module itself, generators and all."""
    net = associated_mlp(**SIZES, hidden_layers=4)
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    x = torch.randn(3, 12)
    assert torch.equal(again(x), net(x))
    assert torch.equal(again.components[1].generator.get_state(), net.components[1].generator.get_state())


def spec(**changes):
    return NetworkSpec(**{"input_shape": (3, 4), "width": 9, "classes": 5} | changes)


def test_the_paper_may_count_five_hidden_layers():
    """1024, 1024, 5120, 1024, 1024: the middle one is the top bridge's own, whether it is counted or not."""
    counted, uncounted = (spec(hidden_layers=layers, bridge_width=45, seed=3) for layers in (5, 4))
    for build in (associated_network, twin_network):
        one, other = build(counted).state_dict(), build(uncounted).state_dict()
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    widths = [m.out_features for m in twin_network(counted) if isinstance(m, nn.Linear)]
    assert widths == [9, 9, 45, 9, 9, 5]


@pytest.mark.parametrize("hidden_layers", [2, 3, 5, 8, 9])
def test_the_middle_of_an_odd_number_of_layers_goes_into_the_top_bridge(hidden_layers):
    """Other bridges stay as they are, and the twin has all ℓ layers of W, so the effective parameters are equal."""
    net, twin = associated_network(spec(hidden_layers=hidden_layers)), twin_network(spec(hidden_layers=hidden_layers))
    assert len(net.components) == hidden_layers // 2
    layers = [sum(isinstance(m, nn.Linear) for m in c.b) for c in net.components]
    assert layers == [1] * (hidden_layers // 2 - 1) + [1 + hidden_layers % 2]
    assert [m.out_features for m in twin if isinstance(m, nn.Linear)] == [9] * hidden_layers + [5]
    assert count(net.effective_parameters()) == count(twin.parameters())


@pytest.mark.parametrize("bridge_width", [None, 45])
def test_a_specification_builds_what_the_builder_does(bridge_width):
    sizes = {"width": 9, "classes": 5, "hidden_layers": 6, "bridge_width": bridge_width, "seed": 4}
    for build, builder in ((associated_network, associated_mlp), (twin_network, mlp)):
        one, other = build(spec(**sizes)).state_dict(), builder(in_features=12, **sizes).state_dict()
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_one_hidden_layer_is_a_network_for_back_propagation_only():
    assert twin_network(spec(hidden_layers=1))(torch.randn(2, 3, 4)).shape == (2, 5)
    with pytest.raises(UsageError, match="hidden_layers is 1: folding needs at least 2"):
        associated_network(spec(hidden_layers=1))
