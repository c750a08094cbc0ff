"""CNN, VGG and ResNet: layers as published, any size of image, weights that depend on nothing but the seed."""

import copy

import pytest
import torch
from torch import nn

from albench.errors import UsageError
from albench.networks import NetworkSpec, associated_network, twin_network
from albench.networks.initialisation import component_generator, he_conv
from albench.networks.resnets import BasicBlock
from tests.networks.tiny import CLASSES, FOLDED, IMAGES, TWINS, WIDTH, count, image_batches


def layers(module):
    """Return the kinds of layers in the order of the pass, those in blocks too."""
    return [type(m).__name__ for m in module.modules() if not list(m.children())]


@pytest.mark.parametrize("kind", IMAGES)
def test_prediction_is_equation_8_and_activations_are_the_papers(kind):
    net = FOLDED[kind]().eval()
    x = image_batches(1)[0][0]
    s = x
    for component in net.components:
        s = component.f(s)
    out = net.components[-1].b(s)
    for component in reversed(net.components):
        out = component.h(out)
    assert torch.equal(net(x), out)
    for component in net.components:
        assert {"ELU"} == {k for k in layers(component.f) if k in ("ELU", "ReLU", "Sigmoid", "Tanh")}
        for function in (component.b, component.g, component.h):
            assert {"Sigmoid"} == {k for k in layers(function) if k in ("ELU", "ReLU", "Sigmoid", "Tanh")}
    assert {"ReLU"} == {k for k in layers(TWINS[kind]()) if k in ("ELU", "ReLU", "Sigmoid", "Tanh")}


def test_the_cnn_has_neither_batchnorm_nor_pooling_and_halves_maps_in_every_other_component():
    net = FOLDED["cnn"]()
    for component in net.components:
        assert layers(component.f) == ["Conv2d", "ELU", "Conv2d", "ELU"]
    assert [c.f[0].stride for c in net.components] == [(1, 1)] * 4
    assert [c.f[2].stride for c in net.components] == [(1, 1), (2, 2), (1, 1), (2, 2)]
    assert layers(TWINS["cnn"]()) == ["Conv2d", "ReLU"] * 8 + ["Flatten"] + ["Linear", "ReLU"] * 5 + ["Linear"]


def test_the_vgg_has_batchnorm_in_its_twin_only():
    net, twin = FOLDED["vgg"](), TWINS["vgg"]()
    assert [layers(c.f) for c in net.components] == [
        ["Conv2d", "ELU", "Conv2d", "ELU", "MaxPool2d"],
        ["Conv2d", "ELU", "Conv2d", "ELU", "MaxPool2d"],
        ["Conv2d", "ELU", "MaxPool2d", "Conv2d", "ELU", "MaxPool2d"],
        ["Flatten", "Linear", "ELU", "Linear", "ELU"],
    ]
    conv = ["Conv2d", "BatchNorm2d", "ReLU"]
    two = [*conv, *conv, "MaxPool2d"]
    dense = ["Linear", "BatchNorm1d", "ReLU"]
    assert layers(twin) == [*two, *two, *conv, "MaxPool2d", *conv, "MaxPool2d", "Flatten", *dense * 5, "Linear"]


def test_the_resnet_has_batchnorm_before_each_activation_and_convolutions_around_strides():
    net, twin = FOLDED["resnet"](blocks=3), TWINS["resnet"](blocks=3)
    assert layers(net.components[0].f) == ["Conv2d", "BatchNorm2d", "ELU"]
    straight = ["Conv2d", "BatchNorm2d", "ELU", "Conv2d", "BatchNorm2d", "Identity", "ELU"]
    around = ["Conv2d", "BatchNorm2d", "ELU", "Conv2d", "BatchNorm2d", "Conv2d", "ELU"]
    assert layers(net.components[1].f) == straight * 3
    for component in net.components[2:]:
        assert layers(component.f) == around + straight * 2
        assert component.f[0].shortcut.kernel_size == (1, 1)
        assert component.f[0].shortcut.stride == component.f[0].body[0].stride == (2, 2)
    assert layers(twin)[-18:] == ["AdaptiveAvgPool2d", "Flatten"] + ["Linear", "BatchNorm1d", "ReLU"] * 5 + ["Linear"]
    for block in (m for m in net.modules() if isinstance(m, BasicBlock)):
        x = torch.randn(2, block.body[0].in_channels, 6, 6)
        torch.testing.assert_close(block.eval()(x), nn.functional.elu(block.body(x) + block.shortcut(x)))


def test_batchnorm_is_that_of_tensorflow():
    """As far as it can be: .99 is kept of the running statistics, and the variance gets 1e-3."""
    norms = [m for kind in ("vgg", "resnet") for m in TWINS[kind]().modules() if isinstance(m, nn.BatchNorm1d)]
    norms += [m for m in FOLDED["resnet"]().modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.momentum, m.eps, m.affine) for m in norms} == {(0.01, 1e-3, True)}
    norm = nn.Sequential(norms[0])
    norm(torch.full((4, norms[0].num_features), 5.0))
    torch.testing.assert_close(norms[0].running_mean, torch.full_like(norms[0].running_mean, 0.05))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 7), (1, 28, 28), (2, 1, 1), (3, 5, 32)])
@pytest.mark.parametrize("kind", IMAGES)
def test_images_of_any_size_will_do(kind, shape):
    """VGG halves maps four times: what is left over at an edge is pooled too, so that small images leave a pixel."""
    x = torch.randn(2, *shape)
    assert FOLDED[kind](input_shape=shape)(x).shape == (2, CLASSES)
    assert TWINS[kind](input_shape=shape).eval()(x).shape == (2, CLASSES)


