"""The pytest plugin, in projects of a user's own: real runs of pytest, each in a process of its own."""

import json
import os
import re
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest

from albench.harness import benchmark_json, records

pytest_plugins = "pytester"
pytestmark = pytest.mark.timeout(180)

PLUGIN = ("-p", "albench.pytest_plugin", "-p", "no:cacheprovider")
"""As the entry point loads it; naming it again changes nothing (`test_a_project_needs_no_conftest`)."""
ROOT = str(Path(__file__).parents[1])

HEADER = """\
import os, signal, sys, time
from pathlib import Path
import pytest

CASE = dict(method="al", engine="fused", hidden_layers=2, width=16, batch_size=16, minibatches=8)
IDLE = CASE | dict(method="idle", engine="eager", dataset="synthetic")  # for what is not about training
"""

PROJECT = f"""{HEADER}
def test_al(albench_case):
    record = albench_case(**CASE, rounds=3)
    assert record.status == "measured" and 0 <= record.accuracy <= 1
    assert "torch" not in sys.modules  # it is the cases that need it

@pytest.mark.benchmark(group="mine")
def test_bp(albench_case):
    albench_case(**CASE | dict(method="bp", engine="eager"), rounds=1)

def test_without_data(albench_case):
    albench_case(**CASE, dataset="mnist", data_dir=Path("/nowhere"))

def test_hanging(albench_case):
    albench_case(**CASE | dict(engine="serial", minibatches=20_000), limit_seconds=0.5)

def test_too_large(albench_case):
    albench_case(**CASE | dict(method="bp", engine="eager", width=10**7))
"""

TELL_PROCESSES = """\
import os
def tell():
    with open(os.environ["TOLD"], "a") as file:
        file.write(f"{os.getpid()}\\n")
os.register_at_fork(after_in_child=tell)
"""
"""As ``sitecustomize``, in every Python that starts: each fork of the forkserver, and so each case, tells its id."""

METRICS = """\
import os, pytest
BEFORE = "BEFORE" in os.environ

class Clock:
    # Every round takes as long as it is told, without waiting.
    def __init__(self, seconds):
        self.seconds, self.now = seconds, 0.0
    def __call__(self):
        self.now += self.seconds
        return self.now

@pytest.mark.benchmark(timer=Clock(0.002 if BEFORE else 0.004), group="g")
@pytest.mark.parametrize("depth", [2, 8])
def test_a(benchmark, depth):
    benchmark.extra_info.update(samples_per_second=(1000 if BEFORE else 2000) * depth, held_out_accuracy=0.25)
    benchmark.pedantic(int, rounds=2)

@pytest.mark.benchmark(timer=Clock(0.001), group="g")
def test_b(benchmark):
    benchmark.extra_info.update(gpu_utilisation=0.5, own="word", whole={"a": 1})
    benchmark.pedantic(int, rounds=3)

@pytest.mark.benchmark(timer=Clock(0.001))
def test_plain(benchmark):
    benchmark.pedantic(int, rounds=1)
"""


def environment(**more):
    """Return the environment of a run: this package's code, and no trace of the pytest-xdist that this runs under."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    paths = [*more.pop("paths", ()), ROOT, *filter(None, [own.get("PYTHONPATH")])]
    return own | {"PYTHONPATH": os.pathsep.join(map(str, paths))} | more


@pytest.fixture
def project(pytester, monkeypatch):
    """Return a function that runs pytest on a file of tests, in a process of its own."""
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", ROOT, prepend=os.pathsep)
    pytester.makeini("[pytest]\nfilterwarnings = error\n")

    def run(content, *options, plugins=PLUGIN):
        pytester.makepyfile(test_it=content)
        return pytester.runpytest_subprocess(*plugins, *options)

    return run


def table(result, title="metrics"):
    """Return the lines of the metric tables in a run's output, heading first, without rules, blanks squeezed."""
    lines, inside = [], False
    for line in result.outlines:
        if line.startswith("-") and f" {title}" in line:
            inside = True
        elif not line:
            inside = False
        elif inside and line.strip("-"):
            lines.append(re.sub(r"  +", "  ", line))
    return lines


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A user's project that has a test file and nothing else, and albench installed."""
    home = tmp_path_factory.mktemp("project")
    (home / "test_it.py").write_text(PROJECT)
    (home / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\naddopts = --strict-markers\n")
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(TELL_PROCESSES)
    # The entry point of pyproject.toml, as an installed package declares it, also where none is installed.
    project = tomllib.loads(Path(ROOT, "pyproject.toml").read_text())["project"]
    entry_points = "".join(f"{name} = {module}\n" for name, module in project["entry-points"]["pytest11"].items())
    info = site / "albench_plugin-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: albench-plugin\nVersion: 0\n")
    (info / "entry_points.txt").write_text(f"[pytest11]\n{entry_points}")
    options = ["--benchmark-json=b.json", "--benchmark-save=one", "--albench-records=records"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=home,
        env=environment(paths=[site], TOLD=str(home / "told")),
        capture_output=True,
        text=True,
        timeout=150,
    )
    found = json.loads((home / "b.json").read_text())
    return types.SimpleNamespace(
        home=home,
        code=result.returncode,
        out=result.stdout + result.stderr,
        outlines=result.stdout.splitlines(),
        json=found,
        benchmarks={one["name"]: one for one in found["benchmarks"]},
        records=records.read(home / "records"),
    )


