"""The task of one component: what it hands on, what it steps, what it measures."""

import contextlib

import pytest
import torch

from albench.component import ParameterGroup
from albench.engines import EngineOptions, make_engine
from albench.engines.precision import exact_arithmetic, workspace_note
from albench.engines.task import ComponentTasks, component_tasks
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
    return component_tasks(0, net.components[0], EngineOptions(**options)), x, net.first_target(y, dtype=x.dtype)


def test_spans_are_kept_only_where_asked_for():
    """A long run must not grow."""
    for trace in (False, True):
        made, x, target = tasks(trace=trace)
        for k in range(3):
            made.run(k, x, target, lane=1)
        spans = made.log.spans() if made.log is not None else []
        assert [(span.component, span.minibatch, span.lane) for span in spans] == [(0, k, 1) for k in range(3)] * trace


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


def all_tensors(made):
    return [
        *made.component.state_dict().values(),
        *(m for moments in made.moments().values() for m in moments.values()),
    ]


@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_an_idle_update_changes_nothing(weight_decay):
    """Neither weights, moments nor the count of updates, also with weight decay and where a gradient is no number."""
    made, x, target = tasks(weight_decay=weight_decay)
    made.run(0, x, target)
    before = [tensor.clone() for tensor in all_tensors(made)]
    for features in (x, x * float("nan")):
        made.update(features, target, idle=torch.tensor([0.0, 1.0])[1])
        assert all(torch.equal(*pair) for pair in zip(before, all_tensors(made), strict=True))


@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_an_update_that_could_be_idle_is_the_plain_one(weight_decay):
    one, x, target = tasks(weight_decay=weight_decay)
    other, _, _ = tasks(weight_decay=weight_decay)
    for k in range(5):
        one.run(k, x, target)
        other.update(x, target, idle=torch.zeros(()))
    assert all(torch.equal(*pair) for pair in zip(all_tensors(one), all_tensors(other), strict=True))


def test_rates_are_read_from_tensors_whatever_they_hold_then():
    one, x, target = tasks(learning_rate=lambda k: 1e-2 / (k + 1))
    other, _, _ = tasks(learning_rate=1.0)
    rates = torch.zeros(2, dtype=torch.float64)
    other.read_rates_from(list(rates))
    for k in range(5):
        one.run(k, x, target)
        rates.copy_(torch.tensor([1e-2 / (k + 1) * rate for rate in other.group_rates], dtype=torch.float64))
        other.update(x, target)
    assert all(torch.equal(*pair) for pair in zip(all_tensors(one), all_tensors(other), strict=True))


def test_a_loaded_state_fills_what_is_there():
    """Recordings hold addresses, so loading must not move anything, not even to the state of a fresh optimizer."""
    made, x, target = tasks()
    fresh = made.moments()
    made.run(0, x, target)
    saved = made.moments()
    state = made._optimizer.state
    addresses = {value.data_ptr() for own in state.values() for value in own.values()}
    made.run(1, x, target)
    for moments in (saved, fresh, saved):
        made.load_moments(moments)
        found = made.moments()
        assert found.keys() == moments.keys()
        assert all(torch.equal(found[n][m], moments[n][m]) for n in moments for m in moments[n])
        assert {value.data_ptr() for own in state.values() for value in own.values()} == addresses


def test_the_optimizer_follows_a_network_that_changed_its_type():
    made, x, target = tasks()
    made.run(0, x, target)
    saved = made.moments()
    made.component.double()
    made.load_moments(saved)
    made.run(1, x.double(), target._replace(rows_RW=target.rows_RW.double(), share_R=target.share_R.double()))
    assert all(moments["exp_avg"].dtype == torch.float64 for moments in made.moments().values())


def precisions():
    cudnn = torch.backends.cudnn
    switches = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
    return [switch.fp32_precision for switch in switches] + [cudnn.benchmark, cudnn.deterministic]


@pytest.mark.parametrize("setting", ["as it was", "tf32"])
def test_exact_arithmetic_is_for_the_time_of_training_only(setting):
    """The switches are torch's own, there with a GPU or without; whatever happens inside, they are put back."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    found = precisions()
    try:
        if setting == "tf32":
            matmul.fp32_precision, cudnn.benchmark = "tf32", True
        before = precisions()
        with exact_arithmetic(torch.device("cpu")):
            assert precisions() == before
        with contextlib.suppress(ArithmeticError), exact_arithmetic(torch.device("cuda")):
            assert precisions() == ["ieee"] * 3 + [False, True]
            raise ArithmeticError("made up")
        assert precisions() == before
    finally:
        matmul.fp32_precision, cudnn.benchmark = found[0], found[3]


@pytest.mark.parametrize(("setting", "told"), [(None, False), (":4096:8", False), (":0:0", True)])
def test_only_a_missing_workspace_is_told(setting, told, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if setting is not None:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", setting)
    assert (workspace_note() is not None) == told


@pytest.mark.cuda
def test_on_cuda_the_rate_is_a_float32_on_the_device():
    """Nearest to the double product of base and group rate, as the rate of a fresh optimizer would be."""
    net = network(2).cuda()
    made = ComponentTasks(0, net.components[0], EngineOptions(learning_rate=lambda k: 1e-2 / (k + 1)))
    x, y = (t.cuda() for t in batches(1)[0])
    for k in range(3):
        made.run(k, x, net.first_target(y, dtype=x.dtype))
        for group, rate in zip(made._optimizer.param_groups, made.group_rates, strict=True):
            assert group["lr"].is_cuda
            assert group["lr"].item() == torch.tensor(1e-2 / (k + 1) * rate, dtype=torch.float32).item()


class PartlyIdle(LocallySupervised):
    """Its head gets no gradient on mini-batches of one size: Adam must leave it alone there, its count too."""

    def forward(self, features, target):
        update = super().forward(features, target)
        if len(features) == 8:
            return update
        return update._replace(losses={"local": self.body(features).square().mean()})


@pytest.mark.parametrize("weight_decay", [0.0, 1e-2])
def test_steps_are_adams_own_to_the_last_bit(weight_decay):
    """Also where a parameter has no gradient, at first and later, and where a state was loaded in between."""
    sizes = [5, 8, 8, 5, 8]
    data = [batches(1, batch_size=size, seed=k)[0] for k, size in enumerate(sizes)]
    net = LocalNetwork(PartlyIdle, 1)
    with make_engine("serial", net, learning_rate=1e-2, weight_decay=weight_decay) as engine:
        engine.fit(data[:3])
        engine.load_state_dict(engine.state_dict())
        engine.fit(data[3:])
        state = engine.state_dict()["components"][0]
    (component,) = LocalNetwork(PartlyIdle, 1).components
    optimizer = torch.optim.Adam(component.parameters(), lr=1e-2, weight_decay=weight_decay, fused=True)
    for x, y in data:
        optimizer.zero_grad()
        component(x, y).losses["local"].backward()
        optimizer.step()
    for name, parameter in component.named_parameters():
        assert torch.equal(parameter, state["weights"][name]), name
        for moment, value in optimizer.state[parameter].items():
            assert torch.equal(value, state["optimizer"][name][moment]), (name, moment)
