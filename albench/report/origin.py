"""Origin: on what, when and from which suite records were made, in a line or two."""

from __future__ import annotations

import re
from collections import Counter

from albench.report.findings import Findings, seeds_told
from albench.report.words import counted, listed, spelt


def trust_sentence(findings: Findings) -> str:
    """Say in one line what the answer rests on."""
    parts = [f"{counted(findings.measured, 'measurement')} of {counted(findings.records, 'record')}"]
    parts.append(f"data: {listed(findings.datasets)}")
    if len(findings.machines) > 1:
        parts.append(f"of {counted(len(findings.machines), 'machine')}, pooled: {spelt(findings.machines, most=4)}")
        return "; ".join(parts) + "."
    facts = {fact.name: fact.values[0][0] for fact in findings.environment}
    if any(work.device == "cuda" for work in findings.works):
        names = Counter(value for name, value in facts.items() if re.fullmatch(r"gpus \d+: name", name))
        parts += [f"GPU: {f'{count} × ' if count > 1 else ''}{name}" for name, count in names.items()]
    parts += [f"processor: {facts[name]}" for name in ("cpu",) if name in facts]
    parts += [f"cores: {facts[name]}" for name in ("usable cores",) if name in facts]
    return "; ".join(parts) + "."


def origin_sentence(findings: Findings) -> str:
    """Say when, from which suite and with which seeds the records were made."""
    first, last = findings.started_first, findings.started_last
    suites = f"Suite {listed(findings.suites)}; " if findings.suites else ""
    seeds = seeds_told(findings.seeds)
    order = f", order shuffled by {seeds_told(findings.order_seeds)}" if findings.order_seeds else ""
    when = f"cases started from {first} to {last}" if first != last else f"the case started at {first}"
    sentence = f"{suites}{seeds}{order}; {when}."
    return sentence[0].upper() + sentence[1:]