def test_a_project_needs_no_conftest(run):
    assert run.code == 1, run.out
    assert "3 failed, 2 passed" in run.out


def test_the_time_is_that_of_the_window_and_not_of_its_process(run):
    """To the last bit; starting a process takes longer than these windows, so it cannot be in there."""
    filed = [one.seconds for one in run.records if one.suite == "test_it.py" and one.scenario.method == "al"]
    assert run.benchmarks["test_al"]["stats"]["data"] == [seconds for seconds in filed if seconds is not None]
    assert run.benchmarks["test_al"]["stats"]["rounds"] == 3
    assert "timed it where it ran" in run.benchmarks["test_al"]["options"]["timer"]
    assert run.benchmarks["test_bp"]["group"] == "mine"  # the test's own marker holds beside the clock


def test_every_round_has_a_process_of_its_own(run):
    told = (run.home / "told").read_text().split()
    assert len(set(told)) == len(told)
    assert len(told) >= 3 + 1 + 3  # rounds, and the three that failed


def test_the_json_holds_metrics_by_name_and_the_whole_record(run):
    info = run.benchmarks["test_al"]["extra_info"]
    median = run.benchmarks["test_al"]["stats"]["median"]
    assert info["samples_per_second"] == pytest.approx(8 * 16 / median)
    assert info["milliseconds_per_minibatch"] == pytest.approx(1e3 * median / 8)
    assert 0 <= info["held_out_accuracy"] <= 1
    assert info["peak_memory_bytes"] > 0
    assert info["isolated"] is True
    assert {"gpu_utilisation", "joules_per_sample", "lanes", "series"} <= info.keys()
    found = benchmark_json.read(run.home / "b.json")
    assert all(record.telemetry or record.telemetry_reason for record in found if record.status == "measured")
    measured = [one for one in run.records if one.status == "measured"]
    assert all(one.memory or one.memory_reason for one in measured)
    assert [one.memory is not None for one in measured] == [one.round == 0 for one in measured]
    assert [one.seconds for one in found[:3]] == run.benchmarks["test_al"]["stats"]["data"]


def test_a_failed_case_fails_its_test_in_one_line_and_is_on_record(run):
    lines = [line for line in run.outlines if line.startswith("albench: ") and "ℓ" in line]
    assert len(lines) == 3
    for word in ("failed", "timed-out: not done after its limit of 0.5 s", "out-of-memory"):
        assert sum(word in line for line in lines) == 1, lines
    assert "Traceback" not in run.out
    assert "case_fixture.py" not in run.out
    assert "During handling" not in run.out
    statuses = ["measured"] * 4 + ["failed", "timed-out", "out-of-memory"]
    assert [one.status for one in run.records] == statuses
    # pytest-benchmark drops them; ours stand beside its own, and a report finds them there.
    assert set(run.benchmarks) == {"test_al", "test_bp"}
    assert [one.status for one in benchmark_json.read(run.home / "b.json")] == statuses
    assert f"albench: 4 rounds measured, 1 failed, 1 out-of-memory, 1 timed-out; records: {Path('records')}" in run.out


def test_the_table_has_the_metrics(run):
    heading, al, bp_heading, bp = table(run)
    assert heading == bp_heading
    assert re.match(r"Name \(time in [mun]?s\)  Median  samples/s  GPU %  accuracy", heading)
    assert re.match(r"test_al  [\d.,]+  [\d,]+  -  [01]\.\d+", al)
    assert bp.startswith("test_bp  ")


def test_a_run_that_is_killed_keeps_what_was_measured(tmp_path):
    """pytest-benchmark would write at the end of the run, which never comes."""
    (tmp_path / "test_it.py").write_text(
        f"{HEADER}\n"
        "def test_good(albench_case):\n    albench_case(**IDLE)\n"
        "def test_killed():\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-m", "pytest", *PLUGIN, "--benchmark-json=b.json", "--albench-records=records"]
    options = ["--albench-rounds=2", "--albench-in-process"]
    killed = subprocess.run(
        [*command, *options], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=100
    )
    assert killed.returncode == -9, killed.stdout
    found = records.read(tmp_path / "records")
    assert [(one.round, one.status) for one in found] == [(0, "measured"), (1, "measured")]
    assert all("not isolated" in one.notes[-1] for one in found)  # which of the two it was is in the record


def test_under_xdist_a_case_runs_once_and_is_no_measurement(project):
    result = project(
        f"{HEADER}\n"
        "def test_it(albench_case):\n"
        "    assert albench_case(**IDLE, isolated=False, rounds=9).seconds > 0\n"
        "def test_nothing(): pass\n",
        *("-n", "1", "--albench-records=records"),
    )
    result.assert_outcomes(passed=2)
    assert not Path("records").exists()
    assert not table(result)


