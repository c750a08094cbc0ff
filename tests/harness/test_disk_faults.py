"""Disks that fill up, fail or go away in the middle of a sweep: one line, whole records, and a sweep that goes on."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from albench import cli, report
from albench.errors import UsageError
from albench.harness import sweep_log
from albench.harness.control import without_controls
from albench.harness.records import FILE_NAME, RecordFile, RecordWarning, read
from albench.harness.runner import Limits
from tests.forked_script import COMMAND, ForkedScript
from tests.harness.test_records import record
from tests.harness.test_runner import GRID, cases, outcome, sweep

__all__ = ["cases"]

ONCE = Limits(rounds=1, control=False)
GOES_ON = "the same command goes on from there"


def all_measured_after(directory: Path) -> None:
    """Run the sweep again and see that every case is there once."""
    sweep(GRID, directory, limits=ONCE)
    assert sorted(one.key for one in read(directory)) == sorted(one.key for one in GRID)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT], ids=errno.errorcode.get)
@pytest.mark.parametrize("moment", ["before", "half-way", "when it is flushed"])
def test_a_disk_that_fails_leaves_whole_lines_and_a_sweep_that_goes_on(cases, tmp_path, monkeypatch, number, moment):
    """A third record meets the fault: after no byte, after half of its bytes, or after all of them."""
    write, flush, left = os.write, os.fsync, [2]

    def failing_write(descriptor, data):
        left[0] -= 1
        if left[0] < 0 and moment != "when it is flushed":
            if moment == "half-way" and left[0] == -1:
                return write(descriptor, bytes(data)[:100])
            raise OSError(number, os.strerror(number))
        return write(descriptor, data)

    def failing_flush(descriptor):
        if left[0] < 0:
            raise OSError(number, os.strerror(number))
        flush(descriptor)

    with monkeypatch.context() as faulty:
        faulty.setattr(os, "write", failing_write)
        faulty.setattr(os, "fsync", failing_flush)
        with pytest.raises(UsageError, match=os.strerror(number)) as caught:
            sweep(GRID, tmp_path, limits=ONCE)
    assert "\n" not in str(caught.value)
    assert GOES_ON in str(caught.value)
    assert len(read(tmp_path)) == 2, "and no warning: nothing is torn"
    all_measured_after(tmp_path)


def test_a_line_that_cannot_even_be_cut_off_is_a_torn_one(tmp_path, monkeypatch):
    with RecordFile(tmp_path) as file:
        file.append(record(0))
        write = os.write

        def half(descriptor, data):
            write(descriptor, bytes(data)[:100])
            refused()

        def refused(*_):
            raise OSError(errno.EIO, "made up")

        with monkeypatch.context() as faulty:
            faulty.setattr(os, "write", half)
            faulty.setattr(os, "ftruncate", refused)
            with pytest.raises(UsageError, match="made up"):
                file.append(record(1))
    with pytest.warns(RuntimeWarning, match="torn"):
        assert read(tmp_path) == [record(0)]


@pytest.mark.parametrize("fate", ["deleted", "moved", "replaced"])
def test_a_folder_that_goes_away_is_noticed_at_the_next_record(cases, tmp_path, fate):
    """A deleted file goes on taking data and says nothing: hours of measuring would be lost."""
    directory, elsewhere, ran = tmp_path / "out", tmp_path / "elsewhere", []

    def answer(one):
        ran.append(one)
        if len(ran) == 3:
            if fate == "deleted":
                shutil.rmtree(directory)
            else:
                directory.rename(elsewhere)
            if fate == "replaced":
                directory.mkdir()
                (directory / FILE_NAME).touch()
        return outcome(1.0)

    cases.answers["of"] = answer
    with pytest.raises(UsageError, match="was moved or deleted.*the same command goes on") as caught:
        sweep(GRID, directory, limits=ONCE)
    assert "\n" not in str(caught.value)
    assert len(ran) == 3
    if fate != "deleted":
        assert len(read(elsewhere)) == 3, "what was moved is whole, the last record too"
        shutil.rmtree(directory, ignore_errors=True)
        elsewhere.rename(directory)
    all_measured_after(directory)


def test_a_case_whose_record_was_damaged_is_measured_again(cases, tmp_path):
    sweep(GRID, tmp_path, limits=ONCE)
    path = tmp_path / FILE_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    lost = msgspec.json.decode(lines[4])["key"]
    lines[4] = lines[4].replace(b'"seconds":1.0', b'"seconds":1.\x00')
    path.write_bytes(b"".join(lines))
    with pytest.warns(RecordWarning, match="line 5 is not a record"):
        result = sweep(GRID, tmp_path, limits=ONCE)
    assert (result.run, result.resumed) == (1, 8)
    assert path.read_bytes().startswith(b"".join(lines)), "what is on file stays as it is"
    assert msgspec.json.decode(path.read_bytes().splitlines()[-1])["key"] == lost


def test_a_file_system_without_locks_is_used_with_a_warning(tmp_path, monkeypatch):
    def unlockable(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("albench.harness.records.fcntl.flock", unlockable)
    with pytest.warns(RuntimeWarning, match="cannot be locked"), RecordFile(tmp_path) as file:
        file.append(record())
    assert read(tmp_path) == [record()]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 16 KiB, for which one must be root; returns its folder and what changes its options."""
    directory = tmp_path / "small"
    directory.mkdir()

    def mount(*options):
        return subprocess.run(["mount", "-t", "tmpfs", *options, "albench-test", directory], capture_output=True)

    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root can mount a small disk")
    if mount("-o", "size=16k").returncode:
        pytest.skip("this system does not let root mount a small disk")
    yield directory, lambda options: mount("-o", f"remount,{options}")
    subprocess.run(["umount", "--lazy", directory], check=True)


