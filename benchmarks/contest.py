"""Contest: one subject against its baselines, in turns, in one process.

A ratio of two times means something where both were taken at the same moment of the same machine. So each round times
every baseline once, in an order that is drawn anew, and then the subject (which pytest-benchmark times). A ratio is
taken within a round; what is told is the median of the rounds' ratios with its interval. No ratio is ever asserted: a
target that was missed is a row of the table like any other.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from albench.analysis.statistics import Interval, median_interval

ROUNDS = 7
"""The fewest samples whose extremes are an interval of over 98 %, whatever the distribution."""
SEED = 0
"""Of the order of the baselines."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Something that trains, built and warmed before the first round."""

    name: str
    run: Callable[[], None]
    """Trains the contest's mini-batches, from an empty to a drained pipeline."""
    minibatches: int
    before: Callable[[], object] = bool
    """Called before each run, off the clock; does nothing where nothing is given."""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How a baseline's time relates to the subject's."""

    claim: str
    subject: str
    baseline: str
    target: str
    """What was hoped for, in words; empty where nothing was."""
    subject_seconds: float
    """Median for a mini-batch."""
    baseline_seconds: float
    ratio: Interval
    """Baseline over subject, per mini-batch: above 1 the subject is faster."""


@dataclass(frozen=True, kw_only=True)
class Contest:
    """What the fixture `contest` returns: call it with a subject and its baselines."""

    benchmark: object
    rounds: int
    ratios: list[Ratio] = field(default_factory=list)
    """Of all contests of the session."""

    def __call__(self, claim: str, subject: Contender, baselines: Sequence[tuple[Contender, str]]) -> list[Ratio]:
        """Run the rounds; `baselines` come with their targets. The ratios land in ``extra_info`` too."""
        order = random.Random(SEED)
        seconds: dict[str, list[float]] = {contender.name: [] for contender, _ in baselines}
        for contender in (subject, *(baseline for baseline, _ in baselines)):
            contender.before()
            contender.run()  # pools, caches and processes are there when the first round begins

        def baselines_first():
            for contender, _ in order.sample(baselines, len(baselines)):
                contender.before()
                start = time.perf_counter()
                contender.run()
                seconds[contender.name].append((time.perf_counter() - start) / contender.minibatches)
            subject.before()

        self.benchmark.group = claim  # before it is used: pytest-benchmark takes it then
        self.benchmark.pedantic(subject.run, setup=baselines_first, rounds=self.rounds, iterations=1)
        own = [s / subject.minibatches for s in self.benchmark.stats.stats.data]
        ratios = [
            Ratio(
                claim=claim,
                subject=subject.name,
                baseline=contender.name,
                target=target,
                subject_seconds=median_interval(own).estimate,
                baseline_seconds=median_interval(seconds[contender.name]).estimate,
                ratio=median_interval([b / s for b, s in zip(seconds[contender.name], own, strict=True)]),
            )
            for contender, target in baselines
        ]
        self.benchmark.extra_info["ratios"] = [
            {**vars(ratio), "ratio": vars(ratio.ratio), "rounds": self.rounds} for ratio in ratios
        ]
        self.ratios.extend(ratios)
        return ratios


RATIOS = pytest.StashKey[list[Ratio]]()


HEADINGS = ("claim", "subject", "ms", "baseline", "ms", "ratio", "interval", "target")


def row(one: Ratio) -> tuple[str, ...]:
    """Return a line of the table."""
    return (
        one.claim,
        one.subject,
        f"{1e3 * one.subject_seconds:.3g}",
        one.baseline,
        f"{1e3 * one.baseline_seconds:.3g}",
        f"{one.ratio.estimate:.2f}",
        f"[{one.ratio.low:.2f}, {one.ratio.high:.2f}]" if one.ratio.confidence else "none of one round",
        one.target,
    )


def print_ratios(terminalreporter: pytest.TerminalReporter, ratios: list[Ratio]) -> None:
    """Print what the contests of a session came to."""
    table = Table(title="time a mini-batch; a ratio over 1 means that the subject is faster")
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading in ("ms", "ratio") else "left")
    for one in ratios:
        table.add_row(*row(one))
    terminalreporter.section("albench: in turns with their baselines")
    Console(file=terminalreporter._tw._file, width=150, markup=False).print(table)


def write_ratios(path: Path, ratios: list[Ratio]) -> None:
    """Write the same as a Markdown table."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *map(row, ratios)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"| {' | '.join(line)} |\n" for line in lines))
