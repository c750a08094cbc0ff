"""Lanes on other GPUs train copies: what comes back is what the network would have learned where it is."""

import pytest
import torch
from torch import nn

from albench.engines import ComponentError, EngineOptions
from albench.engines.replica import Replica
from albench.engines.threads import ThreadsEngine
from tests.engines.locally_supervised import LocallySupervised, LocalNetwork
from tests.engines.made_up import assert_bitwise_equal, batches, network, trained

pytestmark = pytest.mark.timeout(120)


class Copying(ThreadsEngine):
    """Takes every lane but the first to be on another device, so that its components are copied."""

    def _trains_a_copy(self, lane):
        return lane > 0


class Normalised(LocallySupervised):
    """With BatchNorm, whose statistics must come back, and dropout, whose generator must."""

    def __init__(self, features, width, seed):
        super().__init__(features, width, seed, dropout=0.3)
        self.body.insert(1, nn.BatchNorm1d(width))


def copying(net, **options):
    return Copying(net, EngineOptions(learning_rate=1e-2, lanes=3, **options))


@pytest.mark.parametrize(
    "make", [lambda: network(8), lambda: LocalNetwork(Normalised)], ids=["AL", "BatchNorm, dropout"]
)
def test_copies_end_bitwise_equal_to_serial(make):
    """Over repeated runs, between which the network is changed and a state is loaded."""
    data = batches(20, ragged=3)
    nets = [make(), make()]
    first, _ = trained("serial", data[:7], net=nets[0])
    with torch.no_grad():
        next(nets[0].components[3].parameters()).mul_(1.5)
    second, losses = trained("serial", data[7:], net=nets[0])

    engine = copying(nets[1])
    engine.fit(data[:4])
    engine.fit(data[4:7])
    assert_bitwise_equal(first, engine.state_dict())
    with torch.no_grad():
        next(nets[1].components[3].parameters()).mul_(1.5)
    fresh = copying(nets[1])  # as `trained` begins anew, with no moments
    fresh.fit(data[7:])
    state = fresh.state_dict()
    state["minibatches"] = second["minibatches"]
    assert_bitwise_equal(second, state)
    assert fresh.losses == losses


def test_a_state_that_is_loaded_reaches_the_copies():
    data = batches(20)
    whole, _ = trained("serial", data)
    engine = copying(network(8))
    engine.fit(data[:9])
    state = engine.state_dict()
    engine.fit(data[:3])
    engine.load_state_dict(state)
    engine.fit(data[9:])
    assert_bitwise_equal(whole, engine.state_dict())


def test_what_copies_learned_before_a_failure_is_not_lost():
    """The caller can look at the weights; the state is refused as ever."""
    net = network(8)
    engine = copying(net)
    engine.fit(batches(2))
    before = net.components[3].f[0].weight.clone()
    engine._tasks[0].component.f.register_forward_pre_hook(_fail)
    with pytest.raises(ComponentError, match="component 0 failed on mini-batch 2"):
        engine.fit(batches(5))
    assert torch.equal(before, net.components[3].f[0].weight)


def _fail(*_):
    raise ArithmeticError("made up")


def test_a_copy_is_a_copy():
    component = network(2).components[0]
    replica = Replica(0, component, torch.device("cpu"), EngineOptions())
    with torch.no_grad():
        for parameter in replica.tasks.component.parameters():
            parameter.zero_()
    assert all(parameter.abs().sum() > 0 for name, parameter in component.named_parameters() if "weight" in name)
    replica.give_back()
    assert all(parameter.abs().sum() == 0 for parameter in component.parameters())


@pytest.mark.cuda
@pytest.mark.parametrize("lanes", [2, 4])
def test_threads_drive_many_gpus_bitwise_equal_to_serial(lanes):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    data = [(x.cuda(), y.cuda()) for x, y in batches(20, ragged=3)]
    serial, losses = trained("serial", data, net=network(8).cuda())
    threads, threads_losses = trained("threads", data, net=network(8).cuda(), lanes=lanes)
    assert_bitwise_equal(serial, threads)
    assert losses == threads_losses


@pytest.mark.cuda
def test_lanes_that_share_one_gpu_are_bitwise_equal_too():
    data = [(x.cuda(), y.cuda()) for x, y in batches(20, ragged=3)]
    serial, _ = trained("serial", data, net=network(8).cuda())
    threads, _ = trained("threads", data, net=network(8).cuda(), lanes=3)
    assert_bitwise_equal(serial, threads)
