"""DTP: the equations of Lee et al. computed once more by hand, what it learns, and a run that can be taken up again."""

import io
import itertools

import pytest
import torch
from torch.nn import functional as F

from albench.data import load_dataset
from albench.errors import UsageError
from albench.methods import make_trainer
from albench.methods.dtp import (
    AVERAGING,
    FEEDBACK_RATE,
    FIRST_TARGET_STEP,
    MOMENTUM,
    NOISE,
    STABILISER,
    DifferenceTargetNetwork,
)
from albench.methods.trainer import TrainerOptions, accuracy_over
from tests.engines.made_up import CLASSES, FEATURES, batches

pytestmark = pytest.mark.timeout(120)
SIZES = {"in_features": FEATURES, "classes": CLASSES, "width": 9, "hidden_layers": 4, "bridge_width": 7, "seed": 4}
WIDTHS = [9, 9, 7, 9, 9]


def made(**changes):
    return make_trainer("dtp", TrainerOptions(**SIZES | {"engine": "eager", "learning_rate": 2**-7} | changes))


def weights_of(part):
    """Return (W, b) of every layer of a module, with a graph of their own."""
    values = [p.detach().clone().requires_grad_() for p in part.parameters()]
    return list(zip(values[::2], values[1::2], strict=True))


def by_hand(f, g, x, y, noises):
    """Return the losses' gradients by (W, b) of f and of g, and the losses, written down from the equations alone.

    `f` are the layers 1 … M, `g` the feedback functions 2 … M-1; `noises` is ε of each layer that has an inverse.
    """

    def up(i, value):
        return torch.tanh(value @ f[i][0].T + f[i][1])

    def down(i, value):
        return torch.tanh(value @ g[i - 1][0].T + g[i - 1][1])

    hidden = len(f) - 1
    h = [x]
    for i in range(hidden):
        h.append(up(i, h[-1]))
    h = [value.detach() for value in h]
    w, b = f[-1]
    cost = F.cross_entropy(h[-1] @ w.T + b, y)
    gradients = {("f", hidden): torch.autograd.grad(cost, f[-1])}
    losses = {("f", hidden): cost.item()}
    first = h[-1].clone()
    for n in range(len(x)):  # an instance at a time: each has its own loss
        top = h[-1][n].clone().requires_grad_()
        (slope,) = torch.autograd.grad(F.cross_entropy(top @ w.T + b, y[n]), top)
        first[n] -= FIRST_TARGET_STEP * slope.detach()
    targets = {hidden: first}
    for i in range(hidden - 1, 0, -1):
        targets[i] = (h[i] + down(i, targets[i + 1]) - down(i, h[i + 1])).detach()
    for i in range(hidden):
        loss = sum(((up(i, row) - aim) ** 2).sum() for row, aim in zip(h[i], targets[i + 1], strict=True)) / len(x)
        gradients["f", i], losses["f", i] = torch.autograd.grad(loss, f[i]), loss.item()
    for i in range(1, hidden):
        corrupted = h[i] + noises[i]
        loss = ((down(i, up(i, corrupted).detach()) - corrupted) ** 2).sum() / len(x)
        gradients["g", i], losses["g", i] = torch.autograd.grad(loss, g[i - 1]), loss.item()
    return gradients, losses


class Noises:
    """Noise that is known: the same for a layer whenever it is asked for, layers told apart by their order."""

    def __init__(self, hidden):
        self.by_layer = {}
        self._order = list(range(hidden - 1, 0, -1))

    def __call__(self, like):
        layer = self._order.pop(0)
        generator = torch.Generator().manual_seed(layer)
        self.by_layer[layer] = NOISE * torch.randn(like.shape, generator=generator, dtype=like.dtype)
        return self.by_layer[layer]


