"""A run that was stopped goes on as if it had not been, bit by bit; and only that run does."""

import io
import itertools
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from albench.data import load_dataset
from albench.data.augmentation import augmentation_named
from albench.data.dataset import Dataset
from albench.errors import UsageError
from albench.harness import checkpoint, epoch_log, keeping, training
from albench.harness.keeping import Place
from albench.harness.rates import RateStep
from albench.harness.recipe_file import recipe_of
from albench.harness.training_run import TrainingRun

pytestmark = pytest.mark.timeout(120)

STEPS = (RateStep(at=0.3, factor=0.5), RateStep(at=0.8, factor=0.1))
SMALL = {"width": 12, "batch_size": 64, "epochs": 4, "learning_rate": 0.01, "lanes": 2}


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads that share operators this small wait for each other, where other tests run beside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def recipe(method="al", **changes):
    return recipe_of(None, method=method, **SMALL | changes)


def train(chosen, directory=None, *, said=None, **place):
    console = Console(quiet=True) if said is None else Console(file=said, width=200)
    kept = Place(directory=directory, **place) if directory is not None else None
    return training.train(chosen, data_dir=None, console=console, plain=True, place=kept)


def bits(directory):
    """Return every tensor of the last checkpoint by name, and what is no tensor."""
    tensors, others = {}, {}

    def walk(name, value):
        if isinstance(value, dict):
            for key, one in value.items():
                walk(f"{name}.{key}", one)
        elif isinstance(value, list):
            for i, one in enumerate(value):
                walk(f"{name}.{i}", one)
        else:
            (tensors if isinstance(value, torch.Tensor) else others)[name] = value

    walk("", checkpoint.read(directory)._replace(seconds=0.0)._asdict())
    return tensors, others


def assert_same_run(one, other):
    (first, numbers), (second, same_numbers) = bits(one), bits(other)
    assert numbers == same_numbers
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    fields = ("epoch", "minibatches", "losses", "training_accuracy", "held_out_accuracy", "learning_rate")
    found = [[[getattr(e, f) for f in fields] for e in epoch_log.read(d).epochs] for d in (one, other)]
    assert found[0] == found[1]


class Stopped(BaseException):
    """As by Ctrl-C."""


def stop_at(monkeypatch, where, number):
    """Stop before the `number`-th call, counted from 0, of a function: a module and a name."""
    calls = itertools.count()
    module, name = where
    own = getattr(module, name)

    def stopping(*arguments, **options):
        if next(calls) == number:
            raise Stopped
        return own(*arguments, **options)

    monkeypatch.setattr(module, name, stopping)


PLACES = {
    "while training": (training, "train_epoch"),
    "after the line": (checkpoint, "write"),
    "while evaluating": (training, "held_out_accuracy"),
}
WAYS = {
    "al serial": {"method": "al", "engine": "serial", "rate_steps": STEPS, "epsilon": "tensorflow"},
    "al threads": {"method": "al", "engine": "threads", "rate_steps": STEPS, "weight_decay": 1e-3},
    "al ranks": {"method": "al", "engine": "ranks"},
    "bp": {"method": "bp", "rate_steps": STEPS, "epsilon": "tensorflow", "weight_decay": 1e-3, "lanes": 1},
    "dtp": {"method": "dtp", "rate_steps": STEPS, "lanes": 1},
}


@pytest.mark.parametrize(
    ("way", "where"),
    [("al serial", place) for place in PLACES] + [(way, "while training") for way in WAYS if way != "al serial"],
)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(way, where, tmp_path, monkeypatch):
    chosen = recipe(**WAYS[way])
    whole = train(chosen, tmp_path / "whole")
    with monkeypatch.context() as broken:
        stop_at(broken, PLACES[where], 2)
        with pytest.raises(Stopped):
            train(chosen, tmp_path / "stopped")
    assert checkpoint.read(tmp_path / "stopped").epoch == 2
    assert len(epoch_log.read(tmp_path / "stopped").epochs) == (3 if where == "after the line" else 2)
    assert train(chosen, tmp_path / "stopped", resume=True, command="again") == whole
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")
    log = epoch_log.read(tmp_path / "stopped")
    assert [(one.epoch, one.command) for one in log.resumed] == [(2, "again")]
    assert [one.seconds for one in log.epochs] == sorted({one.seconds for one in log.epochs})