@pytest.mark.parametrize("bridge_width", [None, 7])
@pytest.mark.parametrize("bridge", ["flat", "pooled"])
def test_the_cnns_twin_is_its_prediction_path_at_any_size(bridge, bridge_width):
    sizes = {"bridge": bridge, "bridge_width": bridge_width, "channels": (3, 5), "strides": (2, 1)}
    net, twin = FOLDED["cnn"](**sizes), TWINS["cnn"](**sizes)
    assert count(net.effective_parameters()) == count(twin.parameters())
    shapes = [tuple(p.shape) for p in twin.parameters()]
    path = [net.components[0].f, net.components[1].f, net.components[1].b, net.components[1].h, net.components[0].h]
    assert shapes == [tuple(p.shape) for function in path for p in function.parameters()]


@pytest.mark.parametrize("kind", IMAGES)
def test_a_pooled_bridge_reads_one_mean_a_channel_and_a_flat_one_every_number(kind):
    flat, pooled = FOLDED[kind](), FOLDED[kind](bridge="pooled")
    s = image_batches(1)[0][0]
    for one, other in zip(flat.components, pooled.components, strict=True):
        s = one.f.eval()(s)
        first = [next(m for m in c.b if isinstance(m, nn.Linear)) for c in (one, other)]
        assert first[0].in_features == s[0].numel()
        assert first[1].in_features == s.shape[1]
        read = other.b[:2](s) if s.dim() == 4 else s
        torch.testing.assert_close(read, s.mean((-2, -1)) if s.dim() == 4 else s)
        assert other.b(s).shape == one.b(s).shape == (len(s), WIDTH)


@pytest.mark.parametrize("kind", IMAGES)
def test_weights_depend_on_seed_and_component_only(kind):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one, other = FOLDED[kind](seed=7), FOLDED[kind](seed=8)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again = FOLDED[kind](seed=7).state_dict()
    assert all(torch.equal(weight, again[name]) for name, weight in one.state_dict().items())
    different = [n for n, p in other.named_parameters() if p.dim() > 1 and torch.equal(p, again[n])]
    assert not different
    g = [component.g[0].weight for component in one.components[1:3]]
    assert not torch.equal(*g)


def test_convolutions_are_he_normal_with_zero_biases():
    layer = he_conv(40, 50, component_generator(0, 0))
    assert not layer.bias.any()
    assert layer.weight.std().item() == pytest.approx((2 / (40 * 9)) ** 0.5, rel=0.02)
    assert he_conv(3, 4, component_generator(0, 0), kernel=1, stride=2)(torch.ones(1, 3, 5, 5)).shape == (1, 4, 3, 3)


@pytest.mark.parametrize("kind", IMAGES)
def test_networks_behave_like_any_module(kind):
    net, x = FOLDED[kind](), image_batches(1)[0][0]
    double = copy.deepcopy(net).double()
    torch.testing.assert_close(double(x.double()).float(), net(x))
    other = FOLDED[kind](seed=5)
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(x), net(x))


@pytest.mark.parametrize("name", ["cnn", "vgg", "resnet20", "resnet32"])
def test_a_named_network_is_the_paper_sized_one(name):
    """At the sizes that a specification can say; channels and blocks are the paper's."""
    with torch.device("meta"):
        spec = NetworkSpec(name=name, input_shape=(3, 8, 8), classes=5, width=10, hidden_layers=8)
        net, twin = associated_network(spec), twin_network(spec)
    channels = {"cnn": [32, 32, 64, 64], "vgg": [256, 512, 512], "resnet20": [16, 16, 32, 64]}
    last = [[m for m in c.f.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)] for c in net.components]
    expected = channels.get(name, channels["resnet20"])
    assert [convs[-1].out_channels for convs in last if convs] == expected
    blocks = {"resnet20": 9, "resnet32": 15}.get(name, 0)
    assert sum(isinstance(m, BasicBlock) for m in net.modules()) == blocks
    assert sum(isinstance(m, BasicBlock) for m in twin.modules()) == blocks


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("cnn", {"input_shape": (64,)}, "cnn takes images"),
        ("cnn", {"strides": (1, 2)}, "strides are 2 and channels 4"),
        ("cnn", {"channels": ()}, "components is 0"),
        ("cnn", {"channels": (4, 0, 4, 4)}, "channels is 0"),
        ("vgg", {"layers": (("pool",),)}, r"layers of a component are \('pool',\)"),
        ("vgg", {"layers": ((4, "max"),)}, "channels is 'max'"),
        ("vgg", {"dense": ()}, "dense_layers is 0"),
        ("resnet", {"blocks": 0}, "blocks is 0"),
        ("resnet", {"channels": ()}, "stages is 0"),
        ("resnet", {"bridge_width": -1}, "bridge_width is -1"),
    ],
)
def test_bad_sizes_are_refused_in_one_line(kind, changes, words):
    with pytest.raises(UsageError, match=words) as caught:
        FOLDED[kind](**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", IMAGES)
def test_default_bridges_have_one_layer(kind):
    """As in the MLP: a hidden layer is there where its width is given."""
    net = FOLDED[kind](bridge_width=None)
    assert [sum(isinstance(m, nn.Linear) for m in c.b) for c in net.components] == [1] * 4
    assert sum(isinstance(m, nn.Linear) for m in TWINS[kind](bridge_width=None)) == 5
