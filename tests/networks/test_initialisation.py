"""Initial weights: He-normal, from generators that depend on seed and component and on nothing else."""

import dataclasses

import pytest
import torch

from albench.errors import UsageError
from albench.networks import NetworkSpec, associated_network
from albench.networks.initialisation import component_generator, he_linear


def test_initial_weights_are_he_normal_with_zero_biases():
    layer = he_linear(400, 500, component_generator(0, 0))
    assert not layer.bias.any()
    assert layer.weight.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.01)
    assert layer.weight.mean().item() == pytest.approx(0, abs=1e-3)


def test_generators_differ_by_seed_and_by_component_and_repeat():
    def first(seed, component):
        return torch.rand(4, generator=component_generator(seed, component)).tolist()

    drawn = {tuple(first(seed, component)) for seed in range(20) for component in range(20)}
    assert len(drawn) == 400
    assert first(3, 5) == first(3, 5)
    assert first(1, 11) != first(11, 1), "seed and component must not be interchangeable"


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_a_scale_is_for_the_sigmoid_layers_and_leaves_f_alone(name):
    spec = NetworkSpec(name=name, input_shape=(1, 8, 8), classes=3, width=5, hidden_layers=8, bridge_width=7)
    one, half = (associated_network(dataclasses.replace(spec, initial_scale=scale)) for scale in (1.0, 0.5))
    for (path, weight), (_, scaled) in zip(one.named_parameters(), half.named_parameters(), strict=True):
        part = path.split(".")[2]
        assert part in ("f", "b", "g", "h")
        expected = weight if part == "f" or weight.ndim == 1 else 0.5 * weight
        assert torch.equal(scaled, expected), path


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_none_is_refused(scale):
    with pytest.raises(UsageError, match="initial_scale is .*: give a number above 0"):
        NetworkSpec(input_shape=(4,), classes=3, width=5, hidden_layers=2, initial_scale=scale)


@pytest.mark.parametrize("seed", [0, -1, 2**40, 2**70])
def test_any_whole_number_is_a_seed(seed):
    component_generator(seed, 0)


def test_neither_torchs_random_state_nor_an_earlier_draw_matters():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = he_linear(6, 4, component_generator(7, 0))
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    assert torch.equal(one.weight, he_linear(6, 4, component_generator(7, 0)).weight)
