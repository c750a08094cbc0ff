"""Findings: everything a report says, as plain data, worked out once from the records.

The page, the Markdown, the comma-separated file and the terminal table all print these findings and work out nothing
themselves, so they cannot disagree. What could not be measured, what was measured less often, what was capped and what
was noted on the way is a finding like any other: nothing is left out in silence.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from albench.analysis.quality import summary
from albench.analysis.surroundings import machines
from albench.errors import UsageError
from albench.harness.concerns import quality_warnings
from albench.harness.control import Flag, flags, latest
from albench.harness.records import Record, is_measured
from albench.harness.sweep_log import SweepEnd
from albench.report.accuracy import Accuracy, accuracies_of
from albench.report.contests import Contest, contests_of
from albench.report.failures import Failure, failures_of
from albench.report.grouping import regimes_of, spread
from albench.report.lane_sweeps import LaneSweep, lane_sweeps_of
from albench.report.learning_curves import LearningCurves, learning_curves_of
from albench.report.regimes import Regime, Work
from albench.report.resources import WorkResources, resources_of
from albench.report.sizes import BatchSweep, SizeMap, batch_sweeps_of, size_maps_of
from albench.report.usage import Usage, usages_of
from albench.report.words import counted, ends, number, percent, spelt

GIBIBYTE = 2**30
SEEDS_SHOWN = 10
"""Seeds that are spelt out; of more their number is told."""


@dataclass(frozen=True, kw_only=True)
class Remark:
    """Something a reader should know about some of the scenarios."""

    text: str
    scenarios: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One fact of the environment, with how many records name each value."""

    name: str
    values: tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the records say."""

    regimes: tuple[Regime, ...]
    contests: tuple[Contest, ...]
    """Who trains most in a second, where more than AL and BP ran."""
    accuracies: tuple[Accuracy, ...]
    learning: tuple[LearningCurves, ...]
    """Accuracy against seconds of training, a kind of work and depth after the other."""
    failures: tuple[Failure, ...]
    remarks: tuple[Remark, ...]
    resources: tuple[WorkResources, ...]
    """What the times were made of, a kind of work after the other."""
    lane_sweeps: tuple[LaneSweep, ...]
    """How everyone's speed grows with lanes, where several numbers of lanes were measured."""
    batch_sweeps: tuple[BatchSweep, ...]
    """Throughput against the batch size, where work differs in nothing else."""
    size_maps: tuple[SizeMap, ...]
    """AL's fastest over BP's fastest, over depth and another size."""
    usages: tuple[Usage, ...]
    """What was busy during the telling runs."""
    environment: tuple[Fact, ...]
    """The machine and the versions; a fact with several values is not the same in all records."""
    machines: tuple[str, ...]
    """Each machine that something was measured on; several are pooled here."""
    suites: tuple[str, ...]
    seeds: tuple[int, ...]
    order_seeds: tuple[int, ...]
    """Seeds of the shuffled orders in which the cases ran."""
    datasets: tuple[str, ...]
    records: int
    measured: int
    started_first: str
    started_last: str

    @property
    def sweeps(self) -> tuple[Regime, ...]:
        """The regimes that ask how time grows: not those of a single point that a contest tells already."""
        told = {contest.work for contest in self.contests}
        return tuple(regime for regime in self.regimes if regime.swept or regime.work not in told)

    @property
    def works(self) -> set[Work]:
        """Every kind of work of which something was measured or tried in a contest."""
        found = {regime.work for regime in self.regimes} | {contest.work for contest in self.contests}
        return found | {accuracy.work for accuracy in self.accuracies}

    @property
    def other_failures(self) -> list[Failure]:
        """The failures that no contest lists already."""
        told = {failure for contest in self.contests for failure in contest.failures}
        return [failure for failure in self.failures if failure not in told]

    def resources_of(self, work: Work) -> WorkResources | None:
        """Return what the times of a kind of work were made of, where that is known."""
        return next((one for one in self.resources if one.work == work), None)

    def accuracy_of(self, regime: Regime) -> Accuracy | None:
        """Return the accuracy on the same kind of work as a regime."""
        return next((accuracy for accuracy in self.accuracies if accuracy.work == regime.work), None)

    def learning_on(self, work: Work) -> list[LearningCurves]:
        """Return the learning curves on a kind of work, shallow to deep."""
        return [one for one in self.learning if one.work == work]

    @property
    def other_accuracies(self) -> list[Accuracy]:
        """Accuracies on work that no time sweep covers."""
        works = {regime.work for regime in self.regimes}
        return [accuracy for accuracy in self.accuracies if accuracy.work not in works]


