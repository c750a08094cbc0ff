"""The reverse pass that is written out must be the one that autograd finds."""

import pytest
import torch
from torch import nn

from albench.engines.chain import Bound, Chain, StackedLinear

COMPONENTS, ROWS = 3, 6


def linear(units_in, units_out):
    bound = Bound()
    bound.parameters = {
        "made.weight": torch.randn(COMPONENTS, units_in, units_out, dtype=torch.float64, requires_grad=True),
        "made.bias": torch.randn(COMPONENTS, 1, units_out, dtype=torch.float64, requires_grad=True),
    }
    return StackedLinear(bound, "made")


@pytest.mark.parametrize(
    "activation", [nn.Sigmoid(), nn.Tanh(), nn.ReLU(), nn.ELU(), nn.ELU(alpha=0.3)], ids=lambda layer: repr(layer)
)
@pytest.mark.parametrize("layers", ["one", "two", "flattened", "activation first", "linear last", "two activations"])
def test_reverse_is_autograd(activation, layers):
    made = {
        "one": lambda: [linear(4, 5), activation],
        "two": lambda: [linear(4, 7), activation, linear(7, 5), activation],
        "flattened": lambda: [nn.Flatten(2), linear(4, 5), activation],
        "activation first": lambda: [activation, linear(4, 5)],
        "linear last": lambda: [linear(4, 3), activation, linear(3, 5)],
        "two activations": lambda: [linear(4, 5), activation, activation],
    }[layers]()
    chain = Chain(made)
    shape = (COMPONENTS, ROWS, 2, 2) if layers == "flattened" else (COMPONENTS, ROWS, 4)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    linears = [layer for layer in made if isinstance(layer, StackedLinear)]
    leaves = [t for layer in linears for t in layer.bound.parameters.values()]
    expected_output = chain(x)
    seed = torch.randn_like(expected_output)
    by_x, *by_leaves = torch.autograd.grad(expected_output, [x, *leaves], seed)
    with torch.no_grad():
        output, kept = chain.forward_kept(x)
        gradient = chain.reverse(kept, seed)
    torch.testing.assert_close(output, expected_output, rtol=0, atol=0)
    torch.testing.assert_close(gradient, by_x, rtol=1e-12, atol=1e-14)
    found = [g for layer in linears for g in layer.bound.gradients.values()]
    for one, other in zip(found, by_leaves, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_without_the_input_gradient_the_layers_still_get_theirs():
    chain = Chain([linear(4, 5), nn.Sigmoid()])
    x = torch.randn(COMPONENTS, ROWS, 4, dtype=torch.float64)
    with torch.no_grad():
        output, kept = chain.forward_kept(x)
        seed = torch.randn_like(output)
        chain.reverse(kept, seed)
        expected = dict(chain.layers[0].bound.gradients)
        chain.reverse(kept, seed, input_gradient=False)
    assert all(
        torch.equal(a, b) for a, b in zip(chain.layers[0].bound.gradients.values(), expected.values(), strict=True)
    )


def test_each_component_has_its_own_weights():
    """One component's input moves neither another's output nor another's gradient."""
    chain = Chain([linear(4, 5), nn.Tanh()])
    x = torch.randn(COMPONENTS, ROWS, 4, dtype=torch.float64)
    other = x.clone()
    other[1] += 1
    outputs, gradients = [], []
    for given in (x, other):
        with torch.no_grad():
            output, kept = chain.forward_kept(given)
            chain.reverse(kept, torch.ones_like(output))
        outputs.append(output)
        gradients.append(chain.layers[0].bound.gradients["made.weight"])
    for k in range(COMPONENTS):
        assert torch.equal(outputs[0][k], outputs[1][k]) == (k != 1)
        assert torch.equal(gradients[0][k], gradients[1][k]) == (k != 1)


def test_layers_whose_derivative_is_no_function_of_their_output_are_not_accepted():
    assert all(
        map(
            Chain.accepts, (StackedLinear(Bound(), "made"), nn.Flatten(2), nn.ELU(), nn.Sigmoid(), nn.ReLU(), nn.Tanh())
        )
    )
    assert not any(map(Chain.accepts, (nn.GELU(), nn.SiLU(), nn.Linear(2, 2), nn.Dropout(), nn.Softplus())))
