"""Page: one self-contained ``index.html``.

Everything is inside it, the figures as data too: it makes no request to anywhere (its own content policy forbids it)
and needs no JavaScript, so it can be mailed, archived and opened in ten years; with it, its tables can be sorted. The
template holds the words that are true of every report; whatever depends on the records comes from findings, answers and
tables, and is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from albench.analysis.complexity import PIPELINE_SHARE, PRODUCT_SHARE
from albench.report import tabulation, verdict_tables
from albench.report.accuracy import Accuracy, depth_gap
from albench.report.answers import (
    TONES,
    accuracy_sentence,
    answers,
    deep_learning_words,
    heading,
    headline,
    series_sentence,
    single_points_sentence,
)
from albench.report.break_even import break_even_sentence, break_even_table
from albench.report.contest_tables import grid_tables, standings_table
from albench.report.contest_words import contest_answer, contest_sentence, fairness_sentence
from albench.report.contests import Contest
from albench.report.drawing import Drawing
from albench.report.extent import LISTED, further_table, left_out_words, rows_shown, split
from albench.report.fairness import fairness_sentences
from albench.report.findings import Findings
from albench.report.grouping import LAUNCH_BOUND_SHARE
from albench.report.learning_curves import time_to_accuracy_sentences, time_to_accuracy_tables
from albench.report.origin import origin_sentence, trust_sentence
from albench.report.pace import pace_table
from albench.report.regimes import Regime, Work
from albench.report.resources import resource_table
from albench.report.tables import Table, shortened
from albench.report.templating import rendered
from albench.report.traces import NO_TRACES, Traces
from albench.report.words import counted, listed, number, percent
from albench.schedule import pipelined, serial

STAIRCASE_COMPONENTS, STAIRCASE_MINIBATCHES = 3, 5
"""Size of the example schedule: the smallest in which filling, full and draining can all be seen."""


def page_html(
    findings: Findings, drawings: Sequence[Drawing], *, command: str, title: str, traces: Traces = NO_TRACES
) -> str:
    """Return the page; `drawings` are those of the findings that have sections of their own (`extent.split`)."""
    shown, rest = split(findings)
    return rendered(
        "index.html.j2",
        title=title,
        question=_question(findings),
        summary=headline(findings),
        answers=[*map(contest_answer, shown.contests), *answers(shown)],
        further=further_table(rest),
        left_out=left_out_words(findings, shown),
        findings=findings,
        remarks=findings.remarks[:LISTED],
        listed=LISTED,
        trust=trust_sentence(findings),
        failure_words=f"{counted(len(findings.failures), 'scenario')} could not be measured.",
        speedup=_figure(drawings, "speedup-against-depth"),
        compared=any(regime.comparisons for regime in shown.sweeps),
        across=[drawing for drawing in drawings if drawing.work is None and drawing.name != "speedup-against-depth"],
        contests=[_contest(contest, shown, drawings, i) for i, contest in enumerate(shown.contests, 1)],
        regimes=[_regime(regime, shown, drawings) for regime in shown.sweeps],
        parameters=[tabulation.parameter_table(regime) for regime in shown.regimes],
        accuracies=[_accuracy(accuracy, shown, drawings) for accuracy in shown.accuracies],
        staircase=_staircase(),
        lane_sentences=_lane_sentences(findings),
        traces=traces,
        projected=any(regime.projected for regime in shown.sweeps),
        verdict_words=_verdict_words(),
        tones=TONES,
        fairness=fairness_sentences(findings),
        told_failures=len(findings.failures) - len(shown.other_failures),
        failures=tabulation.failure_table(shown.other_failures),
        environment=tabulation.environment_table(findings),
        origin=origin_sentence(findings),
        command=command,
        records_words=counted(findings.records, "record"),
    )


def _question(findings: Findings) -> str:
    """Return what the page asks: "contest", "accuracy" where no time grows, "harness" where nothing was trained, else
    "depth".
    """
    if findings.contests and not findings.sweeps:
        return "contest"
    if findings.accuracies and not findings.regimes:
        return "accuracy"
    methods = {series.method for regime in findings.regimes for series in regime.series}
    return "harness" if methods == {"idle"} else "depth"


def _figure(drawings: Sequence[Drawing], name: str) -> Drawing | None:
    """Return the figure whose name ends so, if it was drawn."""
    return next((drawing for drawing in drawings if drawing.name.endswith(name)), None)


def _more_figures(drawings: Sequence[Drawing]) -> list[Drawing | None]:
    """Return the figures beside time and accuracy that there are of one kind of work."""
    return [_figure(drawings, name) for name in ("memory-against-depth", "speed-up-against-lanes", "usage-over-time")]


def _regime(regime: Regime, findings: Findings, drawings: Sequence[Drawing]) -> dict[str, Any]:
    """Return what the page shows of one regime."""
    own = [drawing for drawing in drawings if drawing.work == regime.work]
    accuracy = findings.accuracy_of(regime)
    cut = partial(_cut, most=rows_shown(findings))
    return {
        "heading": heading(regime),
        "rule_words": _rule_words(regime),
        "depth": _figure(own, "time-against-depth"),
        "instances": _figure(own, "time-against-instances"),
        "more": _more_figures(own),
        "times": tabulation.time_table(regime),
        "verdicts": verdict_tables.verdict_table(regime),
        "single": single_points_sentence(regime),
        "sentences": [(series.projected, series_sentence(regime, series)) for series in regime.swept],
        "reasons": [(series.name, series.verdict.reasons) for series in regime.swept if series.verdict.reasons],
        "coefficients": verdict_tables.coefficient_table(regime),
        "fits": verdict_tables.fit_table(regime),
        "throughput": tabulation.throughput_table(regime),
        # Where nothing was trained to the end, the section on accuracy shows this table.
        "timed_accuracy": tabulation.timed_accuracy_table(regime) if accuracy and accuracy.trained_to_the_end else None,
        "points": cut(tabulation.every_point(regime)),
        "pace": cut(pace_table(regime)),
        "break_even_words": break_even_sentence(regime),
        "break_even": cut(break_even_table(regime, findings.regimes)),
        "resources": cut(_resources(findings, regime.work, regime.title)),
        "comparison": tabulation.comparison_table(regime),
        "checks": tabulation.check_table(regime),
    }


def _contest(contest: Contest, findings: Findings, drawings: Sequence[Drawing], place: int) -> dict[str, Any]:
    """Return what the page shows of the contest in this place; a regime of one point has no section of its own."""
    swept = {regime.work for regime in findings.sweeps}
    told = [regime for regime in findings.regimes if regime.work == contest.work and regime.work not in swept]
    cut = partial(_cut, most=rows_shown(findings))
    # Where the same work is swept too, its further figures stand there; else with the first contest on it.
    first = contest.work not in swept | {one.work for one in findings.contests[: place - 1]}
    return {
        "title": contest.title[0].upper() + contest.title[1:],
        "sentence": contest_sentence(contest),
        "fairness": fairness_sentence(contest),
        "no_measure": any(one.microbatches and not contest.one_lane_beside(one.engine) for one in contest.standings),
        "figure": _figure([drawing for drawing in drawings if drawing.name == f"standings-{place}"], ""),
        "more": _more_figures([drawing for drawing in drawings if drawing.work == contest.work]) if first else [],
        "standings": cut(standings_table(contest)),
        "grids": grid_tables(contest),
        "failures": tabulation.failure_table(contest.failures, caption=f"Not measured, {contest.title}"),
        "points": [cut(tabulation.every_point(regime)) for regime in told],
        # Where the same work is swept too, the table stands there.
        "resources": cut(_resources(findings, contest.work, told[0].title)) if told else None,
    }


def _cut(table: Table | None, *, most: int) -> Table | None:
    """Return a table with its first rows, where it has more than a page can hold."""
    return table and shortened(table, most, rest="summary.csv has all of them, and the records every round")


def _resources(findings: Findings, work: Work, title: str) -> Table | None:
    """Return what the times of a kind of work were made of, where that is known."""
    found = findings.resources_of(work)
    return resource_table(found, title=title) if found else None


def _rule_words(regime: Regime) -> str:
    """Say what rules in this regime, with the rate that shows it."""
    if not regime.rule or regime.baseline is None or regime.flops_per_second is None:
        return ""
    rate = f"{number(regime.flops_per_second / 1e9, 2)} GFLOP/s"
    if regime.rule == "launches":
        return (
            f"The layers are small here: an extra layer of {regime.baseline.name} runs at only {rate}, less than "
            f"{percent(LAUNCH_BOUND_SHARE)} of the rate in this report's heaviest work. Most of a step is not "
            "arithmetic but the cost of launching operations, and that is what a method can save."
        )
    return (
        f"The layers are large here: an extra layer of {regime.baseline.name} runs at {rate}, the highest rate in this "
        "report. Most of a step is arithmetic, which no schedule makes less: only more lanes or faster ones do."
    )


def _accuracy(accuracy: Accuracy, findings: Findings, drawings: Sequence[Drawing]) -> dict[str, Any]:
    """Return what the page shows of accuracy on one kind of work."""
    own = [drawing for drawing in drawings if drawing.work == accuracy.work]
    learning = findings.learning_on(accuracy.work)
    gap = depth_gap(accuracy)
    sentence = accuracy_sentence(accuracy, gap) if gap else "AL has no accuracy here."
    warning = gap is not None and gap.notable and accuracy.trained_to_the_end
    if gap and warning:
        sentence += f" That is {deep_learning_words(gap)}: time that is flat at such a depth is worth nothing there."
    if not accuracy.trained_to_the_end:
        sentence += " Nothing was trained to the end on this work, so this is an early look, not a limit."
    return {
        "title": accuracy.title[0].upper() + accuracy.title[1:],
        "sentence": sentence,
        "warning": warning,
        "figure": _figure(own, "accuracy-against-depth"),
        "table": tabulation.accuracy_table(accuracy),
        "clock": _figure(own, "accuracy-against-seconds"),
        "clock_sentences": time_to_accuracy_sentences(learning),
        "clocks": time_to_accuracy_tables(learning),
    }


def _staircase() -> dict[str, Any]:
    """Return Table 1's schedule, made by the same clock that projections use, as rows of lanes over ticks."""
    ticks = pipelined(STAIRCASE_COMPONENTS, STAIRCASE_MINIBATCHES)
    alone = len(serial(STAIRCASE_COMPONENTS, STAIRCASE_MINIBATCHES))
    rows = []
    for component in range(STAIRCASE_COMPONENTS):
        busy = [dict(tick).get(component) for tick in ticks]
        cells = ["" if minibatch is None else f"batch {minibatch + 1}" for minibatch in busy]
        rows.append((f"{component + 1}: component {component + 1}", cells))
    return {
        "caption": f"{STAIRCASE_COMPONENTS} components on {STAIRCASE_COMPONENTS} lanes train on "
        f"{STAIRCASE_MINIBATCHES} mini-batches in {len(ticks)} ticks; one after the other it would be {alone}",
        "ticks": range(1, len(ticks) + 1),
        "rows": rows,
    }


