"""BP that goes on: the state of a run on any of its engines, rates that change, and TensorFlow's ε."""

import io

import pytest
import torch
from torch.nn import functional as F

from albench.engines.adam import tensorflow_epsilon
from albench.engines.engine import intra_op_threads
from albench.errors import UsageError
from albench.methods import make_trainer
from albench.methods.step import GraphStep
from albench.methods.trainer import TrainerOptions
from albench.networks import mlp
from tests.engines.made_up import CLASSES, FEATURES, batches
from tests.methods.test_bp import RATE, SIZES, assert_same_bits, made, recordings, weights

__all__ = ["recordings"]  # a fixture

pytestmark = pytest.mark.timeout(120)


def everything(trainer):
    return weights(trainer) | {
        f"{name}.{moment}": value
        for name, moments in trainer.state_dict()["optimizer"].items()
        for moment, value in moments.items()
    }


def falling(minibatch):
    return RATE / (1 + minibatch)


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_rates_that_change_are_those_of_a_plain_loop(recordings, engine):
    data = batches(9, ragged=3)
    trainer = made(engine, learning_rate=falling)
    trainer.warm_up(batches(4, seed=9))
    trainer.train(data[:5])
    trainer.train(data[5:])
    net = mlp(**SIZES)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, fused=True)
    with intra_op_threads(1):
        for k, (x, y) in enumerate(data):
            optimizer.param_groups[0]["lr"] = falling(k)
            loss = F.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert_same_bits(weights(trainer), net.state_dict())


@pytest.mark.parametrize("second", ["eager", "graph"])
@pytest.mark.parametrize("first", ["eager", "graph"])
def test_any_engine_finishes_what_another_began(recordings, first, second):
    """Through a file that holds plain data only, in a trainer of another seed that has recorded its step already."""
    data = batches(12)
    whole = made(first, learning_rate=falling)
    whole.train(data)
    begun = made(first, learning_rate=falling)
    begun.train(data[:7])
    file = io.BytesIO()
    torch.save(begun.state_dict(), file)
    file.seek(0)
    resumed = made(second, learning_rate=falling, seed=5)
    resumed.warm_up(batches(3, seed=9))
    addresses = [p.data_ptr() for p in resumed.network.parameters()]
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert resumed.losses == []
    resumed.train(data[7:])
    assert_same_bits(everything(whole), everything(resumed))
    assert whole.losses == resumed.losses
    assert [p.data_ptr() for p in resumed.network.parameters()] == addresses


def test_a_state_is_a_snapshot_and_loading_takes_back():
    trainer = made()
    fresh = trainer.state_dict()
    trainer.train(batches(4))
    state = trainer.state_dict()
    kept = everything(trainer)
    kept = {name: value.clone() for name, value in kept.items()}
    trainer.train(batches(4, seed=8))
    trainer.load_state_dict(state)
    assert_same_bits(kept, everything(trainer))
    trainer.load_state_dict(fresh)
    trainer.train(batches(4))
    assert_same_bits(kept, everything(trainer))


