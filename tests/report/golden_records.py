"""Golden records: small records cut from the committed reports, and what the analysis says of them, pinned.

A change of the analysis that moves a published verdict, share, break-even or winner fails `test_golden.py`. Where the
change is meant, write the pins anew and read what moved before committing it:

    python -m tests.report.golden_records && git diff tests/report/golden

The records stay as they are while the reports are measured anew; `--cut` cuts them from the reports as they are now.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from albench.analysis import baselines
from albench.analysis.break_even import BreakEven
from albench.analysis.statistics import Interval
from albench.harness.records import Record, parse, read
from albench.report import find, headline
from albench.report.break_even import break_evens
from albench.report.contests import Contest
from albench.report.regimes import Regime

FOLDER = Path(__file__).parent / "golden"
REPORTS = Path(__file__).parents[2] / "reports"

SOURCES: dict[str, tuple[str, Callable[[Record], bool]]] = {
    "cpu-narrow": ("cpu-2-core/depth", lambda record: record.scenario.width == 32),
    "cpu-wide": ("cpu-2-core/depth", lambda record: record.scenario.width == 512),
    "gpu-depth": ("gpu-h100/depth", lambda _: True),
    "baselines": ("cpu-2-core/baselines", lambda _: True),
    "baselines-fair": ("baselines-fair-cpu-2-cores", lambda _: True),
}
"""Report, and which of its records."""
LEFT_OUT: dict[str, Any] = {
    "environment": {},
    "losses": None,
    "task_seconds": None,
    "memory": None,
    "telemetry": None,
    "notes": [],
}
"""What the pinned numbers do not come from, and most of a record's bytes. Without task times nothing is projected."""


def records_of(name: str) -> list[Record]:
    """Return the golden records of a name."""
    text = gzip.decompress((FOLDER / f"{name}.jsonl.gz").read_bytes())
    return [parse(line, where=f"{name}, line {i}") for i, line in enumerate(text.splitlines(), 1)]


def pinned(name: str) -> dict[str, Any]:
    """Return what was pinned."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def found_in(records: list[Record]) -> dict[str, Any]:
    """Return what the analysis says of records, as far as it is pinned."""
    findings = find(records)
    return {
        "headline": headline(findings),
        "regimes": {regime.title: _regime(regime, findings.regimes) for regime in findings.sweeps},
        "contests": {contest.title: _contest(contest) for contest in findings.contests},
    }


def _regime(regime: Regime, regimes: tuple[Regime, ...]) -> dict[str, Any]:
    return {
        "series": {
            series.name: {
                "verdict": series.verdict.complexity,
                "product share": _interval(series.verdict.product_share),
            }
            for series in regime.everything
        },
        "speed-ups": {f"ℓ = {one.hidden_layers}": _interval(one.speedup) for one in regime.comparisons},
        "break-evens": {
            f"{one.name}, along {one.axis}, {one.where}": {
                "by the fits": _break_even(one.fitted),
                "by the points": _break_even(one.measured),
                "contradicted": one.contradicted,
            }
            for one in break_evens(regime, regimes)
        },
    }


def _contest(contest: Contest) -> dict[str, Any]:
    best = {side: contest.best(side) for side in ("al", "bp", "pipeline", "data-parallel")}
    al = best["al"]
    return {
        "order": [one.name for one in contest.standings],
        "best": {side: one.name if one else None for side, one in best.items()},
        "AL against": {
            side: {"outcome": baselines.outcome(ratio), "speed": _interval(ratio)}
            for side, one in best.items()
            if al and one and side != "al"
            for ratio in [baselines.speed(al, one)]
        },
    }


def _interval(interval: Interval) -> list[float]:
    return [_digits(value) for value in (interval.estimate, interval.low, interval.high)]


def _break_even(found: BreakEven | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"kind": found.kind, "value": _interval(found.value), "extrapolated": found.extrapolated}


def _digits(value: float) -> float:
    """Return one digit more than a report shows."""
    return float(f"{value:.4g}")


def _cut() -> None:
    for name, (report, kept) in SOURCES.items():
        records = [record for record in read(REPORTS / report) if kept(record)]
        lines = [msgspec.json.encode(msgspec.structs.replace(record, **LEFT_OUT)) + b"\n" for record in records]
        # No time in the file: the same records give the same bytes.
        (FOLDER / f"{name}.jsonl.gz").write_bytes(gzip.compress(b"".join(lines), mtime=0))


def main(arguments: list[str]) -> None:
    """Write the pins anew, and with ``--cut`` the records before them."""
    if "--cut" in arguments:
        _cut()
    for name in SOURCES:
        text = json.dumps(found_in(records_of(name)), ensure_ascii=False, indent=1)
        (FOLDER / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
