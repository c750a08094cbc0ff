"""Metafeatures: the layers of the network that a run left, over all that is held out, in its order."""

import numpy as np
import pytest
import torch
from rich.console import Console

from albench.analysis.class_distance import class_distances
from albench.data import load_dataset
from albench.errors import UsageError
from albench.harness import checkpoint
from albench.methods import make_trainer
from albench.methods.hidden import hidden_outputs
from albench.methods.trainer import TrainerOptions
from albench.reproduction import execution, metafeatures
from albench.reproduction.metafeatures import TrainedNetwork, find_distances
from albench.reproduction.plan import RunPlan, planned_runs, target_named
from albench.reproduction.runs import Choices, directory_of, read_distances, recipe_for, write_distances

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("tiny_recipes")]
CHOICES = Choices(epochs=1)


def trained(plan, out, choices=CHOICES):
    console = Console(quiet=True)
    execution.train_all(
        [plan], choices, out, data_dir=None, console=console, plain=True, command="x", after_each=lambda: None
    )
    return TrainedNetwork(recipe_for(plan, choices), directory_of(out, plan), data_dir=None)


@pytest.mark.parametrize("method", ["al", "bp", "dtp"])
def test_layers_are_those_of_the_run_s_own_network(method, tmp_path, monkeypatch):
    monkeypatch.setattr(metafeatures, "CHUNK", 100)  # several chunks of the digits' 360
    plan = RunPlan(dataset="mnist", network="mlp", method=method)
    with trained(plan, tmp_path) as network:
        digits = load_dataset("digits")
        options = TrainerOptions(
            engine="serial" if method == "al" else "eager",
            in_features=64, classes=10, width=8, hidden_layers=4, bridge_width=10,
        )  # fmt: skip
        trainer = make_trainer(method, options)
        trainer.load_state_dict(checkpoint.read(directory_of(tmp_path, plan)).state)
        expected = dict(hidden_outputs(trainer.network, digits.held_out_x))
        rows = np.array([0, 3, 99, 100, 101, 250, 359])
        raw, layers = network.layers(list(expected), rows)
        assert np.array_equal(raw, digits.held_out_x.flatten(1)[torch.from_numpy(rows)].numpy())
        assert list(layers) == list(expected)
        for name, value in layers.items():
            np.testing.assert_allclose(value, expected[name].numpy()[rows], rtol=1e-5, atol=1e-6)
        found = network.distances()
        last = list(expected.values())[-1]
        by_hand = class_distances(last.numpy(), digits.held_out_y.numpy())
        assert (found.inter, found.intra) == pytest.approx((by_hand.inter, by_hand.intra), rel=1e-5)
        assert (network.labels == digits.held_out_y.numpy()).all()
        with pytest.raises(UsageError, match="no layer 'f_9': it has "):
            network.layers(["f_9"], rows)


@pytest.mark.parametrize("figure", ["figure5", "figure6"])
def test_networks_have_the_layers_that_figures_show(figure, tmp_path):
    for plan in planned_runs(figure, seeds=[0]):
        with trained(plan, tmp_path) as network:
            names = target_named(figure).layers.of_method[plan.method]
            raw, layers = network.layers(names, np.arange(20))
            assert raw.shape == (20, 64)
            assert list(layers) == list(names)


def test_distances_are_found_once_and_again_after_more_epochs(tmp_path, monkeypatch):
    plan = RunPlan(dataset="cifar10", network="mlp", method="dtp")
    trained(plan, tmp_path)
    directory = directory_of(tmp_path, plan)
    find_distances([plan, *planned_runs("table7")], CHOICES, tmp_path, data_dir=None)
    first = read_distances(directory, 1)
    assert first.inter > 0
    write_distances(directory, 1, first.__class__(inter=5.0, intra=1.0))
    find_distances([plan], CHOICES, tmp_path, data_dir=None)
    assert read_distances(directory, 1).inter == 5.0, "not found again"
    more = Choices(epochs=3)
    trained(plan, tmp_path, more)
    find_distances([plan], more, tmp_path, data_dir=None)
    assert read_distances(directory, 3).inter not in (5.0, first.inter)


def test_a_run_without_a_checkpoint_is_refused(tmp_path):
    plan = RunPlan(dataset="mnist", network="mlp", method="bp")
    with pytest.raises(UsageError, match="has no checkpoint: train the run first"):
        TrainedNetwork(recipe_for(plan), tmp_path, data_dir=None)