def find(records: Sequence[Record], sweep_ends: Sequence[SweepEnd] = ()) -> Findings:
    """Work out the findings. `sweep_ends` say why the sweeps that made the records ended.

    No record at all is a `UsageError`; nothing but failures is a finding.
    """
    off_pace = _off_pace(flags(records))
    given, records = len(records), latest(records)
    if not records:
        what = f"only controls in {counted(given, 'record')}" if given else "no measured record in an empty list"
        raise UsageError(f"{what}: run a suite first, for example `albench quickstart`")
    good = [record for record in records if is_measured(record)]
    timed = [record for record in good if record.scenario.purpose == "time"]
    trained = [record for record in good if record.scenario.purpose == "accuracy"]
    starts = sorted(record.started_at for record in records)
    found = machines(record.environment for record in good)
    # Whoever is on a share of a GPU meets others in contests: a line of time against depth, beside the whole card or
    # other numbers of shares, would compare hardware.
    regimes = tuple(regimes_of([record for record in timed if record.scenario.lane_kind == "stream"]))
    return Findings(
        regimes=regimes,
        contests=tuple(contests_of(records)),
        accuracies=tuple(accuracies_of(trained, timed)),
        learning=tuple(learning_curves_of(trained)),
        failures=tuple(failures_of(records)),
        remarks=(
            *_mixed_machines(found),
            *off_pace,
            *[Remark(text=line, scenarios=()) for line in summary(quality_warnings(records))],
            *_input_shares(good),
            *_rounds(timed),
            *_capped(good),
            *_mixed_seeds(timed),
            *_no_accuracy(good),
            *_notes(records),
            *_sweep_ends(sweep_ends),
        ),
        resources=tuple(resources_of(timed)),
        lane_sweeps=tuple(lane_sweeps_of(timed)),
        batch_sweeps=tuple(batch_sweeps_of(regimes)),
        size_maps=tuple(size_maps_of(regimes)),
        usages=tuple(usages_of(regimes, timed)),
        environment=tuple(_environment(records)),
        machines=found,
        suites=tuple(sorted({record.suite for record in records if record.suite})),
        seeds=tuple(sorted({record.scenario.seed for record in records})),
        order_seeds=tuple(sorted({record.order_seed for record in records if record.order_seed is not None})),
        datasets=tuple(sorted({record.scenario.dataset for record in records})),
        records=len(records),
        measured=len(good),
        started_first=starts[0],
        started_last=starts[-1],
    )


def _mixed_machines(found: Sequence[str]) -> list[Remark]:
    """Times that pool several machines: what differs between them may be the machines."""
    if len(found) < 2:
        return []
    return [
        Remark(
            text=f"measurements of {counted(len(found), 'machine')} are pooled ({spelt(found)}), so what differs "
            "between times may be the machines: report the records of each alone, or two of them side by side",
            scenarios=(),
        )
    ]


def _off_pace(flagged: Sequence[Flag]) -> list[Remark]:
    """What was measured while the machine was faster or slower than usual."""
    if not flagged:
        return []
    worst = max(flagged, key=lambda flag: abs(flag.deviation))
    return [
        Remark(
            text=f"{counted(len(flagged), 'measurement')} taken while the machine was off its pace, by up to "
            f"{percent(abs(worst.deviation))} at the control case beside them",
            scenarios=tuple(dict.fromkeys(flag.record.scenario.describe() for flag in flagged)),
        )
    ]


def _input_shares(measured: Sequence[Record]) -> list[Remark]:
    """What the real input pipeline adds to the time of a case whose mini-batches lie in memory otherwise."""
    seconds: dict[str, dict[int, float]] = defaultdict(dict)
    for record in measured:
        seconds[record.scenario.key][record.round] = record.seconds or 0.0
    remarks = []
    for scenario in dict.fromkeys(r.scenario for r in measured if r.scenario.purpose == "input"):
        own = seconds[scenario.key]
        ready = seconds.get(dataclasses.replace(scenario, purpose="time").key, {})
        # A round's two times were taken within minutes of each other.
        ratios = [own[i] / ready[i] for i in own if i in ready]
        if ratios:
            ratio = spread(ratios)
            remarks.append(
                Remark(
                    text="with the real input pipeline on, which draws and gathers mini-batches inside the window, a "
                    f"run takes {number(ratio.estimate)} {ends(ratio)} times as long as with all of them in memory",
                    scenarios=(scenario.describe(),),
                )
            )
    return remarks


