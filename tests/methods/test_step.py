"""Preparing a step trains on nothing, running statistics included."""

import copy

import pytest
import torch

from albench.engines.engine import intra_op_threads
from albench.methods.step import CompiledGraphStep, CompiledStep, Step
from tests.networks.tiny import TWINS, image_batches

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def _not_really_compiled(monkeypatch):
    """Take the function for the compiled one: what counts here is what is run around it."""
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)


@pytest.mark.usefixtures("_not_really_compiled")
@pytest.mark.parametrize("kind", [CompiledStep, CompiledGraphStep])
def test_a_prepared_step_moves_batchnorm_as_often_as_a_plain_one(kind):
    net = TWINS["resnet"]()
    data = image_batches(3, ragged=4)
    states = []
    for step_class in (Step, kind):
        network = copy.deepcopy(net)
        step = step_class(network, torch.optim.Adam(network.parameters(), lr=1e-3, fused=True))
        with intra_op_threads(1):
            losses = [step(x, y).item() for x, y in data]
        states.append((network.state_dict(), losses))
    (plain, plain_losses), (prepared, losses) = states
    assert losses == plain_losses
    assert [name for name in plain if not torch.equal(plain[name], prepared[name])] == []