@pytest.mark.parametrize("widths", [WIDTHS, [6, 3], [5]], ids=str)
def test_targets_and_gradients_are_those_of_the_equations(widths):
    (x, y) = batches(1, dtype=torch.float64)[0]
    net = DifferenceTargetNetwork(in_features=FEATURES, widths=widths, classes=CLASSES, seed=1).double()
    f, g = weights_of(net.predictor), weights_of(net.feedback)
    noises = Noises(len(widths))
    losses = net.local_gradients(x, y, noises)
    gradients, expected = by_hand(f, g, x, y, noises.by_layer)
    found = {("f", i): value for i, value in enumerate(_pairs(net.predictor))}
    found |= {("g", i): value for i, value in enumerate(_pairs(net.feedback), 1)}
    assert found.keys() == gradients.keys()
    for name, pair in gradients.items():
        for have, want in zip(found[name], pair, strict=True):
            torch.testing.assert_close(have, want, rtol=1e-11, atol=1e-14, msg=f"{name}: {have} is not {want}")
    told = {("f", i): one.get("layer", one.get("cross-entropy")) for i, one in enumerate(losses)}
    told |= {("g", i): one["inverse"] for i, one in enumerate(losses) if "inverse" in one}
    assert {name: value.item() for name, value in told.items()} == pytest.approx(expected, rel=1e-12)


def _pairs(part):
    gradients = [p.grad for p in part.parameters()]
    return list(zip(gradients[::2], gradients[1::2], strict=True))


def test_a_target_does_not_depend_on_the_batch_size():
    """The same instance four times is the same step as once: the first target is an instance's own."""
    (x, y) = batches(1, batch_size=1, dtype=torch.float64)[0]
    found = []
    for copies in (1, 4):
        net = DifferenceTargetNetwork(in_features=FEATURES, widths=WIDTHS, classes=CLASSES, seed=1).double()
        net.local_gradients(x.repeat(copies, 1), y.repeat(copies), torch.zeros_like)
        found.append([p.grad for p in net.parameters()])
    for one, four in zip(*found, strict=True):
        torch.testing.assert_close(one, four, rtol=1e-11, atol=1e-15)


def test_steps_are_those_of_centred_rmsprop_and_g_is_faster():
    """Four mini-batches with a rate that changes from one to the next, against the update written out."""
    data = batches(4, dtype=torch.float64)
    trainer = made(dtype=torch.float64, learning_rate=lambda k: 0.01 / (k + 1))
    twin = made(dtype=torch.float64)
    net = twin._network
    feedback = {id(p) for p in net.feedback.parameters()}
    kept = {p: [torch.zeros_like(p) for _ in range(3)] for p in net.parameters()}
    trainer.train(data)
    for k, (x, y) in enumerate(data):
        net.zero_grad()
        net.local_gradients(x, y, twin._noise)
        with torch.no_grad():
            for p, (square, mean, velocity) in kept.items():
                square.copy_(AVERAGING * square + (1 - AVERAGING) * p.grad**2)
                mean.copy_(AVERAGING * mean + (1 - AVERAGING) * p.grad)
                velocity.copy_(MOMENTUM * velocity + p.grad / ((square - mean**2).sqrt() + STABILISER))
                p -= 0.01 / (k + 1) * (FEEDBACK_RATE if id(p) in feedback else 1) * velocity
    for (name, value), expected in zip(trainer._network.named_parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12, msg=name)


def test_weights_are_orthogonal_and_those_of_bps_shapes():
    trainer = made()
    shapes = [tuple(p.shape) for p in trainer.network.parameters() if p.dim() == 2]
    assert shapes == [(9, FEATURES), (9, 9), (7, 9), (9, 7), (9, 9), (CLASSES, 9)]
    for part in (trainer.network, trainer._network.feedback):
        for p in part.parameters():
            if p.dim() == 2:
                short = p if p.shape[0] <= p.shape[1] else p.T
                torch.testing.assert_close(short @ short.T, torch.eye(len(short)), rtol=0, atol=1e-5)
            else:
                assert not p.any()
    assert (
        trainer.effective_parameters == make_trainer("bp", TrainerOptions(**SIZES, engine="eager")).effective_parameters
    )


def test_it_learns_the_digits():
    digits = load_dataset("digits")
    options = TrainerOptions(engine="eager", in_features=64, classes=10, width=64, hidden_layers=3, learning_rate=1e-3)
    trainer = make_trainer("dtp", options)
    trainer.train(digits.stream(batch_size=32, count=450, seed=0))
    assert accuracy_over(trainer, digits.held_out()) > 0.93
    assert len(trainer.losses) == trainer.components == 4
    assert list(trainer.losses[0]) == ["layer"]
    assert list(trainer.losses[1]) == ["layer", "inverse"]
    assert trainer.losses[-1]["cross-entropy"] < 0.3


