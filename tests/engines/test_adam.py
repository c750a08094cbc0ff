"""The lean step is torch's fused Adam to the bit, and forgetting is starting afresh where the state already lies."""

import pytest
import torch
from torch import nn

from albench.engines.adam import forget, lean_step


def network(dtype=torch.float32):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)).to(dtype)


def adam(net, **options):
    """Return an optimizer of two groups at different rates, as AL's components have."""
    first, last = list(net[0].parameters()), list(net[2].parameters())
    groups = [{"params": first, "lr": 1e-2}, {"params": last, "lr": 2e-2}]
    return torch.optim.Adam(groups, fused=True, **options)


def train(net, optimizer, step, *, steps=6, seed=0, skip=None):
    """Take steps on made-up numbers; in the step `skip` the last layer's bias has no gradient."""
    generator = torch.Generator().manual_seed(seed)
    for k in range(steps):
        x = torch.randn(4, 5, generator=generator).to(net[0].weight.dtype)
        optimizer.zero_grad(set_to_none=True)
        net(x).square().sum().backward()
        if k == skip:
            net[2].bias.grad = None
        step(optimizer)


def everything(net, optimizer):
    state = [optimizer.state[p][name] for p in net.parameters() for name in ("step", "exp_avg", "exp_avg_sq")]
    return [*net.parameters(), *state]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", [{}, {"weight_decay": 1e-2}], ids=["plain", "weight decay"])
@pytest.mark.parametrize("skip", [None, 0, 3], ids=["all gradients", "none at first", "none in between"])
def test_the_lean_step_is_the_optimizers_own_to_the_bit(dtype, options, skip):
    """The first step makes the state; a parameter without a gradient stays what it is, as in torch."""
    found = []
    for step in (lean_step, lambda optimizer: optimizer.step()):
        net = network(dtype)
        optimizer = adam(net, **options)
        train(net, optimizer, step, skip=skip)
        found.append(everything(net, optimizer))
    for lean, own in zip(*found, strict=True):
        assert torch.equal(lean, own)


def test_the_lean_step_follows_a_rate_that_changes():
    found = []
    for step in (lean_step, lambda optimizer: optimizer.step()):
        net = network()
        optimizer = adam(net)
        train(net, optimizer, step)
        optimizer.param_groups[0]["lr"] = 5e-1
        train(net, optimizer, step, seed=1)
        found.append(everything(net, optimizer))
    for lean, own in zip(*found, strict=True):
        assert torch.equal(lean, own)


def test_what_forgot_trains_on_as_if_it_were_new_in_the_same_memory():
    """After a warm-up the first timed step must not have to make its state again."""
    fresh, used = network(), network()
    first = [p.detach().clone() for p in used.parameters()]
    optimizers = [adam(fresh), adam(used)]
    train(used, optimizers[1], lean_step, seed=9)
    places = [tensor.data_ptr() for tensor in everything(used, optimizers[1])]
    forget(optimizers[1])
    with torch.no_grad():
        for p, before in zip(used.parameters(), first, strict=True):
            p.copy_(before)
    for net, optimizer in zip((fresh, used), optimizers, strict=True):
        train(net, optimizer, lean_step)
    pairs = zip(everything(fresh, optimizers[0]), everything(used, optimizers[1]), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert [tensor.data_ptr() for tensor in everything(used, optimizers[1])] == places


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_on_a_device_too_where_the_rate_lies_there(dtype):
    found = []
    for step in (lean_step, lambda optimizer: optimizer.step()):
        net = network(dtype).cuda()
        parameters = list(net.parameters())
        groups = [
            {"params": some, "lr": torch.full((), rate, device="cuda")}
            for some, rate in ((parameters[:2], 1e-2), (parameters[2:], 2e-2))
        ]
        optimizer = torch.optim.Adam(groups, fused=True, capturable=True)
        for k in range(6):
            optimizer.zero_grad(set_to_none=True)
            net(torch.full((4, 5), 0.1 * k, dtype=dtype, device="cuda")).square().sum().backward()
            step(optimizer)
        found.append(everything(net, optimizer))
    for lean, own in zip(*found, strict=True):
        assert torch.equal(lean, own)
