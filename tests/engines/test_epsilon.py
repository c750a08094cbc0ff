"""TensorFlow's ε: the update that the authors' optimizer makes, on every engine that can make it, and on no other.

Weights here are so small, and so near their targets, that gradients come near ε: elsewhere it shows in no digit.
"""

import numpy as np
import pytest
import torch

from albench.engines import make_engine
from albench.engines.adam import EPSILON, tensorflow_epsilon
from albench.errors import UsageError
from tests.associated.by_hand import train
from tests.engines.made_up import assert_bitwise_equal, batches, largest_difference, network, trained

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("_cpu_twins")]


def small(*, hidden_layers=6):
    net = network(hidden_layers, dtype=torch.float64)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1e-6)
    return net


def data(count):
    return [(1e-6 * x, y) for x, y in batches(count, dtype=torch.float64)]


def test_it_begins_large_and_goes_down_to_torchs():
    assert tensorflow_epsilon(1) == pytest.approx(EPSILON / 0.001**0.5, rel=1e-9)
    assert tensorflow_epsilon(100_000) == EPSILON


@pytest.mark.parametrize("epsilon", ["torch", "tensorflow"])
def test_the_update_is_tensorflows_to_the_sixth_digit(epsilon):
    net = small()
    expected, _ = train(net, data(12), rate_at=lambda k: 1e-3, epsilon=epsilon)
    other, _ = train(net, data(12), rate_at=lambda k: 1e-3, epsilon="torch" if epsilon != "torch" else "tensorflow")
    with make_engine("serial", net, learning_rate=1e-3, epsilon=epsilon, distinct_targets=False) as engine:
        engine.fit(data(12))
    apart = 0.0
    for component, values, others in zip(net.components, expected, other, strict=True):
        for name, parameter in component.named_parameters():
            found, norm = parameter.detach().numpy(), np.linalg.norm(values[name])
            assert np.linalg.norm(found - values[name]) <= 1e-6 * norm, name
            apart = max(apart, np.linalg.norm(found - others[name]) / norm)
    assert apart > 1e-3, "else this could not tell one from the other"


@pytest.mark.parametrize("name", ["threads", "ranks", "streams"])
def test_every_engine_that_counts_updates_ends_with_the_serial_bits(name):
    """In two calls of fit, so that counting goes on from one to the next."""
    options = {"epsilon": "tensorflow", "learning_rate": 1e-3}
    serial, losses = trained("serial", data(9), net=small(), **options)
    other, found = trained(name, data(9), net=small(), fits=2, lanes=2, **options)
    assert_bitwise_equal(serial, other)
    assert losses == found
    assert largest_difference(serial, trained("serial", data(9), net=small(), learning_rate=1e-3)[0]) > 1e-3


@pytest.mark.parametrize("name", ["serial", "threads", "ranks", "streams"])
def test_a_resumed_run_counts_on(name):
    options = {"epsilon": "tensorflow", "learning_rate": 1e-3}
    whole, _ = trained("serial", data(9), net=small(), **options)
    with make_engine(name, small(), lanes=2, **options) as engine:
        fresh = engine.state_dict()
        engine.fit(data(9)[:4])
        state = engine.state_dict()
        engine.load_state_dict(fresh)  # and back, as after a warm-up
        engine.fit(data(9)[:4])
        assert_bitwise_equal(state, engine.state_dict())
    with make_engine(name, small(), lanes=2, **options) as engine:
        engine.load_state_dict(state)
        engine.fit(data(9)[4:])
        assert_bitwise_equal(whole, engine.state_dict())


@pytest.mark.parametrize("name", ["fused", "graph"])
def test_engines_that_cannot_are_refused(name):
    with pytest.raises(UsageError, match=f"epsilon is 'tensorflow' and engine '{name}' .*: give epsilon 'torch', or"):
        make_engine(name, network(4), epsilon="tensorflow")


def test_an_unknown_one_is_refused():
    with pytest.raises(UsageError, match='epsilon is \'keras\': give "torch" or "tensorflow"'):
        make_engine("serial", network(4), epsilon="keras")
