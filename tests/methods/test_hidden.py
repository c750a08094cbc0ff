"""Hidden outputs: every layer of a prediction once, in order, as the prediction computes it, and nothing changed."""

import pytest
import torch
from torch import nn

from albench.errors import UsageError
from albench.methods import make_trainer
from albench.methods.hidden import hidden_outputs
from albench.methods.trainer import TrainerOptions
from albench.networks import associated_mlp, mlp

SIZES = {"in_features": 12, "width": 9, "hidden_layers": 4, "classes": 5, "bridge_width": 7, "seed": 3}
X = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(0))


def test_a_folded_network_goes_up_by_f_and_down_by_h():
    net = associated_mlp(**SIZES)
    found = hidden_outputs(net, X)
    assert [name for name, _ in found] == ["f_1", "f_2", "b_2", "h_2", "h_1"]
    assert [tuple(value.shape) for _, value in found] == [(6, 9)] * 4 + [(6, 5)]
    f, g = net.components
    by_hand = [f.f(X), g.f(f.f(X)), g.b(g.f(f.f(X)))]
    for (_, value), expected in zip(found, by_hand, strict=False):
        assert torch.equal(value, expected)
    assert torch.equal(found[-1][1], net(X))
    assert not found[0][1].requires_grad


def test_a_twin_has_as_many_layers_as_its_table_says():
    """1024, 1024, 5120, 1024, 1024 and 10 in the paper: five hidden layers and the scores."""
    net = mlp(**SIZES)
    found = hidden_outputs(net, X)
    assert [name for name, _ in found] == ["layer 1", "layer 2", "layer 3", "layer 4", "layer 5", "output"]
    assert [value.shape[1] for _, value in found] == [9, 9, 7, 9, 9, 5]
    assert torch.equal(found[0][1], torch.relu(net[1](X.flatten(1))))
    assert torch.equal(found[-1][1], net(X))


def test_dtp_shows_the_layers_that_predict():
    options = TrainerOptions(engine="eager", **{**SIZES, "hidden_layers": 2})
    trainer = make_trainer("dtp", options)
    found = hidden_outputs(trainer.network, X)
    assert [name for name, _ in found] == ["layer 1", "layer 2", "layer 3", "output"]
    assert torch.equal(found[-1][1], trainer.predict(X))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x):
        return torch.relu(x + self.conv(x))


def test_images_are_flattened_blocks_are_layers_and_sequences_may_be_nested():
    torch.manual_seed(0)
    stage = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ELU(), Block())
    net = nn.Sequential(stage, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3), nn.Dropout())
    x = torch.randn(4, 1, 8, 8)
    net(x)  # so that running statistics are not those of any mini-batch
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net[0][1].eval()
    modes = [module.training for module in net.modules()]
    found = hidden_outputs(net, x)
    assert [(name, value.shape[1]) for name, value in found] == [("layer 1", 72), ("layer 2", 72), ("output", 3)]
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(found[-1][1], net.eval()(x))


def test_a_sigmoid_at_the_end_is_the_output_and_no_layer_before_it():
    net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2), nn.Sigmoid())
    assert [name for name, _ in hidden_outputs(net, torch.zeros(1, 4))] == ["layer 1", "output"]


def test_a_network_that_hides_its_layers_is_refused():
    with pytest.raises(UsageError, match="Linear does not tell its layers"):
        hidden_outputs(nn.Linear(3, 2), torch.zeros(1, 3))
