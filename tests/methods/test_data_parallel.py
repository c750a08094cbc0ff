"""Data parallelism: copies on parts of a mini-batch train as one network on all of it, with BP and with AL."""

import pytest
import torch
from torch.nn import functional as F

from albench.engines import make_engine
from albench.errors import UsageError
from albench.methods import al_ddp, ddp
from albench.methods.network import folded, twin
from albench.methods.trainer import TrainerOptions
from albench.process import forkserver
from tests.engines.made_up import CLASSES, FEATURES, batches

pytestmark = pytest.mark.timeout(120)

forkserver("albench.methods.pipelines", "albench.methods.al_ddp", "albench.methods.ddp")


def options(**changes):
    given = {
        "engine": "ranks",
        "in_features": FEATURES,
        "classes": CLASSES,
        "width": 9,
        "hidden_layers": 6,
        "learning_rate": 1e-2,
        "seed": 3,
        "dtype": torch.float64,
    }
    return TrainerOptions(**given | changes)


def doubles(count):
    return [(x.double(), y) for x, y in batches(count, batch_size=12)]


def assert_same_gradients(found, network):
    """Every parameter's own, to a relative 1e-9 of doubles: the parts of a mini-batch are added in another order."""
    parameters = dict(network.named_parameters())
    assert found.keys() == parameters.keys()
    for name, parameter in parameters.items():
        scale = parameter.grad.abs().max().item()
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-9, atol=1e-9 * scale, msg=name)


def test_ddp_trains_what_one_process_trains():
    data, given = doubles(20), options(lanes=3)
    trainer = ddp.make_trainer(given)
    try:
        trainer.warm_up(data[:2])
        trainer.train(data[:1])
        network = twin(given)
        F.cross_entropy(network(data[0][0]), data[0][1]).backward()
        assert_same_gradients(trainer.team.call("gradients"), network)
        trainer.train(trainer.prepare(data[1:]))
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2, fused=True)
        for x, y in data:
            optimizer.zero_grad()
            loss = F.cross_entropy(network(x), y)
            loss.backward()
            optimizer.step()
        torch.testing.assert_close(trainer.predict(data[0][0]), network(data[0][0]), rtol=1e-9, atol=1e-9)
        assert trainer.losses[0]["cross-entropy"] == pytest.approx(loss.item(), rel=1e-9)
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(trainer.network.get_parameter(name), parameter, rtol=1e-10, atol=1e-10)
    finally:
        trainer.close()


@pytest.mark.parametrize("lanes", [1, 2])
def test_al_with_data_parallelism_trains_what_one_pipeline_trains(lanes):
    """Where lanes are threads, several components average at once, each in a group of its own."""
    data, given = doubles(20), options(lanes=lanes, replicas=2)
    trainer = al_ddp.make_trainer(given)
    try:
        trainer.warm_up(data[:2])
        trainer.train(data[:1])
        network = folded(given)
        with make_engine("serial", network, learning_rate=1e-2) as engine:
            engine.fit(data[:1])
            assert_same_gradients(trainer.team.call("gradients"), network)
            trainer.train(trainer.prepare(data[1:]))
            engine.fit(data[1:])
            losses = engine.losses
        trainer.predict(data[0][0])
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(trainer.network.get_parameter(name), parameter, rtol=1e-9, atol=1e-9)
        for mine, expected in zip(trainer.losses, losses, strict=True):
            assert mine == pytest.approx(expected, rel=1e-7)
        assert trainer.lanes == lanes
    finally:
        trainer.close()


@pytest.mark.parametrize("make", [ddp.make_trainer, al_ddp.make_trainer])
def test_a_mini_batch_that_cannot_be_shared_evenly_is_refused(make):
    trainer = make(options(lanes=2, replicas=2))
    with pytest.raises(UsageError, match="mini-batch 0 has 7 instances, which 2 processes cannot share evenly"):
        trainer.train([(x.double(), y) for x, y in batches(1, batch_size=7)])
    trainer.close()


def test_operations_are_those_of_all_copies():
    """Each copy runs the target side on its own distinct rows: that part is done twice."""
    batch = doubles(1)[0]
    copies = al_ddp.make_trainer(options(replicas=2))
    one = al_ddp.make_trainer(options(replicas=1))
    try:
        assert one.flops(batch) < copies.flops(batch) < 2 * one.flops(batch)
        assert copies.flops(batch) == 2 * one.flops((batch[0][:6], batch[1][:6]))
    finally:
        copies.close()
        one.close()
