"""The serial engine: the plain order, and on a GPU the same numbers as on a CPU."""

import pytest
import torch

from albench.engines import make_engine
from albench.errors import UsageError
from albench.schedule import serial
from tests.engines.made_up import batches, largest_difference, network, trained

pytestmark = pytest.mark.timeout(120)
RATE = 2**-7
"""A rate that float32 holds exactly: on a device the rate is one, also for weights in float64."""


def test_tasks_run_in_the_serial_order():
    with make_engine("serial", network(6), trace=True) as engine:
        engine.fit(batches(4))
        order = [(span.component, span.minibatch) for span in engine.spans]
    assert order == [task for tick in serial(3, 4) for task in tick]


def test_training_again_gives_the_same_bits():
    one, losses = trained("serial", batches(10))
    other, other_losses = trained("serial", batches(10))
    assert largest_difference(one, other) == 0
    assert losses == other_losses


def on_cuda(data):
    return [(x.cuda(), y.cuda()) for x, y in data]


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["serial", "threads", "fused", "streams", "graph"])
def test_cuda_equals_the_cpu_in_float64(name):
    """Another library, other kernels: a tolerance; in float64 it leaves no room for TF32 or a lost update."""
    data = batches(30, ragged=3, dtype=torch.float64)
    cpu, losses = trained("serial", data, net=network(8, dtype=torch.float64), learning_rate=RATE)
    cuda, cuda_losses = trained(name, on_cuda(data), net=network(8, dtype=torch.float64).cuda(), learning_rate=RATE)
    for component in cuda["components"]:
        component["weights"] = {key: weight.cpu() for key, weight in component["weights"].items()}
    assert largest_difference(cpu, cuda) <= 1e-10
    for one, other in zip(losses, cuda_losses, strict=True):
        assert other == pytest.approx(one, rel=1e-8)


@pytest.mark.cuda
def test_a_run_moves_from_the_cpu_to_cuda_and_back():
    data = batches(12, dtype=torch.float64)
    whole, _ = trained("serial", data, net=network(8, dtype=torch.float64), learning_rate=RATE)
    state = None
    for part, device in [(data[:4], "cpu"), (data[4:8], "cuda"), (data[8:], "cpu")]:
        with make_engine("serial", network(8, dtype=torch.float64).to(device), learning_rate=RATE) as engine:
            if state is not None:
                engine.load_state_dict(state)
            engine.fit([(x.to(device), y.to(device)) for x, y in part])
            state = engine.state_dict()
    assert largest_difference(whole, state) <= 1e-10


@pytest.mark.cuda
def test_labels_left_on_the_cpu_are_refused():
    x, y = batches(1)[0]
    with make_engine("serial", network(4).cuda()) as engine, pytest.raises(UsageError, match="y on cpu"):
        engine.fit([(x.cuda(), y)])
