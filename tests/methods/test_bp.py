"""BP's engines: all end at the weights of the loop that a user would write, and a warm-up leaves nothing behind.

On the CPU nothing is recorded, and the recorder's warm-ups are run all the same: they must not change anything.
"""

import shutil

import pytest
import torch
from torch.nn import functional as F

from albench.engines import shares
from albench.engines.capture import WARM_UPS
from albench.engines.engine import intra_op_threads
from albench.errors import UsageError
from albench.methods import METHODS, make_trainer, step
from albench.methods.step import GraphStep
from albench.methods.trainer import TrainerOptions
from albench.networks import mlp
from tests.engines.made_up import CLASSES, FEATURES, batches

pytestmark = pytest.mark.timeout(180)
SIZES = {"in_features": FEATURES, "classes": CLASSES, "width": 9, "hidden_layers": 4, "seed": 4}
RATE = 2**-7
"""A float32 too, as which a device reads it."""


def made(engine="eager", **changes):
    return make_trainer("bp", TrainerOptions(**SIZES | {"engine": engine, "learning_rate": RATE} | changes))


def plain_loop(data, *, dtype=torch.float32):
    """Return the weights and the last loss of the loop that a user would write."""
    net = mlp(**SIZES).to(dtype)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, fused=True)
    with intra_op_threads(1):
        for x, y in data:
            loss = F.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.state_dict(), loss.item()


def weights(trainer):
    return trainer._network.state_dict()


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name].cpu(), other[name].cpu())] == []


def moved(data, device):
    return [(x.to(device), y.to(device)) for x, y in data]


@pytest.fixture
def recordings(monkeypatch):
    """Let "graph" run on the CPU, body run as often before as the recorder would; returns one entry a recording."""
    monkeypatch.setattr(GraphStep, "device_types", frozenset({"cuda", "cpu"}))
    made = []
    record = step.record

    def warmed_up(body, *, device, **options):
        made.append(device)
        if device.type == "cpu":
            for _ in range(WARM_UPS):
                body()
        return record(body, device=device, **options)

    monkeypatch.setattr(step, "record", warmed_up)
    return made


@pytest.mark.parametrize("engine", ["eager", "graph"])
@pytest.mark.parametrize("warm_up", [0, 1, 6])
def test_the_plain_loop_to_the_last_bit(recordings, engine, warm_up):
    """With and without a warm-up, with a ragged last mini-batch, and in two calls of train."""
    data = batches(15, ragged=3)
    trainer = made(engine)
    if warm_up:
        trainer.warm_up(batches(warm_up, seed=9))
    trainer.train(data[:7])
    trainer.train(data[7:])
    expected, loss = plain_loop(data)
    assert_same_bits(weights(trainer), expected)
    assert trainer.losses == [{"cross-entropy": loss}]
    assert len(recordings) == (engine == "graph")


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_a_warm_up_leaves_weights_where_they_lie_and_nothing_behind(recordings, engine):
    """Recordings and compiled code hold addresses."""
    trainer = made(engine)
    addresses = [p.data_ptr() for p in trainer._network.parameters()]
    trainer.warm_up(batches(6, ragged=3))
    moments = [state["exp_avg"].data_ptr() for state in trainer._optimizer.state.values()]
    assert_same_bits(weights(trainer), weights(made()))
    assert all(not value.any() for state in trainer._optimizer.state.values() for value in state.values())
    assert all(p.grad is None for p in trainer._network.parameters())
    assert trainer.losses == []
    with pytest.raises(UsageError, match="mini-batch 0 holds label 99"):
        trainer.train([(torch.zeros(2, FEATURES), torch.tensor([0, 99]))])
    trainer.warm_up(batches(2))
    assert [p.data_ptr() for p in trainer._network.parameters()] == addresses
    assert [state["exp_avg"].data_ptr() for state in trainer._optimizer.state.values()] == moments


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_a_warm_up_in_the_middle_is_no_part_of_the_run(recordings, engine):
    data = batches(10)
    trainer = made(engine)
    trainer.train(data[:4])
    trainer.warm_up(batches(3, seed=9))
    trainer.train(data[4:])
    assert_same_bits(weights(trainer), plain_loop(data)[0])


def test_shapes_are_recorded_once_and_others_said(recordings):
    trainer = made("graph")
    trainer.train(batches(3, ragged=3) + batches(3, ragged=2))
    assert len(recordings) == 1
    assert trainer.notes == [f"mini-batches that differ from the first one's [8, {FEATURES}] were not recorded"]


