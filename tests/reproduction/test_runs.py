"""Runs: the package has a recipe for every run of the paper, and what a run came to is read from its folder alone."""

import json
import math

import pytest

from albench.analysis.class_distance import ClassDistances
from albench.errors import UsageError
from albench.harness import epoch_log
from albench.harness.epoch_log import Epoch
from albench.reproduction.plan import TARGETS, RunPlan, planned_runs
from albench.reproduction.runs import (
    DISTANCES_FILE,
    Choices,
    changes_of,
    directory_of,
    epochs_done,
    reached,
    read_distances,
    recipe_for,
    seconds_per_epoch,
    write_distances,
)

AL = RunPlan(dataset="mnist", network="mlp", method="al")


@pytest.mark.parametrize("target", TARGETS)
def test_the_package_has_a_recipe_for_every_run(target):
    for plan in planned_runs(target):
        recipe = recipe_for(plan)
        assert (recipe.dataset, recipe.network, recipe.method, recipe.seed) == (
            plan.dataset, plan.network, plan.method, plan.seed
        )  # fmt: skip
        assert recipe.epochs == 200
        assert changes_of(plan, recipe) == ()


def test_components_are_half_of_the_hidden_layers():
    deep = recipe_for(RunPlan(dataset="mnist", network="mlp", method="al", components=32))
    assert (recipe_for(AL).hidden_layers, deep.hidden_layers) == (4, 64)


def test_choices_go_before_the_recipe_and_are_told():
    choices = Choices(epochs=300, batch_size=256, learning_rate=1e-3, device="cpu", datasets={"mnist": "fashion-mnist"})
    recipe = recipe_for(AL, choices)
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate, recipe.dataset) == (300, 256, 1e-3, "fashion-mnist")
    assert changes_of(AL, recipe) == (
        "batch size 256, not 32", "learning rate 0.001, not 0.0001", "dataset fashion-mnist, not mnist",
        "300 epochs, not 200",
    )  # fmt: skip
    assert changes_of(AL, recipe_for(AL, Choices(epochs=3, datasets={"cifar10": "digits"}))) == ()
    with pytest.raises(UsageError, match="epochs is 0"):
        recipe_for(AL, Choices(epochs=0))


def epoch(number, *, losses, held_out=0.9, seconds=4.0):
    return Epoch(
        epoch=number,
        minibatches=10 * number,
        instances=320 * number,
        seconds=seconds * number,
        samples_per_second=80.0,
        learning_rate=1e-4,
        losses=losses,
        training_accuracy=0.95,
        held_out_accuracy=held_out,
    )


class Here:
    """What a log says of a machine."""

    def __init__(self, environment):
        self.environment = environment


CPU = {"cpu": "A processor", "gpus": [{"name": "A GPU"}], "packages": {"torch": "2.15"}}


@pytest.fixture
def logged(monkeypatch, tmp_path):
    """A run whose log says what it is told to."""

    def write(plan, *epochs):
        directory = directory_of(tmp_path, plan)
        directory.mkdir(parents=True)
        (directory / epoch_log.FILE_NAME).write_text("")
        logs[directory] = epoch_log.TrainingLog(header=Here(CPU), epochs=epochs, resumed=(Here(CPU), Here({})))
        return directory

    logs = {}
    monkeypatch.setattr(epoch_log, "read", lambda directory: logs[directory])
    return write


def test_a_run_is_what_its_last_epoch_says(logged):
    losses = [{"associated": 1e-3, "autoencoder": 2e-3}, {"associated": None, "autoencoder": 1e-9}]
    directory = logged(AL, epoch(1, losses=losses, held_out=0.1), epoch(2, losses=losses, held_out=0.97))
    run = reached(AL, recipe_for(AL, Choices(epochs=5)), directory)
    assert (run.epochs, run.planned_epochs, run.recipe_epochs, run.seconds) == (2, 5, 200, 8.0)
    assert math.isnan(run.values.pop(("associated loss", 2)))
    assert run.values == {
        ("test accuracy", None): 0.97,
        ("training accuracy", None): 0.95,
        ("associated loss", 1): 1e-3,
    }
    assert epochs_done(directory) == 2
    assert run.machine == "A processor, torch 2.15; then an unknown machine, torch of an unknown version"
    on_cuda = reached(AL, recipe_for(AL, Choices(device="cuda")), directory)
    assert on_cuda.machine.startswith("A GPU, torch 2.15; then")


def test_a_run_that_has_not_begun_is_none_and_one_without_an_epoch_has_no_numbers(tmp_path, logged):
    bp = RunPlan(dataset="mnist", network="mlp", method="bp")
    assert reached(bp, recipe_for(bp), directory_of(tmp_path, bp)) is None
    directory = logged(AL)
    begun = reached(AL, recipe_for(AL), directory)
    assert (begun.epochs, begun.values) == (0, {})
    assert epochs_done(directory) == 0
    assert seconds_per_epoch([directory]) is None


def test_the_pace_is_the_mean_over_runs(logged):
    other = RunPlan(dataset="mnist", network="mlp", method="al", seed=1)
    first = logged(AL, epoch(3, losses=[], seconds=4.0))
    second = logged(other, epoch(1, losses=[], seconds=8.0))
    assert seconds_per_epoch([first, second]) == pytest.approx(20 / 4)


def test_class_distances_are_kept_for_the_epoch_that_they_are_of(logged):
    directory = logged(AL, epoch(2, losses=[]))
    write_distances(directory, 2, ClassDistances(inter=0.75, intra=0.5))
    assert read_distances(directory, 2) == ClassDistances(inter=0.75, intra=0.5)
    assert read_distances(directory, 3) is None
    run = reached(AL, recipe_for(AL), directory)
    assert run.values["ratio", None] == 1.5
    for damaged in ["{", json.dumps({"epoch": 2, "inter": 1.0}), "3"]:
        (directory / DISTANCES_FILE).write_text(damaged)
        with pytest.raises(UsageError, match="is damaged: remove it"):
            read_distances(directory, 2)
