"""Fairness: what makes the two sides of a report comparable, what limits that, and what was picked after the fact.

Contests say it of themselves, number by number (`albench.report.contest_words`); here it is said of times against depth
and of accuracies, each only where the report has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from albench.methods import FOLDED
from albench.report.accuracy import Accuracy
from albench.report.findings import Findings
from albench.report.regimes import Regime
from albench.report.words import percent, spelt

Pair = tuple[int, int]
"""Parameters that AL and BP predict with at one depth."""


def fairness_sentences(findings: Findings) -> list[str]:
    """Say what makes the comparison fair and what limits it."""
    timed = [one for regime in findings.regimes for one in regime.series]
    learnt = [one for accuracy in findings.accuracies for one in accuracy.series]
    al, bp = _sides((one.method, one.name) for one in timed or learnt)
    equal = "The same network depth and width, the same mini-batches, the same optimizer (Adam) and arithmetic on both "
    sentences = [
        " ".join([f"{equal}sides.", *_parameter_words(findings)]),
        "Part of AL's parameters serves training only: they cost time and memory, which is counted, but do not make "
        "the prediction any richer.",
        "Every case ran in a process of its own; data lay ready in memory; the clock ran from an empty to a drained "
        "pipeline, optimizer included, evaluation excluded.",
    ]
    if al and bp:
        sentences.append(f"AL's side brought {spelt(al)}. The other side brought {spelt(bp)}.")
        if timed:
            sentences[-1] += (
                " “Fastest” is picked after the fact at each depth, for both sides alike, so with close rivals it "
                "flatters the side that has more of them."
            )
    if _has_choice(findings.accuracies):
        sentences.append(
            "Where a side was trained in several settings, sentences tell of the one that learnt best at that depth. "
            "It is picked after the fact, by that accuracy, which flatters the side that has more of them."
        )
    if al and any(one.method == "bp" and (one.lanes or 1) > 1 for one in timed):
        sentences.append(
            "BP with several threads splits each single operation over the same processor cores that AL's lanes use: "
            "what a user would do with this hardware otherwise."
        )
    if not bp and not findings.contests:
        what = "is faster than it" if timed else "learns as well"
        sentences.append(f"BP was not measured here, so this report cannot say whether AL {what}.")
    return sentences


def _sides(series: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Return the names of AL's series and of all others, from methods and names."""
    found = list(dict.fromkeys(series))
    al = [name for method, name in found if method in FOLDED]
    return al, [name for method, name in found if method not in FOLDED]


def _has_choice(accuracies: Sequence[Accuracy]) -> bool:
    """Whether somewhere the best of several settings of a side had to be picked."""
    return any(
        len(accuracy.ranked_at(method, depth)) > 1
        for accuracy in accuracies
        if accuracy.trained_to_the_end  # engines of timed runs learn the same
        for method in ("al", "bp")
        for depth in {point.hidden_layers for series in accuracy.of_method(method) for point in series.points}
    )


def _parameter_words(findings: Findings) -> list[str]:
    """Say whether both sides predict with equally many parameters; nothing where one side alone was measured."""
    pairs = [
        *[pair for regime in findings.regimes for pair in _timed_pairs(regime)],
        *[pair for accuracy in findings.accuracies for pair in _learnt_pairs(accuracy)],
    ]
    known = [(al, bp) for al, bp in pairs if al and bp]
    if not pairs:
        return []
    if not known:
        return ["The records do not name the parameters of both sides."]
    if all(al == bp for al, bp in known):
        return ["Both predict with exactly as many parameters as each other, at every depth."]
    most = max(max(al, bp) / min(al, bp) - 1 for al, bp in known)
    which = "; the table says which has more" if findings.regimes else ""
    return [f"They predict with parameters that differ by {percent(most, 1)} at most{which}."]


def _timed_pairs(regime: Regime) -> list[Pair]:
    """Return the parameters of both sides at each depth that both have; 0 where a record does not name them."""
    return [
        (al.effective_parameters or 0, bp.effective_parameters or 0)
        for depth in regime.depths
        for al in (regime.first_at("al", depth),)
        for bp in (regime.first_at("bp", depth),)
        if al and bp
    ]


def _learnt_pairs(accuracy: Accuracy) -> list[Pair]:
    """Return the same of networks whose accuracy is known."""
    depths = sorted({point.hidden_layers for series in accuracy.series for point in series.points})
    return [
        (al.effective_parameters or 0, bp.effective_parameters or 0)
        for depth in depths
        for al in (accuracy.best_at("al", depth),)
        for bp in (accuracy.best_at("bp", depth),)
        if al and bp
    ]
