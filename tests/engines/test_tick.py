"""The prepared tick: whatever its idle slots compute stays without effect, and what enters it travels on."""

import pytest
import torch

from albench.engines import EngineOptions
from albench.engines.engine import Input
from albench.engines.stack import Stack
from albench.engines.tick import Tick, layout_of
from tests.engines.made_up import batches, network

pytestmark = pytest.mark.timeout(120)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


def made(device="cpu", *, hidden_layers=8):
    net = network(hidden_layers).to(device)
    x, y = (t.to(device) for t in batches(1)[0])
    item = Input(0, x, net.first_target(y, dtype=x.dtype, distinct_targets="auto"))
    stacks = [Stack(net.components[:1], EngineOptions()), Stack(net.components[1:], EngineOptions())]
    for stack in stacks:
        stack.gather()
    return stacks, item


def snapshot(stacks):
    return [buffer.clone() for stack in stacks for buffer in stack.buffers]


def changed(stacks, before):
    """Return the components whose weights, moments or steps have changed, and check that these change together."""
    found, first = set(), 0
    for s, stack in enumerate(stacks):
        for slot in range(len(stack)):
            pairs = zip(stack.buffers, before[4 * s : 4 * s + 4], strict=True)
            differs = [not torch.equal(now[slot], then[slot]) for now, then in pairs]
            assert len(set(differs)) == 1
            if differs[0]:
                found.add(first + slot)
        first += len(stack)
    return found


@pytest.mark.parametrize("device", DEVICES)
def test_making_one_changes_nothing(device):
    """Capturing runs the bodies for real, the steady one with nothing in the pipeline."""
    stacks, item = made(device)
    before = snapshot(stacks)
    tick = Tick(stacks, item, compiled=False)
    assert changed(stacks, before) == set()
    assert tick.active_slots == 0
    assert tick.recordings == 2


@pytest.mark.parametrize("device", DEVICES)
def test_only_slots_with_a_mini_batch_train(device):
    stacks, item = made(device)
    tick = Tick(stacks, item, compiled=False)
    seen = []
    for enters in (True, True, False, False, True, False, False, False, False):
        before = snapshot(stacks)
        if enters:
            tick.enter(item, 1e-3)
        tick.run()
        seen.append(changed(stacks, before))
    assert seen == [{0}, {0, 1}, {1, 2}, {2, 3}, {0, 3}, {1}, {2}, {3}, set()]


def test_rubbish_in_idle_slots_stays_there():
    """NaN too, which a product with zero would let through."""
    stacks, item = made()
    tick = Tick(stacks, item, compiled=False)
    before = snapshot(stacks)
    for features in tick._features:
        features.fill_(torch.nan)
    tick.run()
    assert changed(stacks, before) == set()
    tick.enter(item, 1e-3)
    tick.run()
    assert changed(stacks, before) == {0}
    assert all(torch.isfinite(buffer).all() for stack in stacks for buffer in stack.buffers)


@pytest.mark.parametrize("device", DEVICES)
def test_a_rate_travels_with_its_mini_batch(device):
    """The first update of Adam moves every weight by its rate (twice that in g and h), whatever the gradient."""
    stacks, item = made(device)
    tick = Tick(stacks, item, compiled=False)
    for k in range(3):
        rate = 10.0 ** -(k + 2)
        before = snapshot(stacks)
        tick.enter(item, rate)
        tick.run()
        for i, stack, slot in [(0, stacks[0], 0), (1, stacks[1], 0), (2, stacks[1], 1)]:
            if stack.steps[slot] == 1 and i == k:
                # Component i's first mini-batch is 0, which came at the rate of k = 0.
                moved = (stack._weights[slot] - before[0 if i == 0 else 4][slot]).abs().max()
                assert moved.item() == pytest.approx(2 * 1e-2, rel=1e-2)


def test_a_reset_forgets_what_is_under_way():
    stacks, item = made()
    tick = Tick(stacks, item, compiled=False)
    tick.enter(item, 1e-3)
    tick.run()
    tick.reset()
    before = snapshot(stacks)
    tick.run()
    assert changed(stacks, before) == set()


def test_layouts_tell_apart_what_cannot_share_buffers():
    net = network(4)
    (x, y), (short_x, short_y) = batches(1, ragged=3)
    plain = {"dtype": x.dtype, "distinct_targets": False}
    shared = {"dtype": x.dtype, "distinct_targets": True}
    layouts = [
        layout_of(x, net.first_target(y, **plain)),
        layout_of(x, net.first_target(y, **shared)),
        layout_of(short_x, net.first_target(short_y, **plain)),
        layout_of(short_x, net.first_target(short_y, **shared)),
    ]
    assert len(set(layouts)) == 4
    assert layout_of(x.unsqueeze(0), y.unsqueeze(0), skip=1) == layout_of(x, y)
