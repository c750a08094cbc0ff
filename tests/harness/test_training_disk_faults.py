"""Disks that fill up or fail under `albench train --out`: one line that says how to go on, and a run that does."""

import errno
import fcntl
import os

import pytest
from typer.testing import CliRunner

from albench import cli
from albench.errors import UsageError
from albench.harness import checkpoint, epoch_log
from albench.harness.records import RecordWarning
from tests.harness.test_disk_faults import small_disk
from tests.harness.test_epoch_log import epoch, header
from tests.harness.test_keeping import assert_same_run, recipe, train

__all__ = ["small_disk"]

pytestmark = pytest.mark.timeout(120)

CHOSEN = recipe(lanes=1, epochs=2)
GOES_ON = "with room again the same command{} goes on from the last checkpoint"


@pytest.mark.parametrize("size", ["4k", "16k", "40k"])
def test_a_full_disk_is_told_in_a_line_and_the_run_goes_on(small_disk, tmp_path, size):
    """A real one. torch ends its file behind the write that failed, and then speaks of positions alone."""
    disk, remount = small_disk
    assert remount(f"size={size}").returncode == 0
    directory = disk / "run"
    for resume, option in ((False, " with --resume"), (True, "")):
        with pytest.raises(UsageError, match="cannot be written.*No space left on device") as caught:
            train(CHOSEN, directory, resume=resume)
        assert str(caught.value).endswith(GOES_ON.format(option))
        assert "\n" not in str(caught.value)
        assert not list(directory.glob("*.partial")), "half a checkpoint takes the room of the log"
    assert remount("size=8m").returncode == 0
    train(CHOSEN, directory, resume=True)
    train(CHOSEN, tmp_path / "whole")
    assert_same_run(tmp_path / "whole", directory)


def test_a_disk_that_fills_up_later_leaves_the_checkpoint_before(small_disk, tmp_path):
    disk, remount = small_disk
    assert remount("size=8m").returncode == 0
    directory = disk / "run"
    train(recipe(lanes=1, epochs=1), directory)
    kept = sum(-(-path.stat().st_size // 4096) * 4 for path in directory.iterdir())
    assert remount(f"size={kept + 8}k").returncode == 0
    with pytest.raises(UsageError, match="No space left on device"):
        train(CHOSEN, directory, resume=True)
    assert checkpoint.read(directory).epoch == 1
    assert remount("size=8m").returncode == 0
    train(CHOSEN, directory, resume=True)
    train(CHOSEN, tmp_path / "whole")
    assert_same_run(tmp_path / "whole", directory)


def test_the_command_ends_in_one_line_and_status_2(small_disk):
    disk, _ = small_disk
    result = CliRunner().invoke(
        cli.app, ["train", "--method", "bp", "--epochs", "1", "--lanes", "1", "--no-progress", "--out", str(disk / "o")]
    )
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("albench: ")
    assert line.endswith(GOES_ON.format(" with --resume"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("moment", ["the log", "the checkpoint"])
def test_a_flush_that_fails_is_told_too(tmp_path, monkeypatch, number, moment):
    fsync, calls = os.fsync, []

    def failing(descriptor):
        calls.append(descriptor)
        if len(calls) == (1 if moment == "the log" else 2):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    with monkeypatch.context() as faulty:
        faulty.setattr(os, "fsync", failing)
        with pytest.raises(UsageError, match=f"{os.strerror(number)}.*--resume goes on"):
            train(CHOSEN, tmp_path / "run")
    assert checkpoint.read(tmp_path / "run") is None
    train(CHOSEN, tmp_path / "run", resume=True)
    assert len(epoch_log.read(tmp_path / "run").epochs) == 2


def test_a_file_system_without_locks_is_used_with_a_warning(tmp_path, monkeypatch):
    """To say that another process writes there would send its user to look for one."""

    def unlockable(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unlockable)
    with pytest.warns(RecordWarning, match="cannot be locked"), epoch_log.LogWriter(tmp_path, [header()]) as log:
        log.append(epoch(1))
    assert len(epoch_log.read(tmp_path).epochs) == 1
