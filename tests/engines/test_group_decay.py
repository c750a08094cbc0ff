"""Weight decay by parameter group: a group's factor holds in every engine, stacked and recorded ones included."""

import pytest
import torch

from albench.associated import AssociatedComponent
from albench.component import ParameterGroup
from albench.engines import make_engine
from albench.engines.fused import FusedEngine
from tests.engines.made_up import TOLERANCE, assert_bitwise_equal, batches, largest_difference, network, trained

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("_cpu_twins")]
DECAY = 0.05


@pytest.fixture
def f_alone(monkeypatch):
    """Let weight decay be half as strong for f, and nothing to all else."""

    def parameter_groups(component):
        return [
            ParameterGroup(parameters=list(component.f.parameters()), weight_decay=0.5),
            ParameterGroup(parameters=list(component.b.parameters()), weight_decay=0.0),
            ParameterGroup(parameters=[*component.g.parameters(), *component.h.parameters()], rate=2, weight_decay=0),
        ]

    monkeypatch.setattr(AssociatedComponent, "parameter_groups", parameter_groups)


def test_a_factor_is_what_the_decay_is_multiplied_by(f_alone):
    """One step of Adam from a gradient of λ·w: without any other gradient it goes by the rate, whatever λ is."""
    net = network(2, dtype=torch.float64)
    component = net.components[0]
    before = {name: p.detach().clone() for name, p in component.named_parameters()}
    component.forward = lambda features, target: type(component).forward(component, 0 * features, target)
    with make_engine("serial", net, learning_rate=1e-3, weight_decay=DECAY) as engine:
        engine.fit([(x, y) for x, y in batches(1, dtype=torch.float64)])
    weight = component.f[1].weight
    moved = before["f.1.weight"] - weight.detach()
    torch.testing.assert_close(moved, 1e-3 * before["f.1.weight"].sign(), rtol=1e-3, atol=0)
    assert (
        engine.state_dict()["components"][0]["optimizer"]["f.1.weight"]["exp_avg"]
        .div(0.1)
        .allclose(0.5 * DECAY * before["f.1.weight"])
    )


@pytest.mark.parametrize("name", ["threads", "streams", "graph"])
def test_bitwise_equal_to_serial(f_alone, name):
    serial, _ = trained("serial", batches(9, ragged=3), weight_decay=DECAY)
    other, _ = trained(name, batches(9, ragged=3), weight_decay=DECAY, lanes=2)
    assert_bitwise_equal(serial, other)


@pytest.mark.parametrize("way", ["launch by launch", "prepared"])
@pytest.mark.parametrize("rate", [1e-3, lambda k: 1e-3 / (1 + k)], ids=["one rate", "rate by mini-batch"])
def test_stacked_it_is_the_serial_one_to_rounding(f_alone, monkeypatch, way, rate):
    monkeypatch.setattr(FusedEngine, "prepare_uncompiled", way == "prepared")
    data = batches(40, ragged=3, dtype=torch.float64)
    options = {"learning_rate": rate, "weight_decay": DECAY}
    serial, _ = trained("serial", data, net=network(8, dtype=torch.float64), **options)
    fused, _ = trained("fused", data, net=network(8, dtype=torch.float64), **options)
    assert largest_difference(serial, fused) <= TOLERANCE[torch.float64]
    for without in (options | {"weight_decay": 0.0}, options | {"weight_decay": 0.5 * DECAY}):
        net = network(8, dtype=torch.float64)
        if without["weight_decay"]:
            monkeypatch.undo()  # the same for all parameters
        assert largest_difference(serial, trained("serial", data, net=net, **without)[0]) > 1e-6


def test_components_of_other_decay_are_not_stacked(monkeypatch):
    own = AssociatedComponent.parameter_groups

    def parameter_groups(component):
        groups = own(component)
        factor = float(component.f[0].out_features % 2 == 1 and component is not net.components[-1])
        return [ParameterGroup(parameters=g.parameters, rate=g.rate, weight_decay=factor) for g in groups]

    net = network(8)
    net.components = net.components[1:]  # all of one shape
    monkeypatch.setattr(AssociatedComponent, "parameter_groups", parameter_groups)
    with make_engine("fused", net) as engine:
        assert [list(block.components) for block in engine._blocks] == [[0, 1], [2]]