def test_the_recorder_trains_nothing_by_itself(recordings):
    """A trainer that was not warmed up records on its first mini-batch, in the middle of training."""
    first = batches(1)
    trainer = made("graph")
    trainer.train(first)
    assert_same_bits(weights(trainer), plain_loop(first)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_compiled_ends_where_the_plain_loop_does(dtype):
    """Two trainers of one process, of different depth: neither may take what was compiled for the other."""
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler on this machine: g++ is not on the path")
    data = batches(8, ragged=3, dtype=dtype)
    if dtype == torch.float32:
        made("compiled", hidden_layers=2).train(data[:2])
    trainer = made("compiled", dtype=dtype)
    trainer.warm_up(data[:2])
    assert trainer.notes == []
    assert trainer.losses == []
    assert_same_bits(weights(trainer), {name: value.to(dtype) for name, value in weights(made()).items()})
    trainer.train(data)
    expected, loss = plain_loop(data, dtype=dtype)
    limit = {torch.float32: 1e-6, torch.float64: 1e-10}[dtype]
    for name, value in weights(trainer).items():
        assert (value - expected[name]).norm() <= limit * expected[name].norm(), name
    assert trainer.losses[0]["cross-entropy"] == pytest.approx(loss, rel=10 * limit)
    assert trainer.notes == [f"mini-batches that differ from the first one's [8, {FEATURES}] were not compiled"]


@pytest.mark.parametrize("pass_", ["forward", "backward"])
def test_without_a_compiler_training_goes_on_and_says_so(monkeypatch, pass_):
    """The forward pass may compile and the backward pass fail."""

    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx, loss):
            return loss.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise RuntimeError("no working C++ compiler found\nand more")

    def compile_(function, **options):
        if pass_ == "backward":
            return lambda x, y: Fails.apply(function(x, y))
        raise RuntimeError("no working C++ compiler found\nand more")

    monkeypatch.setattr(torch, "compile", compile_)
    data = batches(6, ragged=3)
    trainer = made("compiled")
    trainer.warm_up(data[:2])
    trainer.train(data)
    assert trainer.notes == ["not compiled (RuntimeError: no working C++ compiler found)"]
    assert_same_bits(weights(trainer), plain_loop(data)[0])


def test_nothing_is_compiled_for_another_layout(monkeypatch):
    """How often, not how: the compiler itself is left out here. Compiled code takes memory as it lies, so a transposed
    mini-batch is another one too."""
    compiled, ran = [], []

    def compile_(function, **options):
        compiled.append(options["dynamic"])

        def counted(x, y):
            ran.append((len(x), x.is_contiguous()))
            return function(x, y)

        return counted

    monkeypatch.setattr(torch, "compile", compile_)
    data = [batch for size in (8, 3, 8, 5, 4, 8) for batch in batches(1, batch_size=size, seed=size)]
    x, y = data[0]
    data.insert(2, (x.t().contiguous().t(), y))
    trainer = made("compiled")
    trainer.train(data)
    assert compiled == [False]
    assert ran == [(8, True)] * 4, "once to prepare, then each mini-batch of the first one's layout"
    assert_same_bits(weights(trainer), plain_loop(data)[0])


def test_an_engine_that_bp_lacks_is_refused():
    known = "known are compiled, compiled-graph, eager, graph"
    with pytest.raises(UsageError, match=f"engine of method 'bp' 'fused'.*{known}"):
        made("fused")


def test_there_is_a_step_for_every_engine():
    assert set(step.STEPS) == set(METHODS["bp"].engines)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("warm_up", [0, 6])
def test_on_a_device_graph_is_eager_to_the_last_bit(recordings, dtype, warm_up):
    data = moved(batches(15, ragged=3, dtype=dtype), "cuda")
    found = {}
    for engine in ("eager", "graph"):
        trainer = made(engine, device="cuda", dtype=dtype)
        if warm_up:
            trainer.warm_up(moved(batches(warm_up, seed=9, dtype=dtype), "cuda"))
        trainer.train(data[:7])
        trainer.train(data[7:])
        found[engine] = weights(trainer), trainer.losses
    assert_same_bits(found["eager"][0], found["graph"][0])
    assert found["eager"][1] == found["graph"][1]
    assert [device.type for device in recordings] == ["cuda"]
    expected, _ = plain_loop([(x.cpu(), y.cpu()) for x, y in data], dtype=dtype)
    limit = {torch.float32: 1e-3, torch.float64: 1e-10}[dtype]
    for name, value in found["graph"][0].items():
        assert (value.cpu() - expected[name]).norm() <= limit * expected[name].norm(), name


@pytest.mark.cuda
@pytest.mark.parametrize("way", ["compiled", "compiled-graph"])
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_on_a_device_compiled_ends_where_eager_does(way, dtype, limit):
    data = moved(batches(8, ragged=3, dtype=dtype), "cuda")
    eager, compiled = (made(engine, device="cuda", dtype=dtype) for engine in ("eager", way))
    for trainer in (eager, compiled):
        trainer.warm_up(data[:2])
        trainer.train(data)
    assert [note for note in compiled.notes if "not compiled (" in note] == []
    for name, value in weights(compiled).items():
        assert (value - weights(eager)[name]).norm() <= limit * value.norm(), name


@pytest.mark.cuda
def test_on_a_device_the_recorded_step_can_be_held_to_a_share_of_the_multiprocessors():
    """The BP of one lane, beside which pipelines on such shares stand. On a share libraries may pick other kernels."""
    if reason := shares.unavailable_reason(torch.device("cuda", torch.cuda.current_device())):
        pytest.skip(reason)
    data = moved(batches(20, ragged=3, dtype=torch.float64), "cuda")
    whole = made("graph", device="cuda", dtype=torch.float64)
    share = made("graph", device="cuda", dtype=torch.float64, lane_kind="sm-share", lane_sms=8)
    for trainer in (whole, share):
        trainer.warm_up(data[:2])
        trainer.train(data)
    assert share.lane_kind == "sm-share"
    assert any("SMs of each lane: 8" in note for note in share.notes)
    for name, value in weights(share).items():
        assert (value - weights(whole)[name]).norm() <= 1e-9 * value.norm(), name
    share.close()
    share.close()
