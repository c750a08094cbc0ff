"""Traceable: what ``albench trace`` runs, checked before torch is imported: bad input is told at once."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

from albench.errors import UsageError, unknown_name
from albench.harness import records, suites, sweep_file
from albench.harness.scenario import Scenario
from albench.harness.span_file import FOLDER
from albench.machine import launched_processes
from albench.methods import FOLDED, method_named, span_unit

MOST_SPANS = 50_000
"""Spans of one trace: some megabytes of JSON, which viewers open at once. A longer run would show the same again."""
WHERE_FROM = "give both, such as `albench trace reports/run-depth KEY`, or neither and --method"


class Plan(NamedTuple):
    """What is traced."""

    scenario: Scenario
    notes: tuple[str, ...]
    """What a reader should know of how it was changed."""


def planned(scenario: Scenario, minibatches: int | None = None) -> Plan:
    """Return what is traced of a scenario: as many mini-batches as given, and as a trace can hold.

    Raises `UsageError` where the method on that engine tells nothing of when its parts ran.
    """
    span_unit(scenario.method, scenario.engine)
    _refuse_several_hosts()
    wanted = scenario.minibatches if minibatches is None else minibatches
    most = max(1, MOST_SPANS // _spans_of_a_minibatch(scenario))
    note = f"{most} mini-batches were run of the {wanted} asked for: a trace holds {MOST_SPANS} spans"
    changed = dataclasses.replace(scenario, minibatches=min(wanted, most), purpose="time")
    return Plan(changed, (note,) if wanted > most else ())


def recorded_case(source: Path | None, key: str | None) -> Scenario:
    """Return the case with this key, or the one whose key begins so, of a directory of records or of a suite."""
    if source is None or key is None:
        raise UsageError(f"a recorded case is named by a directory (or a suite) and a key: {WHERE_FROM}")
    if records_folder(source) is not None:
        scenarios = [record.scenario for record in records.read(source)]
    else:
        scenarios = suites.suite_scenarios(sweep_file.suite_of(str(source)), name=str(source))
    found = {scenario.key: scenario for scenario in scenarios if key and scenario.key.startswith(key)}
    if not found:
        known = {scenario.key for scenario in scenarios}
        if len(known) > 8:
            raise UsageError(
                f"no case of {source} has the key {key!r}: `albench list SUITE` prints the keys of a suite"
            )
        raise unknown_name(f"case of {source}", key, known)
    if len(found) > 1:
        raise UsageError(f"{len(found)} cases of {source} have keys that begin with {key!r}: give the whole key")
    return next(iter(found.values()))


def records_folder(source: Path) -> Path | None:
    """Return the directory of records that a source is, or lies in; None where it is a suite or is not there."""
    try:
        if source.is_dir():
            return source
        return source.parent if source.exists() and source.suffix != ".toml" else None
    except OSError as error:
        raise UsageError(f"{str(source)[:60]!r} cannot be read ({error.strerror or error}): {WHERE_FROM}") from None


def trace_folder(source: Path | None, scenario: Scenario) -> Path:
    """Return where the trace of a case goes unless it is told: beside the records it was named by, else here."""
    beside = None if source is None else records_folder(source)
    return (beside or Path()) / FOLDER / f"{scenario.method}-{scenario.engine}-{scenario.key}"


def writable(directory: Path) -> Path:
    """Return a directory that exists and can be written into, made if need be; `UsageError` before anything is run."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise UsageError(
            f"{directory} cannot be written ({error.strerror or error}): give another directory with --out"
        ) from None
    return directory


def _spans_of_a_minibatch(scenario: Scenario) -> int:
    if scenario.method in FOLDED:
        return scenario.hidden_layers // 2
    method = method_named(scenario.method)
    if not method.microbatches:
        return 1
    return scenario.lanes * (1 + 3 * method.chunks * scenario.microbatches)  # an update; forward, and backward in two


def _refuse_several_hosts() -> None:
    """Raise `UsageError` where a launcher started processes on several hosts."""
    size = launched_processes() or 1
    local = os.environ.get("LOCAL_WORLD_SIZE", str(size))
    here = int(local) if local.isdecimal() else size
    if size > here:
        raise UsageError(
            f"{here} of {size} processes are on this host, and clocks of different hosts are apart: trace on one host"
        )