SPOILED = {
    "another's": (lambda s: s.update(format="albench-engine"), "not one of method 'bp'"),
    "newer": (lambda s: s.update(version=2), "version 2"),
    "no count": (lambda s: s.pop("minibatches"), "not whole"),
    "no optimizer": (lambda s: s.pop("optimizer"), "not whole"),
    "a weight less": (lambda s: s["weights"].pop("1.bias"), "other parameters or shapes"),
    "another shape": (lambda s: s["weights"].update({"1.bias": torch.zeros(2)}), "other parameters or shapes"),
    "weights that are none": (lambda s: s.update(weights=[]), "other parameters or shapes"),
    "moments that are none": (lambda s: s.update(optimizer=3), "does not fit"),
    "moments of nothing": (lambda s: s["optimizer"].update(q={}), "does not fit"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_state_is_refused_before_anything_changes(name):
    spoil, words = SPOILED[name]
    trainer = made()
    trainer.train(batches(2))
    state, before = trainer.state_dict(), everything(trainer)
    spoil(state)
    with pytest.raises(UsageError, match=words):
        trainer.load_state_dict(state)
    assert_same_bits(before, everything(trainer))


def test_batchnorms_statistics_are_in_the_state_and_a_prediction_moves_none():
    options = TrainerOptions(
        engine="eager",
        network="resnet20",
        in_features=3 * 8 * 8,
        input_shape=(3, 8, 8),
        classes=4,
        width=5,
        hidden_layers=8,
        learning_rate=RATE,
    )
    generator = torch.Generator().manual_seed(2)
    data = [
        (torch.randn(4, 3, 8, 8, generator=generator), torch.randint(4, (4,), generator=generator)) for _ in range(4)
    ]
    whole, first, second = (make_trainer("bp", options) for _ in range(3))
    whole.train(data)
    first.train(data[:2])
    with torch.no_grad():
        first.predict(data[0][0])
    state = first.state_dict()
    second.load_state_dict(state)
    assert any("running_mean" in name and value.any() for name, value in state["weights"].items())
    second.train(data[2:])
    assert_same_bits(whole.state_dict()["weights"], second.state_dict()["weights"])


def test_epsilon_is_tensorflows():
    data = batches(6)
    trainer = made(epsilon="tensorflow", learning_rate=RATE)
    trainer.warm_up(batches(2, seed=9))
    trainer.train(data[:4])
    state = trainer.state_dict()
    resumed = made(epsilon="tensorflow", learning_rate=RATE)
    resumed.load_state_dict(state)
    resumed.train(data[4:])
    net = mlp(**SIZES)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, fused=True)
    with intra_op_threads(1):
        for k, (x, y) in enumerate(data):
            optimizer.param_groups[0]["eps"] = tensorflow_epsilon(k + 1)
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
    assert_same_bits(weights(resumed), net.state_dict())
    plain = made()
    plain.train(data)
    assert any(not torch.equal(plain.network.state_dict()[name], value) for name, value in net.state_dict().items())


def test_a_recorded_step_cannot_have_it(monkeypatch):
    monkeypatch.setattr(GraphStep, "device_types", frozenset({"cuda", "cpu"}))
    with pytest.raises(UsageError, match="epsilon is 'tensorflow' and engine 'graph' records its update with torch's"):
        made("graph", epsilon="tensorflow")


def test_weight_decay_is_torchs():
    data = batches(5)
    trainer = made(weight_decay=0.1)
    trainer.train(data)
    net = mlp(**SIZES)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, fused=True, weight_decay=0.1)
    with intra_op_threads(1):
        for x, y in data:
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
    assert_same_bits(weights(trainer), net.state_dict())


@pytest.mark.parametrize("method", ["gpipe", "ddp", "al-ddp"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rate": falling}, "learning_rate is a function: this method trains at one rate"),
        ({"weight_decay": 0.1}, "weight_decay is 0.1"),
        ({"epsilon": "tensorflow"}, "epsilon 'tensorflow'"),
    ],
    ids=["rate", "decay", "epsilon"],
)
def test_methods_of_several_processes_refuse_what_they_would_ignore(method, changes, words):
    """Before a process is started."""
    engine = {"al-ddp": "threads"}.get(method, "ranks")
    options = TrainerOptions(**{"engine": engine, "in_features": FEATURES, "classes": CLASSES} | SIZES | changes)
    with pytest.raises(UsageError, match=words):
        make_trainer(method, options)


@pytest.mark.parametrize("method", ["idle"])
def test_a_method_that_keeps_no_state_says_so(method):
    trainer = make_trainer(method, TrainerOptions(**SIZES | {"engine": "eager"}))
    for call in (trainer.state_dict, lambda: trainer.load_state_dict({})):
        with pytest.raises(UsageError, match="no state is kept of this method: give method 'al', 'bp' or 'dtp'"):
            call()
    assert trainer.network is None