def test_where_it_is_not_used_nothing_is_imported(project):
    """And nothing is refused where pytest-benchmark is switched off, is blocked, or skips."""
    content = (
        "import sys\n"
        "def test_it():\n"
        "    heavy = {'torch', 'numpy', 'msgspec', 'psutil', 'rich'} & sys.modules.keys()\n"
        "    assert not heavy\n"
        "    assert 'albench.pytest_plugin' in sys.modules\n"
    )
    for options in ((), ("-p", "no:benchmark", "--strict-markers")):
        project(content, *options).assert_outcomes(passed=1)
    skipped = project(f"{HEADER}\ndef test_it(albench_case): 1 / 0\n", "--benchmark-skip", "--albench-records=records")
    skipped.assert_outcomes(skipped=1)
    assert "albench:" not in skipped.stdout.str()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--albench-rounds=0"], "--albench-rounds: '0': give a whole number of at least 1"),
        (["--albench-case-limit=nan"], "--albench-case-limit: 'nan': give a number of seconds above 0"),
        (["--albench-records=/dev/null/x"], "/dev/null/x cannot be written"),
    ],
)
def test_bad_options_are_refused_in_one_line(project, options, words):
    result = project("def test_it(): pass\n", *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert words in result.stderr.str()
    assert "Traceback" not in result.stderr.str() + result.stdout.str()


def test_a_directory_in_use_is_refused_before_any_test(project, tmp_path):
    with records.RecordFile(tmp_path / "mine"):
        result = project("def test_it(): pass\n", "--albench-records", str(tmp_path / "mine"))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "in use by another albench: wait for it or give another --albench-records" in result.stderr.str()


def test_a_bad_scenario_fails_in_one_line(project):
    result = project(
        f"{HEADER}\n"
        "def test_unknown(albench_case): albench_case(**CASE, hiden_layers=4)\n"
        "def test_missing(albench_case): albench_case(method='al', engine='fused', width=8, batch_size=4)\n"
        "def test_odd(albench_case): albench_case(**CASE | dict(hidden_layers=3))\n"
        "def test_rounds(albench_case): albench_case(**CASE, rounds=0)\n"
        "def test_limit(albench_case): albench_case(**CASE, limit_seconds=-1)\n"
        "def test_late(request): request.getfixturevalue('albench_case')\n",
    )
    out = result.stdout.str()
    for words in (
        "unknown field of a scenario 'hiden_layers': did you mean 'hidden_layers'",
        "no hidden_layers, minibatches: a scenario needs them",
        "hidden layers is 3: AL folds",
        "rounds is 0: give a whole number of at least 1",
        "limit seconds is -1: give a number above 0",
        "albench_case must be an argument of the test",
    ):
        assert words in out
    assert "case_fixture.py" not in out
    assert "During handling" not in out
    result.assert_outcomes(failed=6)


def test_metric_columns_follow_groups_and_order(project):
    result = project(METRICS, "--benchmark-sort=name", "--benchmark-columns=min,rounds")
    assert table(result) == [
        "Name (time in ms)  Min  Rounds  samples/s  GPU %  accuracy",
        "test_a[2]  4.0000  2  4,000  -  0.250",
        "test_a[8]  4.0000  2  16,000  -  0.250",
        "test_b  1.0000  3  -  50.0  -",
    ]
    by_function = project(METRICS, "--benchmark-group-by=func", "--albench-columns=own,samples_per_second,whole")
    assert [line.split("  ")[0] for line in table(by_function)] == [
        *("Name (time in ms)", "test_a[2]", "test_a[8]"),
        *("Name (time in ms)", "test_b"),
    ]
    assert "test_b  1.0000  word  -  -" in table(by_function)


def test_columns_can_be_left_out_and_wrong_names_are_told(project):
    assert not table(project(METRICS, "--albench-columns=none"))
    wrong = project(METRICS, "--albench-columns=acuracy")
    assert not table(wrong)
    wrong.stdout.fnmatch_lines("albench: no benchmark has 'acuracy'*there are gpu_utilisation, held_out_accuracy, *")


def test_saved_runs_keep_their_own_metrics_in_a_comparison(project, monkeypatch):
    monkeypatch.setenv("BEFORE", "1")
    project(METRICS, "--benchmark-save=first").assert_outcomes(passed=4)
    monkeypatch.delenv("BEFORE")
    result = project(
        METRICS, "--benchmark-compare=0001", "--benchmark-compare-fail=min:10%", "--benchmark-sort=fullname"
    )
    assert result.ret  # a regression, after which the table is there all the same
    assert "Performance has regressed" in result.stdout.str() + result.stderr.str()
    shown = [line.split("  ") for line in table(result)[1:]]
    assert {(name, rate) for name, _, rate, *_ in shown if name.startswith("test_a[2]")} == {
        ("test_a[2] (0001_first)", "2,000"),
        ("test_a[2] (NOW)", "4,000"),
    }
