"""Execution: a table's runs are trained once, go on where they were stopped, and other settings are refused at once."""

import pytest
from rich.console import Console

from albench.errors import UsageError
from albench.harness import checkpoint, epoch_log, recipe
from albench.reproduction import execution, metafeatures
from albench.reproduction.plan import planned_runs
from albench.reproduction.runs import Choices, directory_of, epochs_done, reached, read_distances, recipe_for

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("tiny_recipes")]
PLANS = planned_runs("table2", seeds=[0], networks=["mlp"])
CHOICES = Choices()


def train(plans, out, choices=CHOICES, after_each=lambda: None):
    console = Console(quiet=True)
    execution.train_all(
        plans, choices, out, data_dir=None, console=console, plain=True, command="x", after_each=after_each
    )


def outlook(out, plans=PLANS, choices=CHOICES):
    return execution.outlook(plans, choices, out, data_dir=None)


def bits(out):
    return {file: file.read_bytes() for file in sorted(out.rglob("*")) if file.is_file()}


def test_every_run_is_trained_to_its_end_and_not_again(tmp_path):
    before = outlook(tmp_path)
    assert (before.plans, before.finished, before.measured) == (PLANS, 0, True)
    assert 0 < before.seconds < 60
    assert before.words().startswith("Runs: 3 (0 finished, 3 to train), about ")
    assert bits(tmp_path) == {}, "to look ahead leaves nothing behind"
    seen = []
    train(before.plans, tmp_path, after_each=lambda: seen.append(sum(map(epochs_done, folders(tmp_path)))))
    assert seen == [2, 4, 6]
    for plan in PLANS:
        run = reached(plan, recipe_for(plan), directory_of(tmp_path, plan))
        assert (run.epochs, run.changes) == (2, ())
        assert 0 < run.values["test accuracy", None] < 1
    kept = bits(tmp_path)
    after = outlook(tmp_path)
    assert (after.plans, after.finished, after.seconds, after.measured) == ((), 3, 0.0, False)
    assert after.words() == "All runs are finished (3): nothing is left to train."
    train(after.plans, tmp_path)
    assert bits(tmp_path) == kept


def folders(out):
    return [directory_of(out, plan) for plan in PLANS]


def test_what_was_stopped_goes_on(tmp_path):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(PLANS, tmp_path, after_each=stop)
    left = outlook(tmp_path)
    assert (left.plans, left.finished) == (PLANS[1:], 1)
    train(left.plans, tmp_path)
    whole = tmp_path / "whole"
    train(PLANS, whole)
    for plan in PLANS:
        found, expected = (epoch_log.read(directory_of(out, plan)).epochs for out in (tmp_path, whole))
        assert [one.losses for one in found] == [one.losses for one in expected]


def test_a_seed_tells_the_pace_of_the_next(tmp_path):
    train(PLANS[:1], tmp_path)
    both = planned_runs("table2", seeds=[0, 1], networks=["mlp"], methods=["bp"])
    ahead = outlook(tmp_path, both)
    assert (ahead.finished, len(ahead.plans), ahead.measured) == (1, 1, False)
    trained = epoch_log.read(directory_of(tmp_path, both[0])).epochs[-1].seconds
    assert ahead.seconds == pytest.approx(trained)


def test_other_settings_are_refused_before_anything_is_trained(tmp_path):
    train(PLANS[1:2], tmp_path)
    execution.refuse_others(PLANS, CHOICES, tmp_path)
    with pytest.raises(UsageError, match="whose batch size was 128 and is now 64"):
        execution.refuse_others(PLANS, Choices(batch_size=64), tmp_path)
    with pytest.raises(UsageError, match="a run of 2 epochs and epochs is now 5"):
        execution.refuse_others(PLANS, Choices(epochs=5), tmp_path)


def test_runs_go_on_where_there_are_other_cores(tmp_path, tiny_recipes, monkeypatch):
    """Lanes are the machine's choice: who has another one could neither show nor finish what lies there."""
    file = tiny_recipes / "mnist-mlp.toml"
    file.write_text(file.read_text().replace("lanes = 1\n", ""))
    choices = Choices(device="cpu")
    monkeypatch.setattr(recipe, "usable_cores", lambda: 2)
    whole = tmp_path / "whole"
    train(PLANS[:2], whole, choices)
    for plan in PLANS[:2]:
        stopped_before_the_last_checkpoint(plan, tmp_path, monkeypatch, choices)
    monkeypatch.setattr(recipe, "usable_cores", lambda: 1)
    execution.refuse_others(PLANS, choices, tmp_path)
    train(PLANS[:2], tmp_path, choices)
    for plan in PLANS[:2]:
        found, expected = (epoch_log.read(directory_of(out, plan)) for out in (tmp_path, whole))
        assert [one.losses for one in found.epochs] == [one.losses for one in expected.epochs]
        assert (found.header.lanes, len(found.resumed)) == (2, 1)


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(tmp_path):
    train(PLANS[:1], tmp_path)
    (directory_of(tmp_path, PLANS[0]) / checkpoint.FILE_NAME).unlink()
    log = directory_of(tmp_path, PLANS[0]) / epoch_log.FILE_NAME
    log.write_bytes(log.read_bytes().split(b"\n")[0] + b"\n")
    assert outlook(tmp_path).plans == PLANS
    train(PLANS[:1], tmp_path)
    assert epochs_done(directory_of(tmp_path, PLANS[0])) == 2


def stopped_before_the_last_checkpoint(plan, out, monkeypatch, choices=CHOICES):
    """Train a run to its last line, which its checkpoint does not come to."""
    write = checkpoint.write

    def stopping(directory, state):
        if state.epoch == 2:
            raise KeyboardInterrupt
        write(directory, state)

    with monkeypatch.context() as broken:
        broken.setattr(checkpoint, "write", stopping)
        with pytest.raises(KeyboardInterrupt):
            train([plan], out, choices)
    assert (epochs_done(directory_of(out, plan)), checkpoint.epochs_kept(directory_of(out, plan))) == (2, 1)


def test_a_log_that_is_ahead_of_its_checkpoint_is_enough_for_a_table_of_accuracies_alone(tmp_path, monkeypatch):
    """Table 7 and the figures look into the network, which that log's last epoch is not in yet."""
    plan = PLANS[0]
    stopped_before_the_last_checkpoint(plan, tmp_path, monkeypatch)

    def left(kind):
        return execution.outlook([plan], CHOICES, tmp_path, data_dir=None, kind=kind).plans

    assert [left(kind) for kind in ("accuracy", "depth", "distances", "figure")] == [(), (), (plan,), (plan,)]
    metafeatures.find_distances([plan], CHOICES, tmp_path, data_dir=None)
    assert read_distances(directory_of(tmp_path, plan), 2) is None
    train([plan], tmp_path)
    assert left("figure") == ()
    metafeatures.find_distances([plan], CHOICES, tmp_path, data_dir=None)
    (directory_of(tmp_path, plan) / checkpoint.FILE_NAME).unlink()
    assert left("distances") == (), "what was found lies beside it"
    assert left("figure") == (plan,)
    metafeatures.find_distances([plan], CHOICES, tmp_path, data_dir=None)
