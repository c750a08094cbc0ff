"""Run pair: two runs' records, read from files and matched case by case, as the pure numbers that a comparison takes.

Two records are of the same case if their scenarios are equal. Of a case the times of its rounds are compared, in their
order, and of a round that was measured again the last one. Networks that were trained to the end are left out: they are
timed once, for their accuracy.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from albench.analysis.comparison import Pair
from albench.analysis.surroundings import Difference, differences, machines
from albench.errors import UsageError
from albench.harness import benchmark_json, records
from albench.harness.control import flags, latest
from albench.harness.records import Record, is_measured
from albench.harness.scenario import TIMED


@dataclass(frozen=True, kw_only=True)
class Unpaired:
    """A case that cannot be compared, because one run has no time of it."""

    name: str
    missing: bool
    """Whether the run that has no time did not try the case at all; else it failed there."""
    run: str
    """The run that has no time: "A", "B" or "A and B"."""
    reason: str
    """What was recorded there, in one line; empty where the case is missing."""


@dataclass(frozen=True, kw_only=True)
class RunPair:
    """What two runs have in common, and what not."""

    pairs: tuple[Pair, ...]
    unpaired: tuple[Unpaired, ...]
    surroundings: tuple[Difference, ...]
    """Environment fields that are not alike."""
    left_out: int
    """Cases that were trained to the end."""
    off_pace: tuple[int, int] = (0, 0)
    """Times of A and of B that were taken while the machine was off its pace."""
    cases: tuple[int, int] = (0, 0)
    """Cases that A and B timed, or tried to."""
    machines: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """What A and B were measured on."""

    @property
    def one_machine(self) -> bool:
        """Whether all was measured on machines of one kind, so that a difference may be a change."""
        return len({*self.machines[0], *self.machines[1]}) <= 1

    def lost(self, *, missing: bool) -> list[str]:
        """Return the names of the cases that A has and B does not, for they failed there or are missing."""
        return [one.name for one in self.unpaired if one.run == "B" and one.missing == missing]


def read_run(path: Path) -> list[Record]:
    """Return the records of a run: a directory, a ``records.jsonl``, or a ``.json`` file of pytest-benchmark."""
    return benchmark_json.read(path) if is_benchmark_json(path) else records.read(path)


def is_benchmark_json(path: Path) -> bool:
    """Whether a path names a file of pytest-benchmark, and no directory; who reads it says what is wrong with it."""
    with contextlib.suppress(OSError):  # a name may be too long to be looked at
        return path.suffix == ".json" and not path.is_dir()
    return path.suffix == ".json"


def same_run(first: Path, second: Path) -> bool:
    """Whether two paths name one file of records, be it by its directory or by itself."""
    try:
        files = [path / records.FILE_NAME if path.is_dir() else path for path in (first, second)]
        return files[0].samefile(files[1])
    except OSError:
        return False  # who reads them says what is missing


def pair_runs(before: Sequence[Record], after: Sequence[Record]) -> RunPair:
    """Match two runs' records; `UsageError` where no case was timed in both."""
    found = match_runs(before, after)
    if not found.pairs:
        raise UsageError(
            f"A and B have no timed case in common ({found.cases[0]} cases in A, {found.cases[1]} in B): "
            "give two runs of the same suite with the same axes"
        )
    return found


def match_runs(before: Sequence[Record], after: Sequence[Record]) -> RunPair:
    """Match two runs' records, which need not have a case in common."""
    off_pace = (_off_pace(before), _off_pace(after))
    before, after = latest(before), latest(after)
    first, second = _by_case(before), _by_case(after)
    names = _names([*first.items(), *second.items()])
    pairs, unpaired = [], []
    for key, name in names.items():
        own, other = _timed(first.get(key, [])), _timed(second.get(key, []))
        if own and other:
            pairs.append(_pair(key, name, own, other))
        else:
            unpaired.append(_unpaired(name, first.get(key, []), second.get(key, [])))
    environments = [[record.environment for record in _timed(run)] for run in (before, after)]
    return RunPair(
        pairs=tuple(pairs),
        unpaired=tuple(unpaired),
        surroundings=tuple(differences(*environments)),
        left_out=len({r.key for r in (*before, *after) if r.scenario.purpose == "accuracy"}),
        off_pace=off_pace,
        cases=(len(first), len(second)),
        machines=(machines(environments[0]), machines(environments[1])),
    )


def _off_pace(run: Sequence[Record]) -> int:
    return sum(flag.record.scenario.purpose in TIMED for flag in flags(run))


def _by_case(run: Sequence[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in run:
        if record.scenario.purpose in TIMED:
            found.setdefault(record.key, []).append(record)
    return found


def _names(cases: Sequence[tuple[str, list[Record]]]) -> dict[str, str]:
    """Return a name by key; where two cases differ in what a name does not say, their keys are put behind it."""
    names = {key: found[0].scenario.describe() for key, found in cases}
    times = Counter(names.values())
    return {key: name if times[name] == 1 else f"{name} ({key})" for key, name in names.items()}


def _timed(run: Iterable[Record]) -> list[Record]:
    return [record for record in run if is_measured(record)]


def _pair(key: str, name: str, before: list[Record], after: list[Record]) -> Pair:
    ran_on = [" or ".join(sorted({_lanes(record) for record in run})) for run in (before, after)]
    return Pair(
        key=key,
        name=name,
        before=tuple(record.seconds for record in before if record.seconds is not None),
        after=tuple(record.seconds for record in after if record.seconds is not None),
        objection="" if ran_on[0] == ran_on[1] else f"ran on {ran_on[0]} in A and on {ran_on[1]} in B",
    )


def _lanes(record: Record) -> str:
    return f"{record.lanes} {record.lane_kind or 'lane'}{'' if record.lanes == 1 else 's'}"


def _unpaired(name: str, before: list[Record], after: list[Record]) -> Unpaired:
    """Return what is said of a case of which at least one run has no time."""
    without = [(run, found) for run, found in (("A", before), ("B", after)) if not _timed(found)]
    reasons = [f"{found[-1].status}: {found[-1].reason}" for _, found in without if found]
    return Unpaired(
        name=name,
        missing=not all(found for _, found in without),
        run=" and ".join(run for run, _ in without),
        reason="; ".join(dict.fromkeys(reasons)),
    )
