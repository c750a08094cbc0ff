"""The paper's networks on every engine: BatchNorm's statistics end bitwise equal to serial's, and predictions use them.

Small images and few channels; everything else is as in the networks that are measured.
"""

import io
import itertools

import pytest
import torch

from albench.engines import make_engine
from albench.errors import UsageError
from tests.engines.device_runs import trained_on
from tests.engines.left_behind import assert_nothing_left
from tests.engines.made_up import assert_bitwise_equal, tensors, trained
from tests.networks.tiny import FOLDED, IMAGES, image_batches

pytestmark = pytest.mark.timeout(120)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]
KINDS = ["mlp", *IMAGES]
DATA = {"count": 6, "ragged": 3}


def statistics(state):
    return {name: value for name, value in tensors(state).items() if "running" in name or "tracked" in name}


@pytest.mark.parametrize("lanes", [2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_threads_end_where_serial_does(kind, lanes):
    """Weights, moments, running statistics and losses; with two lanes the blocks are balanced by trial runs first."""
    data = image_batches(**DATA)
    serial, losses = trained("serial", data, net=FOLDED[kind]())
    threads, found = trained("threads", data, net=FOLDED[kind](), lanes=lanes)
    assert_bitwise_equal(serial, threads)
    assert losses == found


@pytest.mark.parametrize("link", ["ring", "gloo"])
@pytest.mark.parametrize("kind", KINDS)
def test_ranks_end_where_serial_does(kind, link):
    data = image_batches(**DATA)
    serial, losses = trained("serial", data, net=FOLDED[kind]())
    ranks, found = trained("ranks", data, net=FOLDED[kind](), lanes=2, link=link)
    assert_bitwise_equal(serial, ranks)
    assert losses == found
    assert_nothing_left()


@pytest.mark.usefixtures("_warm_ups")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("engine", ["streams", "graph"])
@pytest.mark.parametrize("kind", KINDS)
def test_lanes_of_a_device_end_where_serial_does(kind, engine, device):
    """A tick that is recorded runs idle slots too: their statistics must stay what they are."""
    data = image_batches(10, ragged=3)
    serial, losses = trained_on(device, "serial", data, net=FOLDED[kind]())
    state, found = trained_on(device, engine, data, net=FOLDED[kind](), lanes=2)
    assert_bitwise_equal(serial, state)
    assert losses == found


def test_the_statistics_are_those_of_each_mini_batch_once():
    """In no test above could they all have stayed where they began."""
    state, _ = trained("serial", image_batches(6), net=FOLDED["resnet"]())
    found = statistics(state)
    assert {int(value) for name, value in found.items() if "tracked" in name} == {6}
    moved = [name for name, value in found.items() if "running_mean" in name and value.abs().max() > 0]
    assert len(moved) == len(found) / 3


@pytest.mark.parametrize("engine", ["serial", "threads", "ranks"])
@pytest.mark.parametrize("kind", ["vgg", "resnet"])
def test_a_run_resumes_from_a_file_on_any_engine(kind, engine):
    """Nothing but tensors, numbers and strings, so that the file can be read by anybody."""
    data = image_batches(7, ragged=3)
    whole, losses = trained("serial", data, net=FOLDED[kind]())
    file = io.BytesIO()
    with make_engine("threads", FOLDED[kind](), learning_rate=1e-2, lanes=2) as first:
        first.fit(data[:3])
        torch.save(first.state_dict(), file)
    file.seek(0)
    with make_engine(engine, FOLDED[kind](seed=9), learning_rate=1e-2, lanes=2) as second:
        second.load_state_dict(torch.load(file, weights_only=True))
        second.fit(data[3:])
        assert_bitwise_equal(whole, second.state_dict())
        assert second.losses == losses


@pytest.mark.parametrize("engine", ["serial", "threads", "ranks"])
def test_predicting_between_mini_batches_changes_nothing(engine):
    """A source that prints an accuracy does so while lanes are at work on the very modules."""
    data = image_batches(12)
    serial, _ = trained("serial", data, net=FOLDED["resnet"]())
    net = FOLDED["resnet"]()

    def watched():
        for x, y in data:
            net(x)
            yield x, y

    with make_engine(engine, net, learning_rate=1e-2, lanes=2) as running:
        running.fit(watched())
        assert_bitwise_equal(serial, running.state_dict())
    assert all(module.training for module in net.modules())


def test_a_prediction_uses_the_running_statistics():
    """So it does not depend on which other instances are in the mini-batch."""
    net = FOLDED["resnet"]()
    data = image_batches(20)
    before = net(data[0][0])
    trained("threads", data, net=net, lanes=2)
    x = data[0][0]
    assert not torch.equal(net(x), before)
    torch.testing.assert_close(net(x)[:1], net(x[:1]))
    assert torch.equal(net(x), net.eval()(x))


@pytest.mark.parametrize("kind", ["vgg", "resnet"])
def test_long_runs_stay_finite(kind):
    """200 mini-batches; the first step is a step, and what can be fitted is fitted better at the end."""
    net = FOLDED[kind](**{"blocks": 1} if kind == "resnet" else {})
    data = image_batches(4)
    with make_engine("serial", net, learning_rate=1e-3) as engine:
        before = [p.detach().clone() for p in net.parameters()]
        engine.fit(data[:1])
        first = engine.losses
        assert not any(torch.equal(old, new) for old, new in zip(before, net.parameters(), strict=True))
        engine.fit(itertools.islice(itertools.cycle(data), 199))
        assert all(torch.isfinite(tensor).all() for tensor in net.state_dict().values())
        for one, last in zip(first, engine.losses, strict=True):
            assert last["associated"] < one["associated"]
            assert last["autoencoder"] < one["autoencoder"]


@pytest.mark.parametrize("kind", IMAGES)
def test_fused_refuses_them_in_one_line(kind):
    """Their components differ, and convolutions have no stacked form: said before anything is trained."""
    with pytest.raises(UsageError, match=r"its layer f\.0 is Conv2d, which has no stacked form.*'threads'") as caught:
        make_engine("fused", FOLDED[kind]())
    assert "\n" not in str(caught.value)


def test_fused_refuses_equal_convolutional_components_too():
    net = FOLDED["cnn"](channels=(4, 4, 4), strides=(1, 1, 1), bridge="pooled")
    with pytest.raises(UsageError, match=r"component 1 cannot be stacked: its layer f\.0 is Conv2d"):
        make_engine("fused", net)
