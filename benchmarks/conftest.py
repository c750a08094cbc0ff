"""The pytest-benchmark suites: `pytest benchmarks --benchmark-only`, or `pytest --benchmark benchmarks` for short.

Each benchmark trains one scenario from an empty to a drained pipeline; building the network and cutting the data is
its set-up and is not timed. The whole record lands in ``extra_info``, so `albench report --from-benchmark FILE.json`
renders a file that ``--benchmark-json FILE`` wrote, and the verdicts are printed at the end of the run.

These suites run in one process, one case after the other. `albench run` isolates and interleaves, and is what a claim
should rest on; this is for a quick look and for comparing a change with ``--benchmark-compare``.
"""

from __future__ import annotations

import datetime
import functools
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from albench.process import CHILD_VARIABLES, forkserver

# Before torch is loaded, which reads them once: the same as in every isolated case.
for name, value in CHILD_VARIABLES.items():
    os.environ.setdefault(name, value)

import torch

from albench.data import load_dataset
from albench.engines.batch import Batch
from albench.harness import benchmark_json, environment
from albench.harness.case import WARM_UP_MINIBATCHES, held_out_accuracy, trainer_options
from albench.harness.records import Record
from albench.harness.scenario import Scenario
from albench.methods import make_trainer
from albench.methods.trainer import Trainer, TrainerOptions
from benchmarks import contest as contests

forkserver("albench.harness.preload")  # one server for the processes of all engines and methods

ROUNDS = 3
RECORDS = pytest.StashKey[list]()


def pytest_addoption(parser):
    group = parser.getgroup("benchmark")
    # pytest-benchmark knows --benchmark-only and refuses --benchmark; people type the latter.
    group.addoption("--benchmark", dest="benchmark_only", action="store_true", help="The same as --benchmark-only.")
    group.addoption(
        "--ratios", type=Path, metavar="FILE", help="Write the ratios of test_engines.py to a Markdown file."
    )
    group.addoption("--smoke", action="store_true", help="One round and two depths a benchmark: does it run at all?")


def pytest_configure(config):
    config.stash[RECORDS] = []
    config.stash[contests.RATIOS] = []


def smoke_sized(scenarios: list[Scenario]) -> list[Scenario]:
    """Return the scenarios at the two smallest depths and the smallest n."""
    depths = sorted({s.hidden_layers for s in scenarios})[:2]
    fewest = {(s.series, s.width, s.batch_size): s.minibatches for s in reversed(scenarios)}
    return [
        s for s in scenarios if s.hidden_layers in depths and s.minibatches == fewest[s.series, s.width, s.batch_size]
    ]


def case_name(s: Scenario) -> str:
    """Return a name in plain ASCII, as pytest shows it."""
    lanes = f"x{s.lanes}" if s.lanes > 1 else ""
    return f"{s.method}-{s.engine}{lanes}-depth{s.hidden_layers}-width{s.width}-batch{s.batch_size}x{s.minibatches}"


def pytest_generate_tests(metafunc):
    """Parametrise a benchmark by the scenarios of its module's suite."""
    if "scenario" in metafunc.fixturenames:
        scenarios = metafunc.module.SCENARIOS
        if metafunc.config.getoption("--smoke"):
            scenarios = smoke_sized(scenarios)
        metafunc.parametrize("scenario", scenarios, ids=[case_name(s) for s in scenarios])


@functools.cache
def surroundings():
    return environment.describe()


@pytest.fixture
def train_and_record(benchmark, request):
    """Return a function that benchmarks the training of a scenario and keeps its record."""

    def run(scenario: Scenario) -> Record:
        dataset = load_dataset(scenario.dataset, seed=scenario.seed)
        dtype = getattr(torch, scenario.precision)
        batches = dataset.batches(
            batch_size=scenario.batch_size,
            count=scenario.minibatches,
            seed=scenario.seed,
            dtype=dtype,
            device=scenario.device,
        )
        trainers = []

        def fresh():
            if trainers:
                trainers.pop().close()
            trainers.append(make_trainer(scenario.method, trainer_options(scenario, dataset)))
            trainers[-1].warm_up(batches[:WARM_UP_MINIBATCHES])
            return (trainers[-1].prepare(batches),), {}

        rounds = 1 if request.config.getoption("--smoke") else ROUNDS
        started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        benchmark.pedantic(lambda b: trainers[-1].train(b), setup=fresh, rounds=rounds, iterations=1)
        trainer = trainers[-1]
        request.addfinalizer(trainer.close)
        reached, reason = held_out_accuracy(trainer, dataset, dtype)
        record = Record(
            key=scenario.key,
            scenario=scenario,
            round=0,
            status="measured",
            started_at=started_at,
            environment=surroundings(),
            suite=f"benchmarks/{request.path.name}",
            seconds=benchmark.stats.stats.median if benchmark.stats else None,
            instances=scenario.instances,
            lanes=trainer.lanes,
            lane_kind=trainer.lane_kind,
            components=trainer.components,
            effective_parameters=trainer.effective_parameters,
            affiliated_parameters=trainer.affiliated_parameters,
            accuracy=reached,
            accuracy_reason=reason,
            losses=trainer.losses,
            flops_per_minibatch=trainer.flops(batches[0]),
            notes=[*trainer.notes, "measured in one process with the other cases, not isolated"],
        )
        benchmark.group = f"{request.path.stem}: width {scenario.width}, batch {scenario.batch_size}"
        benchmark.extra_info.update(benchmark_json.extra_info(record))
        request.config.stash[RECORDS].append(record)
        return record

    return run


def pytest_benchmark_update_machine_info(machine_info):
    """Say what was measured on, and not whose it is."""
    machine_info["node"] = ""
    machine_info["albench"] = surroundings()


@pytest.fixture
def sizes(request):
    """Return a function that shrinks sizes to the module's SMOKE in a smoke run."""
    smoke = request.config.getoption("--smoke")
    return lambda wanted, **changes: {**(request.module.SMOKE if smoke else wanted), **changes}


@pytest.fixture
def ready(request):
    """Return a function that makes a trainer, warms it, and gives it with the mini-batches prepared for it."""

    def make(method: str, options: TrainerOptions, data: list[Batch]) -> tuple[Trainer, Sequence[Batch]]:
        trainer = make_trainer(method, options)
        request.addfinalizer(trainer.close)
        trainer.warm_up(data[:WARM_UP_MINIBATCHES])
        return trainer, trainer.prepare(data)

    return make


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
    records = [record for record in config.stash[RECORDS] if record.seconds]
    if not records or config.getoption("--smoke"):
        return
    from rich.console import Console

    from albench import report

    terminalreporter.section("albench: verdicts")
    console = Console(file=terminalreporter._tw._file, width=140)
    for table in report.terminal_tables(report.find(records))[:1]:
        console.print(table)
