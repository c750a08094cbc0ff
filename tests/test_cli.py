"""The command line as a user meets it: bad input in one line, reports from real runs.

Where a process of its own is what is looked at, it is one; else the command runs here, where torch is loaded already
and cases come from a forkserver that stands: a fresh process pays seconds for either.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from albench import cli
from albench.harness.control import without_controls
from albench.harness.records import read
from tests.data.files import write_mnist

pytestmark = pytest.mark.timeout(240)


def albench(*arguments):
    """Run a command in a process of its own."""
    command = [sys.executable, "-m", "albench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


def here(*arguments):
    """Run a command in this process."""
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


BAD = {
    "odd depth": (["train", "--method", "al", "--hidden-layers", "3"], "hidden layers is 3"),
    "no depth": (["train", "--method", "bp", "--hidden-layers", "0"], "hidden layers is 0"),
    "no width": (["train", "--method", "al", "--width", "0"], "width is 0"),
    "no batch": (["train", "--method", "al", "--batch-size", "-4"], "batch size is -4"),
    "no epochs": (["train", "--method", "al", "--epochs", "0"], "epochs is 0"),
    "no lanes": (["train", "--method", "al", "--lanes", "0"], "lanes is 0"),
    "method": (["train", "--method", "alx"], "did you mean 'al'"),
    "engine": (["train", "--method", "al", "--engine", "thread"], "did you mean 'threads'"),
    "data set": (["train", "--method", "al", "--dataset", "digit"], "did you mean 'digits'"),
    "data directory": (["train", "--method", "al", "--dataset", "mnist"], "--data-dir"),
    "missing directory": (
        ["train", "--method", "al", "--dataset", "mnist", "--data-dir", "/nowhere"],
        "/nowhere does not exist",
    ),
    "suite": (["run", "dept", "--out", "{out}"], "did you mean 'depth'"),
    "suite to list": (["list", "dept"], "did you mean 'depth'"),
    "sweep of odd depths": (["run", "quick", "--hidden-layers", "3", "--out", "{out}"], "hidden layers is 3"),
    "not a number": (["run", "quick", "--hidden-layers", "2,x", "--out", "{out}"], "'2,x'"),
    "empty list": (["run", "quick", "--hidden-layers", ",", "--out", "{out}"], "','"),
    "no lanes in a sweep": (["run", "quick", "--lanes", "0", "--out", "{out}"], "lanes is 0"),
    "unknown engine in a sweep": (["run", "quick", "--engine", "fuse", "--out", "{out}"], "did you mean 'fused'"),
    "precision": (["run", "quick", "--precision", "float8", "--out", "{out}"], "unknown precision 'float8'"),
    "learning rate": (["run", "quick", "--learning-rate", "0", "--out", "{out}"], "learning rate is 0.0"),
    "no bridge": (["run", "quick", "--bridge-factor", "0", "--out", "{out}"], "bridge width is 0"),
    "nothing left": (["run", "quick", "--method", "bp", "--engine", "fused", "--out", "{out}"], "no scenario"),
    "uneven microbatches": (["run", "baselines", "--microbatches", "5", "--out", "{out}"], "5 equal parts, try 4 or 8"),
    "lanes that share nothing evenly": (["run", "baselines", "--lanes", "7", "--out", "{out}"], "batch size is 256"),
    "replicas of another method": (["train", "--method", "ddp", "--replicas", "2"], "give method al-ddp"),
    "device": (["train", "--method", "al", "--device", "tpu"], "unknown device 'tpu'"),
    "no rounds": (["run", "quick", "--rounds", "0", "--out", "{out}"], "rounds is 0"),
    "unwritable": (["run", "quick", "--out", "/proc/albench"], "cannot be written"),
    "a file for a directory": (["run", "quick", "--out", "{file}"], "cannot be written"),
    "a sweep without data": (["run", "quick", "--dataset", "mnist", "--out", "{out}"], "--data-dir"),
    "missing records": (["report", "/nowhere"], "does not exist"),
    "foreign records": (["report", "{file}"], "not a record of albench"),
    "foreign benchmark": (["report", "--from-benchmark", "{json}"], "give a file that `pytest benchmarks"),
    "missing benchmark": (["report", "--from-benchmark", "/nowhere.json"], "cannot be read"),
    "nothing to report": (["report"], "--from-benchmark"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_status_2(case, tmp_path, monkeypatch):
    monkeypatch.delenv("ALBENCH_DATA_DIR", raising=False)
    arguments, words = BAD[case]
    (tmp_path / "file").write_text("hello\n")
    (tmp_path / "other.json").write_text('{"benchmarks": [{"name": "x", "extra_info": {}}]}')
    names = {"out": tmp_path / "out", "file": tmp_path / "file", "json": tmp_path / "other.json"}
    result = here(*(argument.format(**names) for argument in arguments))
    assert result.exit_code == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("albench: ")
    assert words in lines[0]


def test_a_process_of_its_own_ends_with_the_status_and_no_traceback():
    result = albench("train", "--method", "al", "--hidden-layers", "3")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr
    assert result.stderr.startswith("albench: hidden layers is 3")


def test_corrupt_data_is_refused(tmp_path):
    raw = write_mnist(tmp_path)
    (raw / "train-images-idx3-ubyte").write_bytes(b"rubbish")
    result = here("train", "--method", "al", "--dataset", "mnist", "--data-dir", tmp_path)
    assert result.exit_code == 2
    assert "corrupt" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_list_and_env():
    listed = here("list")
    assert listed.exit_code == 0
    assert all(name in listed.stdout for name in ("quickstart", "depth", "digits", "fused", "bp"))
    cases = here("list", "quick")
    assert "cases, very roughly" in cases.stdout
    machine = here("env")
    assert machine.exit_code == 0
    assert all(name in machine.stdout for name in ("torch", "threads", "usable cores", "GPU", "SM shares"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--method", "al"],
        ["--method", "al", "--engine", "threads", "--lanes", "9"],
        ["--method", "al", "--engine", "fused"],
        ["--method", "bp"],
        ["--method", "bp", "--dataset", "synthetic"],
    ],
    ids=" ".join,
)
def test_train_prints_a_line_an_epoch(arguments):
    result = here("train", *arguments, "--epochs", "2", "--width", "16", "--batch-size", "256")
    assert result.exit_code == 0, result.stderr
    epochs = [line for line in result.stdout.splitlines() if line.startswith("epoch ")]
    assert len(epochs) == 2
    assert ("random labels" if "synthetic" in arguments else "held-out accuracy") in epochs[1]
    assert ("9 lanes asked for, 2 used" in result.stdout) == ("9" in arguments)


def test_train_in_a_process_of_its_own():
    result = albench("train", "--method", "al", "--epochs", "1", "--width", "16")
    assert (result.returncode, result.stderr) == (0, "")
    assert "held-out accuracy" in result.stdout


QUICK = ("run", "quick", "--hidden-layers", "2,4,8", "--minibatches", "4,16", "--rounds", "1", "--no-progress")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """A real sweep of a minute's fraction: every engine, three depths, two n. One for all workers of pytest-xdist."""
    shared = tmp_path_factory.getbasetemp()
    shared = (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "sweep-of-all"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = shared / "said.json"
        if not said.exists():
            result = albench(*QUICK, "--out", shared / "out")
            said.write_text(json.dumps([result.returncode, result.stdout, result.stderr]))
    out = tmp_path_factory.mktemp("sweep") / "out"
    shutil.copytree(shared / "out", out)
    result = subprocess.CompletedProcess(QUICK, *json.loads(said.read_text()))
    assert result.returncode == 0, result.stderr
    return out, result


def test_run_measures_prints_and_writes_a_report(sweep):
    out, result = sweep
    records = without_controls(read(out))
    assert {record.status for record in records} == {"measured"}
    assert {record.scenario.engine for record in records} == {"serial", "threads", "fused", "eager"}
    assert all(record.accuracy is not None and record.environment["packages"]["torch"] for record in records)
    assert result.stdout.count(" left)") == len(records), "plain lines, one a case"
    assert "\x1b[" not in result.stdout, "no terminal codes where there is no terminal"
    assert {path.name for path in out.iterdir()} == {
        "records.jsonl", "sweeps.jsonl", "index.html", "figures", "summary.md", "summary.csv",
    }  # fmt: skip
    page = (out / "index.html").read_text()
    assert "albench run quick" in page, "the command that reproduces the page stands on it"


def test_a_run_ends_with_what_its_times_leave_to_be_desired(sweep):
    lines = sweep[1].stderr.splitlines()
    assert any("cases had fewer than 6 times" in line and "--rounds 6" in line for line in lines)
    assert len(lines) <= 8, "a line a kind, not a line a case"


def test_capped_lanes_are_noted_in_the_record(sweep):
    records = [r for r in without_controls(read(sweep[0])) if r.scenario.engine == "threads" and r.scenario.lanes > 1]
    shallow = [r for r in records if r.scenario.hidden_layers == 2]
    assert shallow
    assert all(r.lanes == 1 and "lanes asked for, 1 used" in r.notes[0] for r in shallow)


def test_running_again_measures_nothing_anew(sweep):
    out, _ = sweep
    before = (out / "records.jsonl").read_bytes()
    # With the control case it would measure again what a busy machine had been off its pace for.
    again = here(*QUICK, "--no-control", "--out", out)
    assert again.exit_code == 0, again.stderr
    assert "0 cases measured now" in again.stdout
    assert (out / "records.jsonl").read_bytes() == before


def test_report_renders_records_elsewhere(sweep, tmp_path):
    result = here("report", sweep[0] / "records.jsonl", "--out", tmp_path / "page")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "page" / "index.html").exists()


