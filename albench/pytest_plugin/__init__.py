"""The pytest plugin: benchmarks of training, isolated and with metrics, on top of pytest-benchmark.

    def test_shallow(albench_case):
        record = albench_case(method="al", engine="fused", hidden_layers=8, width=64, batch_size=32, minibatches=64)
        assert record.accuracy > 0.5

``albench_case`` measures a scenario, every round in a fresh process of its own, and gives pytest-benchmark the seconds
of the timed window that the process measured, so that its table, JSON files, saved runs and comparisons work as ever.
What else was measured lands in ``extra_info`` by name, and the whole record with it.

Metric columns. pytest-benchmark's table has a fixed set of columns, and no hook adds one. Its hooks do hand out the
rows in their groups, so a second table follows the first: the same groups, names and order, with the time that was
asked for and the metrics beside it (`albench.pytest_plugin.metric_table`). It shows any number or word in
``extra_info``, of any benchmark: ``--albench-columns NAME,NAME`` chooses. Nothing of pytest-benchmark is replaced.

Two more things follow from hooks: the clock that tells pytest-benchmark a window's seconds is set through its
``benchmark`` marker, and records of failed cases, whose benchmarks it drops, are put beside its own in the JSON.

The plugin is loaded with every run of pytest where albench is installed, so nothing is imported before it is needed.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from albench.pytest_plugin.window_clock import WindowClock

if TYPE_CHECKING:
    from albench.harness.instruments import Instruments
    from albench.pytest_plugin.case_fixture import Benchmark, CaseFixture
    from albench.pytest_plugin.session_records import SessionRecords

ROUNDS = 3
CASE_SECONDS = 300.0

CLOCK = pytest.StashKey[WindowClock]()
RECORDS = pytest.StashKey["SessionRecords"]()
INSTRUMENTS = pytest.StashKey["Instruments"]()
GROUPS = pytest.StashKey[Sequence[tuple[str | None, Sequence[Mapping[str, Any]]]]]()


def _at_least_one(text: str) -> int:
    """Return an option's whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number of at least 1")
    return int(text)


