"""Which parameters weight decay is for, as the authors' code has it: the kernels of convolutions, in AL those of f."""

import pytest
import torch

from albench.decay import convolution_weights, decay_groups
from albench.engines import make_engine
from albench.errors import UsageError
from albench.networks import associated_cnn, cnn
from tests.engines.made_up import assert_bitwise_equal, batches, network, trained

SIZES = {"input_shape": (2, 8, 8), "width": 6, "classes": 5, "channels": (3, 4), "strides": (1, 2), "seed": 1}


def images(count):
    generator = torch.Generator().manual_seed(3)
    return [
        (torch.randn(8, 2, 8, 8, generator=generator), torch.randint(5, (8,), generator=generator))
        for _ in range(count)
    ]


def names_of(module, parameters):
    wanted = {id(p) for p in parameters}
    return {name for name, p in module.named_parameters() if id(p) in wanted}


def test_of_a_component_the_kernels_of_f_are_decayed_and_nothing_else():
    for component in associated_cnn(**SIZES).components:
        component.decayed = "convolutions"
        groups = component.parameter_groups()
        decayed = [p for group in groups if group.weight_decay for p in group.parameters]
        kernels = {name for name, p in component.f.named_parameters() if p.dim() == 4}
        assert names_of(component, decayed) == {f"f.{name}" for name in kernels}
        assert len(kernels) == 2
        everything = [p for group in groups for p in group.parameters]
        assert len(everything) == len({id(p) for p in everything}) == len(list(component.parameters()))
        rates = {name: group.rate for group in groups for name in names_of(component, group.parameters)}
        assert all((rate == 2) == (name[0] in "gh") for name, rate in rates.items())


def test_of_a_twin_the_kernels_are_decayed():
    net = cnn(**SIZES)
    first, second = decay_groups(net, "convolutions", 1e-3)
    assert [p.dim() for p in first["params"]] == [4] * 4
    assert (first["weight_decay"], second["weight_decay"]) == (1e-3, 0.0)
    assert len(first["params"]) + len(second["params"]) == len(list(net.parameters()))
    (everything,) = decay_groups(net, "all", 1e-3)
    assert everything == {"params": list(net.parameters()), "weight_decay": 1e-3}


def test_where_there_is_no_convolution_nothing_is_decayed():
    def net():
        made = network(4)
        for component in made.components:
            component.decayed = "convolutions"
        return made

    plain, _ = trained("serial", batches(5), net=network(4))
    assert_bitwise_equal(plain, trained("serial", batches(5), net=net(), weight_decay=0.1)[0])
    assert [group["weight_decay"] for group in decay_groups(network(4), "convolutions", 0.1)] == [0.0]
    assert convolution_weights(network(4)) == []


@pytest.mark.parametrize("name", ["threads", "ranks"])
def test_engines_of_several_lanes_decay_the_same_kernels(name):
    """Component and choice go to other processes as they are."""

    def net():
        made = associated_cnn(**SIZES)
        for component in made.components:
            component.decayed = "convolutions"
        return made

    states = []
    for engine, decay in (("serial", 0.1), (name, 0.1), ("serial", 0.0)):
        with make_engine(engine, net(), learning_rate=1e-2, weight_decay=decay, lanes=2) as made:
            made.fit(images(4))
            states.append(made.state_dict())
    assert_bitwise_equal(states[0], states[1])
    with pytest.raises(AssertionError):
        assert_bitwise_equal(states[0], states[2])


def test_an_unknown_choice_is_refused():
    with pytest.raises(
        UsageError, match="unknown kind of decayed parameters 'convolution': did you mean 'convolutions'"
    ):
        decay_groups(cnn(**SIZES), "convolution", 0.1)