def test_the_control_can_be_left_out_and_precision_asked_for(tmp_path):
    options = ("--seed", "1", "--rounds", "9", "--no-telemetry", "--no-progress", "--half-width", "10")
    result = here("run", "harness", *options, "--no-control", "--out", tmp_path / "bare")
    assert result.exit_code == 0, result.stderr
    records = read(tmp_path / "bare")
    assert {record.scenario.purpose for record in records} == {"time"}
    assert 6 <= len(records) <= 9, "six are the fewest of which a median is known, and then any width will do here"
    result = here("run", "harness", *options[:-1], "0", "--out", tmp_path / "none")
    assert result.exit_code == 2
    assert "relative half width is 0.0: give a number above 0" in result.stderr


def test_without_a_directory_a_run_goes_where_git_does_not_look(tmp_path, monkeypatch):
    """`albench run SUITE` is all that a first user types."""
    monkeypatch.chdir(tmp_path)
    result = here("run", "harness", "--seed", "1,2", "--rounds", "1", "--no-telemetry", "--no-control")
    assert result.exit_code == 0, result.stderr
    assert len(read(tmp_path / "reports" / "run-harness")) == 2
    assert "s a case." in result.stdout


def test_nothing_measured_is_status_1(tmp_path):
    result = here(
        "run", "quick", "--method", "bp", "--hidden-layers", "2", "--width", "300000", "--minibatches", "2", "--lanes",
        "1", "--rounds", "1", "--no-telemetry", "--out", tmp_path,
    )  # fmt: skip
    assert result.exit_code == 1, "a control that was measured does not count"
    assert "nothing was measured" in result.stderr
    assert [record.status for record in without_controls(read(tmp_path))] == ["out-of-memory"]


def test_benchmarks_run_and_render(tmp_path):
    """With pytest-benchmark's own option (what tox runs has ours); the JSON file becomes a report like any records."""
    file = tmp_path / "b.json"
    command = [sys.executable, "-m", "pytest", "-q", "--smoke", "-p", "no:cacheprovider", "-k", "bp-eager"]
    command += ["benchmarks/test_samples.py", "--benchmark-only", "--benchmark-json", str(file)]
    # pytest-benchmark does nothing in a worker of pytest-xdist, and this run is not one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    result = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout
    benchmarks = json.loads(file.read_text())["benchmarks"]
    assert benchmarks
    for benchmark in benchmarks:
        info = benchmark["extra_info"]
        assert info["samples_per_second"] > 0
        assert {"training_instances", "hidden_layers", "lanes", "series", "held_out_accuracy"} <= info.keys()
        assert info["albench_record"]["scenario"]["batch_size"] == 16
    rendered = here("report", "--from-benchmark", file, "--out", tmp_path / "page")
    assert rendered.exit_code == 0, rendered.stderr
    assert (tmp_path / "page" / "index.html").exists()
