"""The task of one component: what it hands on, what it steps, what it measures."""

import pytest
import torch

from albench.component import ParameterGroup
from albench.engines import EngineOptions, make_engine
from albench.engines.task import ComponentTasks
from tests.engines.locally_supervised import LocallySupervised, LocalNetwork
from tests.engines.made_up import batches, network, trained

pytestmark = pytest.mark.timeout(120)


def test_a_task_is_a_plain_step_of_adam():
    """Bitwise what a user would write for one component: backward, then Adam with two groups."""
    data = batches(8, dtype=torch.float64)
    state, losses = trained("serial", data, net=network(2, dtype=torch.float64), weight_decay=1e-2)
    net = network(2, dtype=torch.float64)
    (component,) = net.components
    optimizer = torch.optim.Adam(
        [
            {"params": [*component.f.parameters(), *component.b.parameters()], "lr": 1e-2},
            {"params": [*component.g.parameters(), *component.h.parameters()], "lr": 2e-2},
        ],
        weight_decay=1e-2,
        fused=True,
    )
    for x, y in data:
        update = component(x, net.first_target(y, dtype=torch.float64))
        optimizer.zero_grad()
        sum(update.losses.values()).backward()
        optimizer.step()
    for name, weight in component.state_dict().items():
        assert torch.equal(weight, state["components"][0]["weights"][name]), name
    assert losses == [{name: loss.item() for name, loss in update.losses.items()}]


def test_each_group_learns_at_its_own_rate_whatever_its_number():
    class ThreeRates(LocallySupervised):
        def parameter_groups(self):
            weight, bias = self.body[0].parameters()
            return [
                ParameterGroup(parameters=[weight], rate=0.5),
                ParameterGroup(parameters=[bias], rate=3),
                ParameterGroup(parameters=list(self.head.parameters())),
            ]

    net = LocalNetwork(ThreeRates, 1)
    before = {name: weight.clone() for name, weight in net.components[0].state_dict().items()}
    with make_engine("serial", net, learning_rate=lambda k: 1e-3) as engine:
        engine.fit(batches(1))
    # A fresh Adam moves each weight whose gradient is not tiny by its rate.
    for name, rate in [("body.0.weight", 0.5e-3), ("body.0.bias", 3e-3), ("head.0.weight", 1e-3)]:
        moved = (net.components[0].state_dict()[name] - before[name]).abs().max().item()
        assert moved == pytest.approx(rate, rel=1e-3), name


def tasks(**options):
    net = network(2)
    x, y = batches(1)[0]
    return ComponentTasks(0, net.components[0], EngineOptions(**options)), x, net.first_target(y, dtype=x.dtype)


def test_spans_are_kept_only_where_asked_for():
    """A long run must not grow."""
    for trace in (False, True):
        made, x, target = tasks(trace=trace)
        for k in range(3):
            made.run(k, x, target, lane=1)
        assert [(span.component, span.minibatch, span.lane) for span in made.spans] == [
            (0, k, 1) for k in range(3)
        ] * trace


def test_losses_are_of_the_last_mini_batch():
    made, x, target = tasks()
    assert made.losses == {}
    made.run(0, x, target)
    first = made.losses
    made.run(1, x, target)
    assert made.losses.keys() == first.keys() == {"associated", "autoencoder"}
    assert made.losses != first


def test_moments_are_copies():
    made, x, target = tasks()
    assert made.moments() == {}
    made.run(0, x, target)
    moments = made.moments()
    for saved in moments.values():
        for value in saved.values():
            value.fill_(7)
    assert all(value.max() < 7 for saved in made.moments().values() for value in saved.values())


def test_frozen_weights_stay_where_they_are():
    net = network(4)
    net.components[1].f.requires_grad_(False)
    before = net.components[1].f[0].weight.clone()
    with make_engine("serial", net, learning_rate=1e-2) as engine:
        engine.fit(batches(4))
    assert torch.equal(net.components[1].f[0].weight, before)