def _seconds(text: str) -> float:
    """Return an option's seconds, above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: give a number of seconds above 0")
    return value


def _names(text: str) -> list[str]:
    """Return an option's comma-separated names; "none" is no name."""
    return [name.strip() for name in text.split(",") if name.strip() and name.strip() != "none"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the plugin."""
    group = parser.getgroup("albench", "albench: isolated benchmarks of training")
    group.addoption(
        "--albench-records", type=Path, metavar="DIR", help="Write every record to DIR/records.jsonl as it comes."
    )
    group.addoption(
        "--albench-rounds",
        type=_at_least_one,
        default=ROUNDS,
        metavar="N",
        help="Rounds of a case, each in a fresh process, where the test does not say. Default: %(default)s",
    )
    group.addoption(
        "--albench-case-limit",
        type=_seconds,
        default=CASE_SECONDS,
        metavar="SECONDS",
        help="A round that is not done after this is ended, and its test fails. Default: %(default)g",
    )
    group.addoption(
        "--albench-in-process",
        action="store_true",
        help="Measure in the running process: quicker, but disturbed by what ran before, and without a limit.",
    )
    group.addoption(
        "--albench-columns",
        type=_names,
        metavar="NAMES",
        help="Names in extra_info to show as columns of a table of their own, or none.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Set what torch reads as it is loaded, where this process is the one that measures."""
    if config.getoption("albench_in_process"):
        from albench.process import CHILD_VARIABLES

        for name, value in CHILD_VARIABLES.items():
            os.environ.setdefault(name, value)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Open the file of records before the first test, so that a bad directory costs nobody a measurement."""
    config = session.config
    directory = config.getoption("albench_records")
    if directory is None or config.option.collectonly or not _benchmarks(config):
        return
    from albench.errors import UsageError

    try:
        _session_records(config).open(directory)
    except UsageError as error:
        raise pytest.UsageError(str(error).replace("--out", "--albench-records")) from None


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the file of records, and end whoever reads the machine."""
    if RECORDS in config.stash:
        config.stash[RECORDS].close()
    if INSTRUMENTS in config.stash:
        config.stash[INSTRUMENTS].close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give every test that measures a case a clock of its own, which its ``benchmark`` fixture will read."""
    if not config.pluginmanager.has_plugin("pytest-benchmark"):
        return
    for item in items:
        if "albench_case" not in getattr(item, "fixturenames", ()):
            continue
        item.stash[CLOCK] = WindowClock()
        own = item.get_closest_marker("benchmark")
        args, options = (own.args, own.kwargs) if own is not None else ((), {})
        item.add_marker(pytest.mark.benchmark(*args, **{**options, "timer": item.stash[CLOCK]}), append=False)


@pytest.fixture
def albench_case(benchmark: Benchmark, request: pytest.FixtureRequest) -> CaseFixture:
    """Return a function that measures a scenario, or one of these fields, and returns its record.

    See `albench.pytest_plugin.case_fixture.CaseFixture`.
    """
    from albench.pytest_plugin.case_fixture import CaseFixture, fail_unmeasured

    if CLOCK not in request.node.stash:
        fail_unmeasured(benchmark, "albench_case must be an argument of the test, or of a fixture that it asks for")
    return CaseFixture(
        benchmark=benchmark,
        clock=request.node.stash[CLOCK],
        records=_session_records(request.config),
        instruments=_instruments(request.config),
        suite=request.node.nodeid.partition("::")[0],
        rounds=request.config.getoption("albench_rounds"),
        limit_seconds=request.config.getoption("albench_case_limit"),
        isolated=not request.config.getoption("albench_in_process"),
    )


def session_records(config: pytest.Config) -> list[Any]:
    """Return the `Record`s of this run of pytest so far, measured and not."""
    records = config.stash.get(RECORDS, None)
    return list(records.all) if records is not None else []


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_benchmark_group_stats(config: pytest.Config) -> Generator[None, Any, Any]:
    """Keep a copy of the rows in their groups: pytest-benchmark changes their names as it prints them."""
    groups = yield
    config.stash[GROUPS] = [(name, [dict(row) for row in rows]) for name, rows in groups]
    return groups


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Put the records of failed cases beside the benchmarks, which hold measured ones only."""
    records = config.stash.get(RECORDS, None)
    if records is not None:
        from albench.harness import benchmark_json

        if failed := benchmark_json.failed_records(records.all):
            output_json[benchmark_json.FAILED_KEY] = failed


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> Iterator[None]:
    """Print the metrics after pytest-benchmark's table, also where that ends in a regression."""
    try:
        yield
    finally:
        _print_metrics(terminalreporter, config)
        records = config.stash.get(RECORDS, None)
        if records is not None and records.all:
            terminalreporter.write_line(f"albench: {records.summary()}")


def _print_metrics(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    benchmarks = config.pluginmanager.get_plugin("pytest-benchmark")
    if benchmarks is None or benchmarks.quiet or GROUPS not in config.stash:
        return
    from albench.pytest_plugin import metric_table

    metric_table.print_tables(
        terminalreporter,
        config.stash[GROUPS],
        names=config.getoption("albench_columns"),
        times=config.getoption("benchmark_columns") or ["median"],
        sort=benchmarks.sort,
        name_format=benchmarks.name_format,
        scale_unit=lambda **facts: config.hook.pytest_benchmark_scale_unit(config=config, **facts),
        saved={str(path): runs for path, runs in benchmarks.compared_mapping.items()},
    )


def _benchmarks(config: pytest.Config) -> bool:
    """Whether pytest-benchmark is there and measures: not with --benchmark-disable, nor with pytest-xdist."""
    benchmarks = config.pluginmanager.get_plugin("pytest-benchmark")
    return benchmarks is not None and not benchmarks.disabled


def _session_records(config: pytest.Config) -> SessionRecords:
    """Return the records of this run of pytest, begun with the first that asks."""
    if RECORDS not in config.stash:
        from albench.pytest_plugin.session_records import SessionRecords

        config.stash[RECORDS] = SessionRecords()
    return config.stash[RECORDS]


def _instruments(config: pytest.Config) -> Instruments:
    """Return what reads the machine in this run of pytest, begun with the first that asks."""
    if INSTRUMENTS not in config.stash:
        from albench.harness.instruments import Instruments

        config.stash[INSTRUMENTS] = Instruments((), wanted=_benchmarks(config))
    return config.stash[INSTRUMENTS]