def test_a_full_disk(cases, small_disk):
    """A real one: the sweep, then its report, say in one line what is wrong; with room again both go on."""
    directory, remount = small_disk
    many = Limits(rounds=3, control=False)
    with pytest.raises(UsageError, match=f"No space left on device.*{GOES_ON}"):
        sweep(GRID, directory, limits=many)
    before = (directory / FILE_NAME).read_bytes()
    found = read(directory)
    assert before.endswith(b"\n")
    assert 5 < len(found) < 3 * len(GRID)
    with pytest.raises(UsageError, match="the report cannot be written.*No space left on device") as caught:
        report.render(found, directory, command="albench run")
    assert "\n" not in str(caught.value)
    files = {path.name for path in directory.rglob("*") if path.is_file()}
    assert files <= {FILE_NAME, sweep_log.FILE_NAME}, "no half files"
    assert remount("size=8m").returncode == 0
    sweep(GRID, directory, limits=many)
    assert (directory / FILE_NAME).read_bytes().startswith(before), "measured lines stay as they are"
    assert len(read(directory)) == 3 * len(GRID)
    assert report.render(read(directory), directory, command="albench run").exists()


def test_a_disk_that_was_made_read_only(cases, small_disk):
    directory, remount = small_disk
    sweep(GRID[:3], directory, limits=ONCE)
    assert remount("ro").returncode == 0
    with pytest.raises(UsageError, match="cannot be written.*Read-only file system.*--out"):
        sweep(GRID, directory, limits=ONCE)
    with pytest.raises(UsageError, match="the report cannot be written.*Read-only file system"):
        report.render(read(directory), directory, command="albench run")
    assert remount("rw,size=8m").returncode == 0
    all_measured_after(directory)


@pytest.mark.timeout(240)
def test_the_command_ends_in_one_line_and_goes_on(tmp_path):
    """The whole command, with files that may not grow beyond two records: no traceback, and a second run."""
    size = 2500  # bytes; a record is about 1200
    arguments = [
        "run", "quick", "--method", "bp", "--hidden-layers", "2,4,8", "--minibatches",
        "4", "--lanes", "1", "--rounds", "1", "--no-progress", "--no-telemetry", "--out", str(tmp_path),
    ]  # fmt: skip
    script = tmp_path / "limited.py"
    script.write_text(
        "import resource, sys\n"
        "sys.dont_write_bytecode = True  # compiled modules would be cut off too, and stay so\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n{COMMAND}"
    )
    limited = ForkedScript(script, *arguments)
    _, errors = limited.communicate(timeout=200)
    assert limited.returncode == 2, errors
    assert errors.strip().count("\n") == 0, errors
    assert errors.startswith(f"albench: {tmp_path / FILE_NAME} cannot be written (File too large)")
    assert GOES_ON in errors
    kept = read(tmp_path)
    assert 0 < len(kept) < 4
    again = CliRunner().invoke(cli.app, arguments)  # in this process, which has a forkserver already
    assert again.exit_code == 0, again.stderr
    cases = len(without_controls(kept))
    assert f"{3 - cases} cases measured now, {cases} were on file" in again.stdout
    assert read(tmp_path)[: len(kept)] == kept


def test_the_command_tells_of_damage_in_one_line(tmp_path):
    with RecordFile(tmp_path) as file:
        file.append(record(0))
    with (tmp_path / FILE_NAME).open("ab") as stream:
        stream.write(b"{}\n" + msgspec.json.encode(record(1)) + b"\n")
    result = subprocess.run(
        [sys.executable, "-m", "albench", "export", tmp_path, "--out", tmp_path / "out.json"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stderr.count("\n")) == (0, 1), result.stderr
    assert result.stderr.startswith(f"albench: {tmp_path / FILE_NAME}, line 2 is not a record")
    assert result.stdout.startswith("2 records: ")


def test_output_that_cannot_be_written_is_one_line():
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "albench", "schema"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr
    assert "No space left on device" in result.stderr