def _rounds(timed: Sequence[Record]) -> list[Remark]:
    """Which scenarios were measured less often than the others of their regime."""
    counts: dict[Work, Counter[str]] = defaultdict(Counter)
    names: dict[str, str] = {}
    for record in timed:
        counts[Work.of(record.scenario)][record.scenario.key] += 1
        names[record.scenario.key] = record.scenario.describe()
    by_rounds: dict[tuple[int, int], list[str]] = defaultdict(list)
    for keys in counts.values():
        most = max(keys.values())
        for key, rounds in keys.items():
            if rounds < most:
                by_rounds[rounds, most].append(names[key])
    return [
        Remark(
            text=f"measured {rounds} time{'s' if rounds > 1 else ''}, where others of the same work were "
            f"measured {most} times",
            scenarios=tuple(scenarios),
        )
        for (rounds, most), scenarios in sorted(by_rounds.items())
    ]


def _capped(records: Sequence[Record]) -> list[Remark]:
    """Which scenarios ran on fewer lanes than they asked for."""
    capped: dict[tuple[int, int], dict[str, None]] = defaultdict(dict)
    for record in records:
        said = any("lanes" in note for note in record.notes)  # the engine's own note is shown as it is
        if record.scenario.method == "al" and record.lanes < record.scenario.lanes and not said:
            capped[record.scenario.lanes, record.lanes][record.scenario.describe()] = None
    return [
        Remark(
            text=f"asked for {asked} lanes and ran on {ran}: there are no more components than that",
            scenarios=tuple(scenarios),
        )
        for (asked, ran), scenarios in sorted(capped.items())
    ]


def _mixed_seeds(timed: Sequence[Record]) -> list[Remark]:
    """Times that pool several seeds: the seed does not change the work, but the reader should know."""
    seeds = {record.scenario.seed for record in timed}
    if len(seeds) < 2:
        return []
    return [Remark(text=f"times pool the rounds of {seeds_told(seeds)}", scenarios=())]


def seeds_told(seeds: Collection[int]) -> str:
    """Return "seed 0", "seeds 0, 1, 2", or how many there are."""
    if len(seeds) > SEEDS_SHOWN:
        return f"{len(seeds)} seeds, {min(seeds)} to {max(seeds)}"
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, sorted(seeds)))}"


def _no_accuracy(records: Sequence[Record]) -> list[Remark]:
    """Why some measured scenarios have no accuracy."""
    reasons: dict[str, dict[str, None]] = defaultdict(dict)
    for record in records:
        if record.accuracy is None:
            reason = record.accuracy_reason or "no reason recorded"
            reasons[reason][record.scenario.describe()] = None
    return [Remark(text=f"no held-out accuracy: {reason}", scenarios=tuple(found)) for reason, found in reasons.items()]


def _notes(records: Sequence[Record]) -> list[Remark]:
    """The notes that records carry, equal ones together."""
    notes: dict[str, dict[str, None]] = defaultdict(dict)
    for record in records:
        for note in record.notes:
            notes[note][record.scenario.describe()] = None
    return [Remark(text=note, scenarios=tuple(found)) for note, found in notes.items()]


def _sweep_ends(ends: Sequence[SweepEnd]) -> list[Remark]:
    """Why there were no more rounds."""
    return [
        Remark(
            text=f"the sweep begun at {end.started_at} ran {counted(end.cases, 'case')} and ended after "
            f"{number(end.seconds)} s: {end.stopped_because}",
            scenarios=(),
        )
        for end in ends
    ]


def _environment(records: Sequence[Record]) -> list[Fact]:
    """The machine and versions that the records name, each fact once, its commonest value first."""
    # Most records of a sweep have the same environment, and to take one apart takes long: each is, once.
    alike: dict[bytes, list[Record]] = defaultdict(list)
    for record in records:
        alike[msgspec.json.encode(record.environment)].append(record)
    values: dict[str, Counter[str]] = defaultdict(Counter)
    for own in alike.values():
        for name, value in _facts(own[0].environment):
            values[name][value] += len(own)
    return [Fact(name=name, values=tuple(counts.most_common())) for name, counts in values.items()]


def _facts(environment: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Flatten a nested environment to pairs of words, in the order it was recorded."""
    facts: list[tuple[str, str]] = []
    for name, value in environment.items():
        words = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            facts += _facts(value, prefix=f"{words}: ")
        elif isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
            for i, one in enumerate(value, 1):
                facts += _facts(one, prefix=f"{words} {i}: ")
        elif isinstance(value, list):
            facts.append((words, ", ".join(map(str, value)) or "none"))
        elif name.endswith("_bytes") and isinstance(value, int):
            facts.append((words.removesuffix(" bytes"), f"{number(value / GIBIBYTE)} GiB"))
        elif value is None or value == "":
            facts.append((words, "unknown" if value is None else "none"))
        else:
            facts.append((words, str(value)))
    return facts