@pytest.mark.parametrize("method", ["al", "bp"])
def test_images_batchnorm_and_augmentation_go_on_too(method, tmp_path, monkeypatch):
    """Running statistics are part of the run; what is drawn for a mini-batch depends on which one it is."""
    generator = torch.Generator().manual_seed(1)
    images = Dataset(
        name="made-up",
        stored_train_x=torch.randn(40, 3, 8, 8, generator=generator),
        train_y=torch.randint(4, (40,), generator=generator),
        stored_held_out_x=torch.randn(12, 3, 8, 8, generator=generator),
        held_out_y=torch.randint(4, (12,), generator=generator),
        classes=4,
        augmentation=augmentation_named("jitter"),
    )
    monkeypatch.setattr(
        training, "load_dataset", lambda *_, **asked: images if asked["augmentation"] == "jitter" else 0
    )
    chosen = recipe(method, network="resnet20", batch_size=16, augmentation="jitter", decayed="convolutions",
                    weight_decay=0.1, lanes=1, width=5, epochs=3)  # fmt: skip
    assert chosen.hidden_layers == 8
    whole = train(chosen, tmp_path / "whole")
    with monkeypatch.context() as broken:
        stop_at(broken, PLACES["while training"], 2)
        with pytest.raises(Stopped):
            train(chosen, tmp_path / "stopped")
    assert train(chosen, tmp_path / "stopped", resume=True) == whole
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")
    assert any(name.endswith("running_mean") for name in bits(tmp_path / "whole")[0])


ON_A_DEVICE = {
    "al graph": {"method": "al", "engine": "graph", "rate_steps": STEPS, "weight_decay": 1e-3},
    "al streams": {"method": "al", "engine": "streams", "rate_steps": STEPS, "epsilon": "tensorflow"},
    "bp": {"method": "bp", "engine": "eager", "rate_steps": STEPS, "epsilon": "tensorflow"},
    "bp graph": {"method": "bp", "engine": "graph", "rate_steps": STEPS, "weight_decay": 1e-3},
}


@pytest.mark.cuda
@pytest.mark.parametrize("way", ON_A_DEVICE)
def test_on_a_device_too(way, tmp_path, monkeypatch):
    """Where steps are recorded, and what a file brings must come to lie where the recording reads it."""
    chosen = recipe(**ON_A_DEVICE[way], device="cuda", **({"lanes": 1} if way.startswith("bp") else {}))
    whole = train(chosen, tmp_path / "whole")
    with monkeypatch.context() as broken:
        stop_at(broken, PLACES["while training"], 2)
        with pytest.raises(Stopped):
            train(chosen, tmp_path / "stopped")
    assert train(chosen, tmp_path / "stopped", resume=True) == whole
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_a_run_that_is_kept_ends_as_one_that_is_not(tmp_path):
    """Neither log nor checkpoint nor the whole training set's accuracy changes anything."""
    assert train(recipe(), tmp_path) == train(recipe())


