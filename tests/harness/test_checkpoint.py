"""Checkpoints: whole or not there, read without running anything, and of this run or refused by name."""

import errno
import os
import pickle
import random

import pytest
import torch

from albench.errors import UsageError
from albench.harness import checkpoint
from albench.harness.checkpoint import FILE_NAME, Checkpoint, refuse_another
from albench.harness.recipe_file import recipe_of

SETTINGS = recipe_of(None, method="al", epochs=4).settings() | {"training_instances": 1437}


def made(epoch=2):
    return Checkpoint(
        settings=SETTINGS, epoch=epoch, minibatches=90, seconds=1.5, state={"weights": {"a": torch.arange(3.0)}}
    )


WHOLE = {"format": "albench-checkpoint", "version": 1, **made()._asdict()}


def test_what_is_written_is_read_again(tmp_path):
    assert checkpoint.read(tmp_path) is None
    for epoch in (1, 2):
        checkpoint.write(tmp_path, made(epoch))
    found = checkpoint.read(tmp_path)
    assert found._replace(state={}) == made()._replace(state={})
    assert torch.equal(found.state["weights"]["a"], torch.arange(3.0))
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_the_epochs_that_are_kept_are_told_without_reading_a_network(tmp_path):
    assert checkpoint.epochs_kept(tmp_path) == 0
    checkpoint.write(tmp_path, made(3))
    assert checkpoint.epochs_kept(tmp_path) == 3


def test_a_crash_while_writing_leaves_the_one_before(tmp_path, monkeypatch):
    """And the next one takes the place of what was half-written."""
    checkpoint.write(tmp_path, made(1))

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(checkpoint.os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            checkpoint.write(tmp_path, made(2))
    assert checkpoint.read(tmp_path).epoch == 1
    checkpoint.write(tmp_path, made(3))
    assert checkpoint.read(tmp_path).epoch == 3
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_it_is_on_disk_before_it_takes_the_place_of_the_old_one(tmp_path, monkeypatch):
    order = []
    replace, fsync = checkpoint.Path.replace, os.fsync
    monkeypatch.setattr(checkpoint.os, "fsync", lambda handle: order.append("fsync") or fsync(handle))
    monkeypatch.setattr(checkpoint.Path, "replace", lambda *paths: order.append("replace") or replace(*paths))
    checkpoint.write(tmp_path, made())
    assert order == ["fsync", "replace", "fsync"]


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harm",)


SPOILED = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_bytes(b"hello"),
    "a pickle that does something": lambda path: path.write_bytes(pickle.dumps(Harmful())),
    "torch's, that does something": lambda path: torch.save({"format": Harmful()}, path),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_file_is_refused_in_one_line_and_runs_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint.write(tmp_path, made())
    SPOILED[name](tmp_path / FILE_NAME)
    with pytest.raises(UsageError, match="is no checkpoint that can be read") as caught:
        checkpoint.read(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "harm").exists()


def test_whatever_bit_is_turned_over_nothing_but_a_line_comes_of_it(tmp_path):
    """What a damaged pickle makes its reader do ends in errors of many kinds."""
    checkpoint.write(tmp_path, made())
    path, draws, told = tmp_path / FILE_NAME, random.Random(0), []
    whole = path.read_bytes()
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[draws.randrange(60, len(whole))] ^= 1 << draws.randrange(8)
        path.write_bytes(damaged)
        try:
            checkpoint.read(tmp_path)
        except UsageError as error:
            told.append(str(error))
    assert len(told) > 100
    assert not [line for line in told if "\n" in line]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"weights": torch.zeros(2)}, "is no checkpoint of `albench train`"),
        ([], "is no checkpoint of `albench train`"),
        ({"format": "albench-checkpoint", "version": 2}, "version 2, this albench reads version 1"),
        ({"format": "albench-checkpoint", "version": 1}, "is not whole"),
        ({**WHOLE, "settings": []}, "is not whole"),
        ({**WHOLE, "settings": {}}, "is not whole"),
        ({**WHOLE, "epoch": "2"}, "is not whole"),
        ({**WHOLE, "epoch": 0}, "is not whole"),
        ({**WHOLE, "minibatches": torch.ones(3)}, "is not whole"),
        ({**WHOLE, "seconds": float("nan")}, "is not whole"),
    ],
)
def test_somebody_elses_file_is_refused(content, words, tmp_path):
    torch.save(content, tmp_path / FILE_NAME)
    with pytest.raises(UsageError, match=words):
        checkpoint.read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 64}, "whose width was 128 and is now 64: give what it was, or another directory"),
        ({"learning_rate": 5e-4}, "learning rate was 0.001 and is now 0.0005"),
        ({"method": "bp", "engine": "eager"}, r"method was 'al' and is now 'bp' \(and engine\)"),
        ({"rate_steps": [[0.5, 0.1]]}, r"rate steps was \[\] and is now \[\[0.5, 0.1\]\]"),
        ({"training_instances": 60_000}, "training instances was 1437 and is now 60000"),
    ],
)
def test_another_run_is_refused_with_what_differs(changes, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        refuse_another(SETTINGS, SETTINGS | changes, directory=tmp_path)


def test_more_epochs_are_the_same_run_unless_the_rate_goes_by_them(tmp_path):
    refuse_another(SETTINGS, SETTINGS | {"epochs": 8}, directory=tmp_path)
    stepped = SETTINGS | {"rate_steps": [[0.5, 0.1]]}
    refuse_another(stepped, dict(stepped), directory=tmp_path)
    with pytest.raises(UsageError, match="a run of 4 epochs and epochs is now 8: its rate goes down at shares"):
        refuse_another(stepped, stepped | {"epochs": 8}, directory=tmp_path)


def test_a_setting_that_an_older_albench_did_not_know_is_no_difference(tmp_path):
    older = {name: value for name, value in SETTINGS.items() if name != "bridge"}
    refuse_another(older, SETTINGS, directory=tmp_path)