def _lane_sentences(findings: Findings) -> list[str]:
    """Say where this report's own lanes were full."""
    lanes = sorted(
        {series.lanes for regime in findings.sweeps for series in regime.series if series.has_lanes and series.lanes}
    )
    if not lanes:
        return []
    ends = listed(f"ℓ = {2 * count} with {counted(count, 'lane')}" for count in lanes)
    return [f"AL on lanes of its own is full at {ends}; the figures mark it with a dotted line."]


def _verdict_words() -> list[tuple[str, str]]:
    """Return each verdict and when it is given, with the thresholds that were applied."""
    low, high = percent(PIPELINE_SHARE), percent(PRODUCT_SHARE)
    return [
        (
            "O(n+ℓ)",
            f"time adds up: the upper end of the product share's interval is under {low}, so depth has at most a minor "
            "part in what an instance costs.",
        ),
        (
            "O(nℓ)",
            f"time multiplies: the lower end of the product share's interval is over {high}, so most of what an "
            "instance costs at the deepest network is there because of depth.",
        ),
        (
            "O(nℓ/K)",
            "flat until the lanes are full: there is more than one lane, the sweep has depths at or under 2K and well "
            "above it, and a law with a knee at ℓ/2 = K fits better than the product law.",
        ),
        (
            "mixed",
            f"in between: it is clear how large the product share is, and it is neither under {low} nor over {high}.",
        ),
        (
            "inconclusive",
            "not decided: too few depths or too few n, too small a range of depths, or intervals so wide that they "
            "straddle a threshold.",
        ),
    ]