def test_stopped_again_and_again_and_before_the_first_checkpoint(tmp_path, monkeypatch):
    train(recipe(), tmp_path / "whole")
    for epoch in (0, 0, 1, 0, 1):  # counted from where each begins
        with monkeypatch.context() as broken:
            stop_at(broken, PLACES["while training"], epoch)
            with pytest.raises(Stopped):
                train(recipe(), tmp_path / "stopped", resume=True)
    train(recipe(), tmp_path / "stopped", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")
    assert [one.epoch for one in epoch_log.read(tmp_path / "stopped").resumed] == [1, 1, 2]


def test_fewer_checkpoints_lose_more_and_change_nothing(tmp_path, monkeypatch):
    chosen = recipe(epochs=5)
    train(chosen, tmp_path / "whole")
    with monkeypatch.context() as broken:
        stop_at(broken, PLACES["while training"], 3)
        with pytest.raises(Stopped):
            train(chosen, tmp_path / "stopped", every=2)
    assert checkpoint.read(tmp_path / "stopped").epoch == 2
    assert len(epoch_log.read(tmp_path / "stopped").epochs) == 3
    train(chosen, tmp_path / "stopped", every=2, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")
    assert checkpoint.read(tmp_path / "stopped").epoch == 5, "the last epoch has one too"


def test_the_header_says_what_is_trained_on_what_and_each_line_what_came_of_it(tmp_path):
    chosen = recipe(rate_steps=STEPS, seed=7)
    train(chosen, tmp_path, command="albench train --out here")
    log = epoch_log.read(tmp_path)
    header = log.header
    assert header.settings == chosen.settings() | {"training_instances": 1437}
    assert (header.settings["seed"], header.settings["lanes"], header.command) == (7, 2, "albench train --out here")
    assert torch.__version__.startswith(header.environment["packages"]["torch"])
    assert (header.training_instances, header.held_out_instances, header.components) == (1437, 360, 2)
    assert (header.effective_parameters > 0, header.affiliated_parameters > 0) == (True, True)
    ends = [-(-epoch * 1437 // 64) for epoch in range(1, 5)]
    assert [one.minibatches for one in log.epochs] == ends, "the last instance of an epoch ends it"
    assert header.scenario.minibatches == ends[-1] == 90
    assert [one.learning_rate for one in log.epochs] == pytest.approx([0.01, 0.005, 0.005, 0.0005])
    assert all(0 < one.training_accuracy <= 1 and 0 < one.held_out_accuracy <= 1 for one in log.epochs)
    assert all(one.samples_per_second > 0 and one.evaluation_seconds > 0 for one in log.epochs)


def test_a_finished_run_goes_on_where_no_step_of_the_rate_goes_by_its_length(tmp_path):
    longer = train(recipe(epochs=4), tmp_path / "whole")
    train(recipe(epochs=2), tmp_path / "longer")
    assert train(recipe(epochs=4), tmp_path / "longer", resume=True) == longer
    first, second = (epoch_log.read(tmp_path / name).epochs for name in ("whole", "longer"))
    assert [one.losses for one in first] == [one.losses for one in second]
    train(recipe(epochs=2, rate_steps=STEPS), tmp_path / "stepped")
    with pytest.raises(UsageError, match="its rate goes down at shares of all epochs, so that is another run"):
        train(recipe(epochs=4, rate_steps=STEPS), tmp_path / "stepped", resume=True)


def test_a_finished_run_is_not_trained_again(tmp_path, monkeypatch):
    reached = train(recipe(epochs=2), tmp_path)
    before = (tmp_path / epoch_log.FILE_NAME).read_bytes()
    monkeypatch.setattr(training, "make_trainer", lambda *_: pytest.fail("nothing is left to train"))
    assert train(recipe(epochs=2), tmp_path, resume=True) == reached
    assert (tmp_path / epoch_log.FILE_NAME).read_bytes() == before
    with pytest.raises(UsageError, match="holds a run of 2 epochs and epochs is 1: give at least as many"):
        train(recipe(epochs=1), tmp_path, resume=True)


def test_what_was_read_is_forgotten_once_it_is_loaded(tmp_path):
    """Of a large network it is gigabytes, and training lasts for days."""
    train(recipe(epochs=1), tmp_path)
    keeper = keeping.Keeper(
        Place(directory=tmp_path, resume=True), TrainingRun(recipe(epochs=2), load_dataset("digits"))
    )
    loaded = []
    keeper.restore(SimpleNamespace(load_state_dict=loaded.append))
    assert loaded[0]["format"] == "albench-engine"
    assert (keeper.saved.epoch, keeper.saved.state) == (1, {})


def test_a_place_that_is_taken_is_left_alone(tmp_path):
    train(recipe(epochs=1), tmp_path)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=r"holds a run already \(epochs.jsonl\): give --resume to go on with it"):
        train(recipe(epochs=1), tmp_path)
    with pytest.raises(UsageError, match="whose width was 12 and is now 16"):
        train(recipe(epochs=1, width=16), tmp_path, resume=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda state: state._replace(state={"format": "other"}), "does not fit this run .*: remove it to begin anew"),
        (lambda state: state._replace(minibatches=7), "has done 7 mini-batches by epoch 1, and this run 23"),
    ],
)
def test_a_checkpoint_that_is_not_of_this_run_is_named(tmp_path, spoil, words):
    train(recipe(epochs=1), tmp_path)
    checkpoint.write(tmp_path, spoil(checkpoint.read(tmp_path)))
    with pytest.raises(UsageError, match=f"{checkpoint.FILE_NAME} {words}"):
        train(recipe(epochs=2), tmp_path, resume=True)


@pytest.mark.filterwarnings("ignore::albench.harness.records.RecordWarning")
def test_a_run_that_lost_its_log_goes_on_without_it(tmp_path):
    train(recipe(), tmp_path / "whole")
    train(recipe(epochs=2), tmp_path / "lost")
    log = tmp_path / "lost" / epoch_log.FILE_NAME
    log.write_bytes(log.read_bytes()[100:])
    with pytest.raises(UsageError, match="a run whose log is removed goes on from its checkpoint"):
        train(recipe(), tmp_path / "lost", resume=True)
    log.unlink()
    train(recipe(), tmp_path / "lost", resume=True)
    (tensors, _), (expected, _) = bits(tmp_path / "lost"), bits(tmp_path / "whole")
    assert [name for name in expected if not torch.equal(tensors[name], expected[name])] == []
    assert [one.epoch for one in epoch_log.read(tmp_path / "lost").epochs] == [3, 4]


def test_another_runs_log_without_a_checkpoint_is_refused_too(tmp_path, monkeypatch):
    stop_at(monkeypatch, PLACES["while training"], 0)
    with pytest.raises(Stopped):
        train(recipe(), tmp_path)
    with pytest.raises(UsageError, match="whose width was 12 and is now 16"):
        train(recipe(width=16), tmp_path, resume=True)


def test_a_method_without_a_state_leaves_a_log_and_says_so(tmp_path):
    said = io.StringIO()
    train(recipe("idle", epochs=2, lanes=None), tmp_path, said=said)
    assert "no checkpoints: no state is kept of Idle" in said.getvalue()
    assert len(epoch_log.read(tmp_path).epochs) == 2
    assert checkpoint.read(tmp_path) is None
    with pytest.raises(UsageError, match="Idle keeps no state to resume from: leave out --resume"):
        train(recipe("idle", epochs=2, lanes=None), tmp_path, resume=True)


def test_what_keeps_nothing_is_refused(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="epochs between checkpoints is 0"):
        Place(directory=tmp_path, every=0)
    monkeypatch.setattr(keeping, "launched_processes", lambda: 3)
    with pytest.raises(UsageError, match="3 processes were launched"):
        Place(directory=tmp_path)
