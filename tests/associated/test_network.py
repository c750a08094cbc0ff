"""The folded network: prediction is Eq. 8, and every parameter is effective or affiliated."""

import torch

from albench.networks import associated_mlp

SIZES = {"in_features": 12, "width": 9, "classes": 5}


def test_prediction_is_equation_8():
    net = associated_mlp(**SIZES, hidden_layers=6)
    x = torch.randn(4, 12)
    first, second, third = net.components
    s = third.f(second.f(first.f(x)))
    expected = first.h(second.h(third.h(third.b(s))))
    assert torch.equal(net(x), expected)
    assert net(x).shape == (4, 5)


def test_only_effective_parameters_decide_a_prediction():
    net = associated_mlp(**SIZES, hidden_layers=6)
    net(torch.randn(3, 12)).sum().backward()
    assert all(p.grad is not None for p in net.effective_parameters())
    assert all(p.grad is None for p in net.affiliated_parameters())


def test_effective_parameters_are_all_f_all_h_and_the_last_b():
    """By name, so that a swap of two parts of the same size is seen."""
    net = associated_mlp(**SIZES, hidden_layers=6, bridge_width=45)
    names = {id(p): name for name, p in net.named_parameters()}
    effective = [names[id(p)] for p in net.effective_parameters()]
    affiliated = [names[id(p)] for p in net.affiliated_parameters()]
    assert {name[: len("components.0.f")] for name in effective} == {
        *(f"components.{i}.{function}" for i in range(3) for function in "fh"),
        "components.2.b",
    }
    assert sorted(effective + affiliated) == sorted(names.values())
    assert not set(effective) & set(affiliated)


def test_first_target_is_in_the_type_that_is_asked_for():
    net = associated_mlp(**SIZES, hidden_layers=2)
    for dtype in (torch.float32, torch.float64):
        assert net.first_target(torch.tensor([0, 4]), dtype=dtype).rows_RW.dtype == dtype
