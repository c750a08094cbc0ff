"""The component against the paper's equations, written out in numpy and float64, without autograd."""

import copy

import numpy as np
import pytest
import torch

from albench.associated import TargetRows, one_hot_target
from albench.component import map_target
from albench.engines import make_engine
from albench.networks import associated_mlp
from tests.associated.by_hand import component_step, parameters, train
from tests.engines.made_up import CLASSES, FEATURES, batches, network


def one_component(first, seed=3, bridge_width=None):
    net = network(4, width=7, seed=seed, bridge_width=bridge_width, dtype=torch.float64)
    component = net.components[0 if first else 1]
    generator = torch.Generator().manual_seed(8)
    x = torch.randn(11, FEATURES if first else 7, generator=generator, dtype=torch.float64)
    if first:
        t = torch.eye(CLASSES, dtype=torch.float64)[torch.randint(CLASSES, (11,), generator=generator)]
    else:
        t = torch.rand(11, 7, generator=generator, dtype=torch.float64)
    return component, x, t


@pytest.mark.parametrize("bridge_width", [None, 35], ids=["one-layer bridge", "two-layer bridge"])
@pytest.mark.parametrize("first", [True, False], ids=["first component", "second component"])
def test_losses_gradients_and_what_is_handed_on_are_the_papers(first, bridge_width):
    component, x, t = one_component(first, bridge_width=bridge_width)
    update = component(x, TargetRows(t))
    sum(update.losses.values()).backward()
    s_hand, t_hand, losses, gradients = component_step(component, parameters(component), x.numpy(), t.numpy())
    np.testing.assert_allclose(update.features.numpy(), s_hand, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(update.target.rows_RW.numpy(), t_hand, rtol=1e-13)
    for name, loss in losses.items():
        assert update.losses[name].item() == pytest.approx(loss, rel=1e-13)
    found = {name: p.grad.numpy() for name, p in component.named_parameters()}
    assert found.keys() == gradients.keys()
    for name in gradients:
        np.testing.assert_allclose(found[name], gradients[name], rtol=1e-11, atol=1e-16, err_msg=name)


@pytest.mark.parametrize("loss", ["associated", "autoencoder"])
def test_each_loss_moves_its_own_pair(loss):
    """The associated loss moves f and b only, the autoencoder loss g and h only."""
    component, x, t = one_component(first=True)
    component(x, TargetRows(t)).losses[loss].backward()
    moved = {name[0] for name, p in component.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert moved == ({"f", "b"} if loss == "associated" else {"g", "h"})


def test_what_is_handed_on_has_no_graph():
    component, x, t = one_component(first=True)
    update = component(x, one_hot_target(t.argmax(1), CLASSES, dtype=torch.float64, distinct_targets=True))
    assert not update.features.requires_grad
    map_target(lambda tensor: pytest.fail("has a graph") if tensor.requires_grad else tensor, update.target)


def test_one_step_of_adam_at_two_rates():
    """A fresh Adam's first update is rate·g/(|g| + ε), its bias corrected: f and b at the rate, g and h at twice it."""
    net = network(2, dtype=torch.float64)
    component = net.components[0]
    before = {name: p.detach().clone() for name, p in component.named_parameters()}
    x, y = batches(1, dtype=torch.float64)[0]
    target = torch.eye(CLASSES, dtype=torch.float64)[y]
    *_, gradients = component_step(component, parameters(component), x.numpy(), target.numpy())
    with make_engine("serial", net, learning_rate=1e-3) as engine:
        engine.fit([(x, y)])
    for name, p in component.named_parameters():
        rate = 2e-3 if name[0] in "gh" else 1e-3
        gradient = gradients[name]
        expected = before[name].numpy() - rate * gradient / (np.abs(gradient) + 1e-8)
        np.testing.assert_allclose(p.detach().numpy(), expected, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("name", ["serial", "threads"])
def test_what_is_handed_on_is_from_before_the_update(name):
    """Component 1 trains on the s and the t that component 0 computed before it moved, as in the authors' code."""
    net = network(4, dtype=torch.float64)
    first, second = net.components
    seen = []
    second.register_forward_pre_hook(lambda _, args: seen.append(args))
    x, y = batches(1, dtype=torch.float64)[0]
    target = net.first_target(y, dtype=torch.float64)
    expected = first.f(x).detach().clone(), first.g(target.rows_RW).detach().clone()
    with make_engine(name, net, learning_rate=0.1) as engine:
        engine.fit([(x, y)])
    features, handed_on = seen[0]
    assert torch.equal(features, expected[0])
    assert torch.equal(handed_on.rows_RW, expected[1])
    assert not torch.equal(first.f(x).detach(), expected[0]), "the update must have moved f"
    assert not torch.equal(first.g(target.rows_RW).detach(), expected[1]), "the update must have moved g"


@pytest.mark.parametrize("bridge_width", [None, 30], ids=["one-layer bridges", "two-layer bridges"])
@pytest.mark.parametrize("name", ["serial", "threads", "fused"])
def test_training_is_the_papers_to_the_twelfth_digit(name, bridge_width):
    """A whole run against numpy: three components, Adam, both rates, rates that change, weight decay, distinct rows."""
    net = network(6, bridge_width=bridge_width, dtype=torch.float64)
    data = batches(9, ragged=3, dtype=torch.float64)
    options = {"weight_decay": 1e-3}
    expected, losses = train(net, data, rate_at=lambda k: 1e-2 / (1 + k), **options)
    with make_engine(name, net, lanes=2, learning_rate=lambda k: 1e-2 / (1 + k), **options) as engine:
        engine.fit(data)
        for found, loss in zip(engine.losses, losses, strict=True):
            assert found == pytest.approx(loss, rel=1e-10)
    for component, values in zip(net.components, expected, strict=True):
        for parameter_name, p in component.named_parameters():
            difference = np.linalg.norm(p.detach().numpy() - values[parameter_name])
            assert difference <= 1e-12 * np.linalg.norm(values[parameter_name]), parameter_name


def test_two_layer_bridges():
    net = associated_mlp(in_features=FEATURES, width=6, hidden_layers=2, classes=CLASSES, bridge_width=30)
    shapes = [tuple(m.weight.shape) for m in net.components[0].b if isinstance(m, torch.nn.Linear)]
    assert shapes == [(30, 6), (6, 30)]


def test_deepcopy_has_a_generator_of_its_own():
    """A copied component draws the same numbers as the original would, and does not take them from it."""
    component, *_ = one_component(first=True)
    twin = copy.deepcopy(component)
    assert twin.generator is not component.generator
    drawn = torch.rand(3, generator=twin.generator)
    assert torch.equal(drawn, torch.rand(3, generator=component.generator))
