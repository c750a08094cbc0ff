"""Case fixture: what ``albench_case`` is. It measures a scenario for pytest-benchmark, round by round.

A round is a case: a fresh process builds the network, warms up, trains the window with the device synchronised at both
ends, and answers with the seconds and all else that was measured. Starting the process is no part of the time. A case
that fails, is ended at its limit or runs out of memory fails the test in one line, and its record is kept.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

import msgspec
import pytest

from albench.errors import UsageError, unknown_name
from albench.harness import benchmark_json, environment
from albench.harness.filing import filed, heading
from albench.harness.instruments import Instruments
from albench.harness.isolation import run_here, run_isolated
from albench.harness.outcome import Outcome
from albench.harness.records import Record
from albench.harness.scenario import Scenario
from albench.pytest_plugin.session_records import SessionRecords
from albench.pytest_plugin.window_clock import WindowClock

NOT_ISOLATED = "measured in the running process after whatever ran there before, not isolated"
NO_MEMORY = "taken where records are kept (--albench-records), in the first round"


class Benchmark(Protocol):
    """What is used of pytest-benchmark's fixture ``benchmark``."""

    has_error: bool
    extra_info: dict[str, Any]

    @property
    def enabled(self) -> bool:
        """Whether it measures, rather than run everything once."""

    def pedantic(self, target: Callable[[], Any], *, setup: Callable[[], None], rounds: int) -> Any:
        """Call `setup` and then `target`, which it times, in each round."""


class CaseFailedError(Exception):
    """A round has no time."""


@functools.cache
def surroundings() -> dict[str, Any]:
    """Return the environment, looked at once a run."""
    return environment.describe()


@dataclass(frozen=True, kw_only=True)
class CaseFixture:
    """What ``albench_case`` returns: call it once in a test, with a scenario or with the fields of one."""

    benchmark: Benchmark
    clock: WindowClock
    records: SessionRecords
    instruments: Instruments
    suite: str
    """The file of the test."""
    rounds: int
    limit_seconds: float
    isolated: bool

    def __call__(
        self,
        scenario: Scenario | None = None,
        *,
        rounds: int | None = None,
        limit_seconds: float | None = None,
        isolated: bool | None = None,
        data_dir: Path | None = None,
        **fields: Any,
    ) -> Record:
        """Measure a scenario and return the record of the round in the middle, with the median of all rounds.

        `rounds`, `limit_seconds` and `isolated` stand above the options of the command line. With `isolated` False the
        case runs in this process and has no limit. Where pytest-benchmark is disabled the scenario runs once, and
        nothing is recorded. Fails the test in one line where there is no time.
        """
        __tracebackhide__ = True
        refusal = ""
        measured: list[Record] = []
        unwritten: list[str] = []
        try:
            case = _Case(
                scenario=_scenario(scenario, fields),
                suite=self.suite,
                instruments=self.instruments,
                limit_seconds=self.limit_seconds if limit_seconds is None else limit_seconds,
                isolated=self.isolated if isolated is None else isolated,
                data_dir=data_dir,
            )
            wanted = self.rounds if rounds is None else rounds
            if wanted < 1:
                raise UsageError(f"rounds is {wanted}: give a whole number of at least 1")
        except UsageError as error:
            refusal = str(error)
        if refusal:
            fail_unmeasured(self.benchmark, refusal)

        def still() -> None:
            self.clock.seconds = 0.0

        def one_round() -> None:
            number = self.records.next_round(case.scenario.key)
            record = case.measure(number, memory=self.records.kept and number == 0)
            if self.benchmark.enabled and len(measured) < wanted:  # a profiler runs it once more
                unwritten.append(self.records.add(record))
            if record.seconds is None:
                raise CaseFailedError(f"{case.scenario.describe()}: {record.status}: {record.reason}")
            measured.append(record)
            self.clock.seconds = record.seconds

        try:
            self.benchmark.pedantic(one_round, setup=still, rounds=wanted)
        except CaseFailedError as error:
            refusal = str(error)
        except BaseException:
            self.benchmark.has_error = True  # Ctrl-C too: pytest-benchmark cannot save a benchmark without a time
            raise
        if refusal:  # outside of its handling, of which pytest would tell
            pytest.fail(f"albench: {refusal}", pytrace=False)
        record = _middle(measured[:wanted])
        self.benchmark.extra_info.update(benchmark_json.extra_info(record), isolated=case.isolated)
        if problems := sorted(set(filter(None, unwritten))):
            pytest.fail(f"albench: {case.scenario.describe()}: measured, but {'; '.join(problems)}", pytrace=False)
        return record


def fail_unmeasured(benchmark: Benchmark, line: str) -> NoReturn:
    """Fail a test in one line before anything is measured, as a benchmark that failed: an unused one is warned of."""
    __tracebackhide__ = True

    def refuse() -> None:
        raise CaseFailedError(line)

    with contextlib.suppress(CaseFailedError):
        benchmark.pedantic(refuse, setup=lambda: None, rounds=1)
    pytest.fail(f"albench: {line}", pytrace=False)


@dataclass(frozen=True, kw_only=True)
class _Case:
    """A scenario and how it is to be measured."""

    scenario: Scenario
    suite: str
    instruments: Instruments
    limit_seconds: float
    isolated: bool
    data_dir: Path | None

    def __post_init__(self) -> None:
        if not self.limit_seconds > 0:
            raise UsageError(f"limit seconds is {self.limit_seconds}: give a number above 0")

    def measure(self, number: int, *, memory: bool) -> Record:
        """Measure one round and return its record; `memory`: with peak memory, in a pass of its own."""
        begun = heading(self.scenario, number, suite=self.suite, environment=surroundings())
        self.instruments.begin(self.scenario)
        if self.isolated:
            answer = run_isolated(
                self.scenario, data_dir=self.data_dir, limit_seconds=self.limit_seconds, memory=memory
            )
        else:
            answer = run_here(self.scenario, data_dir=self.data_dir)
        observed = self.instruments.fields(self.scenario, answer) if isinstance(answer, Outcome) else {}
        if self.isolated:
            return filed(begun, answer, observed=observed, no_memory=NO_MEMORY)
        return filed(begun, answer, observed=observed, no_memory=NOT_ISOLATED, notes=[NOT_ISOLATED])


def _scenario(scenario: Scenario | None, fields: dict[str, Any]) -> Scenario:
    """Return the scenario that a test asked for; `UsageError` where it did not say one whole scenario."""
    if scenario is not None:
        if fields:
            raise UsageError(f"{', '.join(sorted(fields))} given beside a scenario: give either it or its fields")
        return scenario
    known = {field.name: field for field in dataclasses.fields(Scenario)}
    for name in fields:
        if name not in known:
            raise unknown_name("field of a scenario", name, known)
    missing = [n for n, field in known.items() if field.default is dataclasses.MISSING and n not in fields]
    if missing:
        raise UsageError(f"no {', '.join(missing)}: a scenario needs {'it' if len(missing) == 1 else 'them'}")
    return Scenario(**fields)


def _middle(records: list[Record]) -> Record:
    """Return the record of the round in the middle, with the median of all rounds for its time, and the peak memory
    that one of them has."""
    seconds = [record.seconds for record in records if record.seconds is not None]
    middle = next(record for record in records if record.seconds == statistics.median_low(seconds))
    with_memory = next((record for record in records if record.memory is not None), middle)
    return msgspec.structs.replace(
        middle,
        seconds=statistics.median(seconds),
        memory=with_memory.memory,
        memory_reason=with_memory.memory_reason,
    )