def state_bits(trainer):
    state = trainer.state_dict()
    moments = {f"{name}.{m}": v for name, own in state["optimizer"].items() for m, v in own.items()}
    return state["weights"] | moments | {"generator": state["generator"], "k": torch.tensor(state["minibatches"])}


def assert_same_bits(one, other):
    one, other = state_bits(one), state_bits(other)
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_a_seed_decides_a_run_and_torch_s_own_generator_has_no_part_in_it():
    data = batches(6, ragged=3)
    runs = [made(), made(), made(seed=5)]
    for i, trainer in enumerate(runs):
        torch.manual_seed(i)
        before = torch.get_rng_state()
        trainer.train(data)
        assert torch.equal(torch.get_rng_state(), before)
    assert_same_bits(runs[0], runs[1])
    assert not torch.equal(runs[0].predict(data[0][0]), runs[2].predict(data[0][0]))


@pytest.mark.parametrize("begun", [0, 4])
def test_a_run_taken_up_from_a_file_is_the_same_run(begun):
    data = batches(9, ragged=3)
    whole = made(learning_rate=lambda k: 0.01 * 0.9**k)
    whole.train(data)
    first, second = (made(learning_rate=lambda k: 0.01 * 0.9**k, seed=seed) for seed in (SIZES["seed"], 77))
    first.train(data[:begun])
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    first.train(data[begun:])  # a snapshot does not go on with the run
    second.train(batches(2, seed=9))
    second.load_state_dict(torch.load(file, weights_only=True))
    second.train(data[begun:])
    assert_same_bits(first, whole)
    assert_same_bits(second, whole)
    assert second.losses == whole.losses


def test_a_warm_up_leaves_nothing_behind():
    trainer = made()
    trainer.warm_up(batches(3, seed=9))
    assert trainer.losses == []
    assert_same_bits(trainer, made())
    trainer.train(batches(3))
    plain = made()
    plain.train(batches(3))
    assert_same_bits(trainer, plain)


def test_flops_are_those_that_a_hand_counts():
    """Forward twice where there is an inverse, its weights' gradient once; g forward three times and once that."""
    batch = batches(1, batch_size=8)[0]
    sizes = [FEATURES, *WIDTHS, CLASSES]
    product = [2 * 8 * m * n for m, n in itertools.pairwise(sizes)]
    first, *inverted, top = product
    assert made().flops(batch) == 2 * first + sum((3 + 4) * one for one in inverted) + 3 * top


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: None, "not one of method 'dtp'"),
        (lambda state: state | {"version": 2}, "has version 2"),
        (lambda state: {name: state[name] for name in ("format", "version", "weights")}, "not whole"),
        (lambda state: state | {"weights": {}}, "other parameters or shapes"),
        (lambda state: state | {"optimizer": {"nobody": {}}}, "does not fit"),
        (lambda state: state | {"generator": torch.zeros(16, dtype=torch.uint8)}, "another kind of device"),
    ],
    ids=["none", "version", "half", "weights", "optimizer", "generator"],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message):
    trainer, same = made(), made()
    for one in (trainer, same):
        one.train(batches(2))
    with pytest.raises(UsageError, match=message):
        trainer.load_state_dict(change(trainer.state_dict()))
    assert_same_bits(trainer, same)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": "graph"}, "unknown engine of method 'dtp' 'graph': known are eager"),
        ({"hidden_layers": 3}, "hidden_layers is 3: a bridge in the middle needs an even number"),
        ({"hidden_layers": 0, "bridge_width": None}, "hidden_layers is 0"),
    ],
)
def test_what_cannot_be_trained_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        made(**changes)


def test_it_looks_at_its_input_as_the_others_do():
    with pytest.raises(UsageError, match="label 99"):
        made().train([(torch.zeros(2, FEATURES), torch.tensor([0, 99]))])


@pytest.mark.cuda
def test_on_a_device_it_ends_where_the_cpu_does():
    """Without noise, which another generator draws there."""
    x, y = batches(1, dtype=torch.float64)[0]
    found = []
    for device in ("cpu", "cuda"):
        net = DifferenceTargetNetwork(in_features=FEATURES, widths=WIDTHS, classes=CLASSES, seed=1).double().to(device)
        net.local_gradients(x.to(device), y.to(device), torch.zeros_like)
        found.append([p.grad.cpu() for p in net.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-13)
