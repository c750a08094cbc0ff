"""The pytest-benchmark suites: `pytest benchmarks --benchmark-only`, or `pytest --benchmark benchmarks` for short.

test_depth, test_samples, test_batch and test_devices measure the scenarios of a suite with the fixture ``albench_case``
of albench's pytest plugin: each round in a fresh process, the whole record in ``extra_info``. So
`albench report --from-benchmark FILE.json` renders a file that ``--benchmark-json FILE`` wrote, and the verdicts are
printed at the end of the run. `albench run` also interleaves its cases, and is what a claim of complexity should rest
on; this is for a quick look and for comparing a change with ``--benchmark-compare``.

test_baselines, test_engines, test_engines_cuda and test_harness are contests: rivals take turns in one process, and
ratios of times are taken within a turn. test_replay times what a projection costs, and test_report renders sets of
records that are far larger than those of a suite.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from albench.process import CHILD_VARIABLES, forkserver

# Before torch is loaded, which reads them once: the same as in every isolated case.
for name, value in CHILD_VARIABLES.items():
    os.environ.setdefault(name, value)

from albench.engines.batch import Batch
from albench.harness import environment
from albench.harness.case import WARM_UP_MINIBATCHES
from albench.harness.isolation import PRELOAD
from albench.harness.records import Record
from albench.harness.scenario import Scenario
from albench.methods import make_trainer, method_named
from albench.methods.trainer import Trainer, TrainerOptions
from albench.pytest_plugin import session_records
from benchmarks import contest as contests

forkserver(PRELOAD)  # one server for the processes of all engines and methods

SMOKE_MINIBATCHES = 8


def pytest_addoption(parser):
    group = parser.getgroup("benchmark")
    # pytest-benchmark knows --benchmark-only and refuses --benchmark; people type the latter.
    group.addoption("--benchmark", dest="benchmark_only", action="store_true", help="The same as --benchmark-only.")
    group.addoption("--ratios", type=Path, metavar="FILE", help="Write the ratios of contests to a Markdown file.")
    group.addoption("--smoke", action="store_true", help="One round and two depths a benchmark: does it run at all?")


def pytest_configure(config):
    config.stash[contests.RATIOS] = []


def smoke_sized(scenarios: list[Scenario]) -> list[Scenario]:
    """Return the scenarios at the two smallest depths and batch sizes, with the smallest n and M of each."""
    depths = sorted({s.hidden_layers for s in scenarios})[:2]
    batch_sizes = sorted({s.batch_size for s in scenarios})[:2]
    fewest = {(s.series, s.width, s.batch_size): s.minibatches for s in reversed(scenarios)}
    parts: dict[str, int] = {}
    for s in scenarios:
        parts[s.method] = min(s.microbatches, parts.get(s.method, s.microbatches))
    return [
        dataclasses.replace(s, minibatches=min(s.minibatches, SMOKE_MINIBATCHES))
        for s in scenarios
        if s.hidden_layers in depths
        and s.batch_size in batch_sizes
        and s.minibatches == fewest[s.series, s.width, s.batch_size]
        and s.microbatches == parts[s.method]
    ]


def case_name(s: Scenario) -> str:
    """Return a name in plain ASCII, as pytest shows it."""
    lanes = f"x{s.lanes}" if s.lanes > 1 else ""
    parts = f"-m{s.microbatches}" if method_named(s.method).microbatches else ""
    return (
        f"{s.method}-{s.engine}{lanes}{parts}-depth{s.hidden_layers}-width{s.width}-batch{s.batch_size}x{s.minibatches}"
        f"{'-input' if s.purpose == 'input' else ''}"
    )


def pytest_generate_tests(metafunc):
    """Parametrise a benchmark by the scenarios of its module's suite."""
    if "scenario" in metafunc.fixturenames:
        scenarios = metafunc.module.SCENARIOS
        if metafunc.config.getoption("--smoke"):
            scenarios = smoke_sized(scenarios)
        metafunc.parametrize("scenario", scenarios, ids=[case_name(s) for s in scenarios])


@pytest.fixture
def measure(albench_case, benchmark, request):
    """Return a function that measures a scenario, grouped with those of the same network and batch."""

    def run(scenario: Scenario) -> Record:
        benchmark.group = f"{request.path.stem}: width {scenario.width}, batch {scenario.batch_size}"
        return albench_case(scenario, rounds=1 if request.config.getoption("--smoke") else None)

    return run


def pytest_benchmark_update_machine_info(machine_info):
    """Say what was measured on, and not whose it is; without what changes from minute to minute."""
    machine_info["node"] = ""
    machine_info["albench"] = {k: v for k, v in environment.describe().items() if k != "load_average_1_min"}


@pytest.fixture
def sizes(request):
    """Return a function that shrinks sizes to the module's SMOKE in a smoke run."""
    smoke = request.config.getoption("--smoke")
    return lambda wanted, **changes: {**(request.module.SMOKE if smoke else wanted), **changes}


@contextlib.contextmanager
def readied(method: str, options: TrainerOptions, data: list[Batch]) -> Iterator[tuple[Trainer, Sequence[Batch]]]:
    """Make a trainer, warm it, and give it with the mini-batches prepared for it; close it in the end."""
    with contextlib.closing(make_trainer(method, options)) as trainer:
        trainer.warm_up(data[:WARM_UP_MINIBATCHES])
        if failed := [note for note in trainer.notes if note.startswith("not compiled (")]:
            pytest.fail(f"{method} {options.engine} would be measured as what it is not: {failed[0]}")
        yield trainer, trainer.prepare(data)


@pytest.fixture
def ready():
    """Return a function that makes a trainer which is `readied` until the test is over."""
    with contextlib.ExitStack() as until_the_end:
        yield lambda method, options, data: until_the_end.enter_context(readied(method, options, data))


@pytest.fixture
def contest(benchmark, request):
    """Return the `Contest` of this benchmark."""
    rounds = 1 if request.config.getoption("--smoke") else contests.ROUNDS
    return contests.Contest(benchmark=benchmark, rounds=rounds, ratios=request.config.stash[contests.RATIOS])


def pytest_terminal_summary(terminalreporter, config):
    """Print the verdicts, so that a run answers the question it was started for."""
    if config.stash[contests.RATIOS]:
        contests.print_ratios(terminalreporter, config.stash[contests.RATIOS])
        if path := config.getoption("--ratios"):
            contests.write_ratios(path, config.stash[contests.RATIOS])
    records = [record for record in session_records(config) if record.seconds]
    if not records or config.getoption("--smoke"):
        return
    from rich.console import Console

    from albench import report

    terminalreporter.section("albench: verdicts")
    console = Console(file=terminalreporter._tw._file, width=140)
    for table in report.terminal_tables(report.find(records))[:1]:
        console.print(table)
