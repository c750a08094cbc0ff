"""The component against the paper's equations, written out in numpy and float64, without autograd."""

import numpy as np
import pytest
import torch

from albench.associated import TargetRows, one_hot_target
from albench.component import map_target
from albench.engines import make_engine
from albench.networks import associated_mlp
from tests.engines.made_up import CLASSES, FEATURES, batches, network


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def elu(z):
    return np.where(z > 0, z, np.exp(np.minimum(z, 0)) - 1)


def layer(module):
    """Return (W, b) of a linear layer in numpy."""
    return module.weight.detach().numpy(), module.bias.detach().numpy()


def by_hand(component, s_in, t_in):
    """Eq. 1, 3, 4, 5, 6 of one component of one-layer functions, and the gradients of Eq. 7, by the chain rule.

    s_in ``[B, in]``, t_in ``[B, in]``, one row an instance. Returns (s, t, losses, gradients by parameter name).
    """
    Wf, bf = layer(component.f[-2])
    Wb, bb = layer(component.b[-2])
    Wg, bg = layer(component.g[-2])
    Wh, bh = layer(component.h[-2])
    zf = s_in @ Wf.T + bf
    s = elu(zf)
    bridged = sigmoid(s @ Wb.T + bb)
    t = sigmoid(t_in @ Wg.T + bg)
    decoded = sigmoid(t @ Wh.T + bh)
    losses = {"associated": ((bridged - t) ** 2).mean(), "autoencoder": ((decoded - t_in) ** 2).mean()}
    d_zb = 2 * (bridged - t) / bridged.size * bridged * (1 - bridged)
    d_zf = d_zb @ Wb * np.where(zf > 0, 1, np.exp(np.minimum(zf, 0)))
    d_zh = 2 * (decoded - t_in) / decoded.size * decoded * (1 - decoded)
    d_zg = d_zh @ Wh * t * (1 - t)
    gradients = {}
    for name, module, dz, x in [
        ("f", component.f, d_zf, s_in),
        ("b", component.b, d_zb, s),
        ("g", component.g, d_zg, t_in),
        ("h", component.h, d_zh, t),
    ]:
        position = len(module) - 2
        gradients[f"{name}.{position}.weight"] = dz.T @ x
        gradients[f"{name}.{position}.bias"] = dz.sum(0)
    return s, t, losses, gradients


def one_component(first, seed=3):
    net = network(4, width=7, seed=seed, dtype=torch.float64)
    component = net.components[0 if first else 1]
    generator = torch.Generator().manual_seed(8)
    x = torch.randn(11, FEATURES if first else 7, generator=generator, dtype=torch.float64)
    if first:
        t = torch.eye(CLASSES, dtype=torch.float64)[torch.randint(CLASSES, (11,), generator=generator)]
    else:
        t = torch.rand(11, 7, generator=generator, dtype=torch.float64)
    return component, x, t


@pytest.mark.parametrize("first", [True, False], ids=["first component", "second component"])
def test_losses_gradients_and_what_is_handed_on_are_the_papers(first):
    component, x, t = one_component(first)
    update = component(x, TargetRows(t))
    sum(update.losses.values()).backward()
    s_hand, t_hand, losses, gradients = by_hand(component, x.numpy(), t.numpy())
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


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 4, 0, 0], [4, 4, 4], [2], [0, 1, 1, 0, 3, 3, 3, 3, 1]])
@pytest.mark.parametrize("first", [True, False])
def test_distinct_targets_are_plain_ones_computed_once(labels, first):
    """The same losses and gradients to 1e-12, with absent classes, fewer instances than classes, and one instance."""
    net = network(4, dtype=torch.float64)
    labels = torch.tensor(labels)
    x = torch.randn(len(labels), FEATURES, dtype=torch.float64)
    results = []
    for distinct in (True, False):
        net.zero_grad()
        target = net.first_target(labels, dtype=torch.float64, distinct_targets=distinct)
        assert len(target.rows_RW) == (CLASSES if distinct else len(labels))
        update = net.components[0](x, target)
        component = net.components[0]
        if not first:
            component = net.components[1]
            update = component(update.features, update.target)
        sum(update.losses.values()).backward()
        gradients = {name: p.grad.clone() for name, p in component.named_parameters()}
        results.append((update.losses, gradients, update.target.of_instances()))
    (losses, gradients, rows), (plain_losses, plain_gradients, plain_rows) = results
    for name in losses:
        assert losses[name].item() == pytest.approx(plain_losses[name].item(), rel=1e-12)
    for name in gradients:
        torch.testing.assert_close(gradients[name], plain_gradients[name], rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(rows, plain_rows, rtol=1e-14, atol=1e-15)


def test_auto_takes_the_fewer_rows():
    net = network(4)
    for count, rows in [(CLASSES - 1, CLASSES - 1), (CLASSES, CLASSES), (CLASSES + 1, CLASSES), (50, CLASSES)]:
        target = net.first_target(torch.zeros(count, dtype=torch.int64), dtype=torch.float32, distinct_targets="auto")
        assert len(target.rows_RW) == rows


def test_real_valued_targets_are_taken_as_they_are():
    y = torch.rand(6, CLASSES)
    assert network(4).first_target(y, dtype=torch.float32).rows_RW is y


def test_one_step_of_adam_at_two_rates():
    """A fresh Adam's first update is rate·g/(|g| + ε), its bias corrected: f and b at the rate, g and h at twice it."""
    net = network(2, dtype=torch.float64)
    component = net.components[0]
    before = {name: p.detach().clone() for name, p in component.named_parameters()}
    x, y = batches(1, dtype=torch.float64)[0]
    target = torch.eye(CLASSES, dtype=torch.float64)[y]
    *_, gradients = by_hand(component, x.numpy(), target.numpy())
    with make_engine("serial", net, learning_rate=1e-3) as engine:
        engine.fit([(x, y)])
    for name, p in component.named_parameters():
        rate = 2e-3 if name[0] in "gh" else 1e-3
        gradient = gradients[name]
        expected = before[name].numpy() - rate * gradient / (np.abs(gradient) + 1e-8)
        np.testing.assert_allclose(p.detach().numpy(), expected, rtol=1e-9, atol=1e-12, err_msg=name)


def test_what_is_handed_on_is_from_before_the_update():
    """Component 1 trains on what component 0 computed before it moved, as in the authors' code."""
    net = network(4, dtype=torch.float64)
    seen = []
    net.components[1].register_forward_pre_hook(lambda _, args: seen.append(args))
    x, y = batches(1, dtype=torch.float64)[0]
    expected = net.components[0].f(x).detach().clone()
    with make_engine("serial", net, learning_rate=0.1) as engine:
        engine.fit([(x, y)])
    assert torch.equal(seen[0][0], expected)
    assert not torch.equal(net.components[0].f(x).detach(), expected), "the update must have moved f"


def test_two_layer_bridges():
    net = associated_mlp(in_features=FEATURES, width=6, hidden_layers=2, classes=CLASSES, bridge_width=30)
    shapes = [tuple(m.weight.shape) for m in net.components[0].b if isinstance(m, torch.nn.Linear)]
    assert shapes == [(30, 6), (6, 30)]
