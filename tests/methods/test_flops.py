"""FLOPs: the numbers that a hand counts from shapes, and a network that does not notice."""

import pytest
import torch

from albench.methods import make_trainer
from albench.methods.flops import without_data
from albench.methods.trainer import TrainerOptions
from tests.engines.made_up import CLASSES, FEATURES, batches

pytestmark = pytest.mark.timeout(120)
B, W = 8, 9


def product(m, k, n):
    return 2 * m * k * n


def made(method, engine, **changes):
    sizes = {"in_features": FEATURES, "classes": CLASSES, "width": W, "hidden_layers": 4, "learning_rate": 1e-2}
    return make_trainer(method, TrainerOptions(**sizes | {"engine": engine} | changes))


def test_bp_is_forward_dw_and_all_but_the_first_dx():
    first = 2 * product(B, FEATURES, W)
    middle = 3 * 3 * product(B, W, W)
    last = 3 * product(B, W, CLASSES)
    assert made("bp", "eager").flops(batches(1)[0]) == first + middle + last


def test_a_bridge_of_its_own_counts():
    first = 2 * product(B, FEATURES, W)
    middle = 3 * (product(B, W, W) + product(B, W, 7) + product(B, 7, W) + product(B, W, W))
    last = 3 * product(B, W, CLASSES)
    assert made("bp", "eager", bridge_width=7).flops(batches(1)[0]) == first + middle + last


@pytest.mark.parametrize(
    ("distinct", "rows"), [(True, CLASSES), (False, B), ("auto", CLASSES)], ids=["distinct", "plain", "auto"]
)
@pytest.mark.parametrize("bridge_width", [None, 7])
def test_al_is_the_sum_of_its_components_tasks(distinct, rows, bridge_width):
    """No gradient by the inputs of f and g, which come detached; g and h on the rows of the target."""
    if bridge_width is None:
        bridge = 3 * product(B, W, W)
    else:
        bridge = 3 * (product(B, W, bridge_width) + product(B, bridge_width, W))
    component_0 = 2 * product(B, FEATURES, W) + bridge + 2 * product(rows, CLASSES, W) + 3 * product(rows, W, CLASSES)
    component_1 = 2 * product(B, W, W) + bridge + 2 * product(rows, W, W) + 3 * product(rows, W, W)
    trainer = made("al", "serial", distinct_targets=distinct, bridge_width=bridge_width)
    assert trainer.flops(batches(1)[0]) == component_0 + component_1


def test_auto_follows_the_mini_batch():
    """Fewer instances than classes: there is nothing to be gained from distinct rows."""
    small = batches(1, batch_size=CLASSES - 1)[0]
    auto, plain = (made("al", "serial", distinct_targets=choice).flops(small) for choice in ("auto", False))
    assert auto == plain


def test_engines_of_one_method_count_alike():
    batch = batches(1)[0]
    assert made("al", "serial").flops(batch) == made("al", "fused").flops(batch)
    assert made("bp", "eager").flops(batch) == made("bp", "compiled").flops(batch)


@pytest.mark.parametrize(("method", "engine"), [("bp", "eager"), ("al", "serial")])
def test_counting_changes_nothing(method, engine):
    """Weights, gradients, Adam's state and every generator: counted in the middle, the run is the same run."""
    data = batches(6, ragged=3)
    x = data[0][0]
    undisturbed, counted = made(method, engine), made(method, engine)
    undisturbed.train(data)
    counted.train(data[:3])
    gradients = [p.grad.clone() for p in counted._network.parameters()]
    generators = [c.generator.get_state() for c in getattr(counted._network, "components", [])]
    torch_wide = torch.get_rng_state()
    with torch.no_grad():
        counted.flops(data[-1])
    assert all(torch.equal(p.grad, g) for p, g in zip(counted._network.parameters(), gradients, strict=True))
    assert all(
        torch.equal(c.generator.get_state(), state)
        for c, state in zip(getattr(counted._network, "components", []), generators, strict=True)
    )
    assert torch.equal(torch.get_rng_state(), torch_wide)
    counted.train(data[3:])
    assert torch.equal(counted.predict(x), undisturbed.predict(x))
    assert counted.losses == undisturbed.losses


def test_a_copy_without_data_shares_nothing_and_takes_no_memory():
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    copied = without_data(net)
    assert {t.device.type for t in copied.state_dict().values()} == {"meta"}
    assert {t.device.type for t in net.state_dict().values()} == {"cpu"}
    assert [p.shape for p in copied.parameters()] == [p.shape for p in net.parameters()]


@pytest.mark.cuda
@pytest.mark.parametrize(("method", "engine"), [("bp", "eager"), ("al", "serial")])
def test_a_device_counts_as_the_cpu_does(method, engine):
    x, y = batches(1)[0]
    on_cuda = made(method, engine, device="cuda").flops((x.cuda(), y.cuda()))
    assert on_cuda == made(method, engine).flops((x, y))
