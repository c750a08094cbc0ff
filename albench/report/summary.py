"""Summary: the same findings as Markdown, for a pull request, and as comma-separated values, for a spreadsheet."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Sequence

from albench.report import tabulation, verdict_tables
from albench.report.accuracy import depth_gap
from albench.report.answers import (
    accuracy_sentence,
    answers,
    heading,
    headline,
    series_sentence,
    single_points_sentence,
)
from albench.report.break_even import break_even_sentence, break_even_table
from albench.report.contest_tables import contest_tables
from albench.report.contest_words import contest_answer
from albench.report.drawing import Drawing
from albench.report.extent import LISTED, further_table, left_out_words, rows_shown, split
from albench.report.findings import Findings
from albench.report.learning_curves import time_to_accuracy_sentences, time_to_accuracy_tables
from albench.report.pace import pace_table
from albench.report.resources import resource_table
from albench.report.tables import Table, markdown, markdown_text, shortened
from albench.report.traces import NO_TRACES, Traces, traces_markdown, with_traces
from albench.report.words import counted

COLUMNS = (
    "network",
    "width",
    "batch_size",
    "dataset",
    "precision",
    "bridge_width",
    "series",
    "projected",
    "hidden_layers",
    "minibatches",
    "instances",
    "lanes",
    "rounds",
    "seconds",
    "seconds_low",
    "seconds_high",
    "milliseconds_per_minibatch",
    "instances_per_second",
    "accuracy",
    "complexity",
    "product_share",
    "product_share_low",
    "product_share_high",
    "device",
    "bridge",
)
"""Columns of ``summary.csv``: one row a point, the verdict of its series repeated in each."""
SCENARIOS_SHOWN = 6
"""Scenarios of a remark that Markdown spells out; the page has more."""


def summary_tables(findings: Findings) -> list[Table]:
    """Return the tables that stand for the whole: verdicts, times and who is faster, a kind of work after the other."""
    tables: list[Table | None] = []
    for contest in findings.contests:
        tables += contest_tables(contest)
    for regime in findings.sweeps:
        tables += [
            verdict_tables.verdict_table(regime),
            tabulation.time_table(regime),
            tabulation.comparison_table(regime),
        ]
    for accuracy in findings.accuracies:
        tables.append(tabulation.accuracy_table(accuracy))
        tables += time_to_accuracy_tables(findings.learning_on(accuracy.work))
    tables.append(tabulation.failure_table(findings.other_failures))
    return [table for table in tables if table is not None]


def summary_markdown(
    findings: Findings, drawings: Sequence[Drawing], *, command: str, title: str, traces: Traces = NO_TRACES
) -> str:
    """Return the findings in Markdown, with the figures beside it linked; of large sets as much as the page has."""
    shown, rest = split(findings)
    lines = [f"# {markdown_text(title)}", "", f"**{markdown_text(headline(findings))}**", ""]
    for answer in answers(shown):
        lines += [f"## {markdown_text(answer.title)}", "", f"**{markdown_text(answer.word)}.**", ""]
        lines += [f"- {markdown_text(sentence)}" for sentence in answer.sentences] + [""]
    for contest in shown.contests:
        answer = contest_answer(contest)
        lines += [f"## {markdown_text(answer.title)}", "", f"**{markdown_text(answer.word)}.**", ""]
        lines += [f"- {markdown_text(sentence)}" for sentence in answer.sentences] + [""]
    lines += [f"{markdown_text(sentence)}\n" for sentence in left_out_words(findings, shown)]
    if further := further_table(rest):
        lines.append(markdown(further))
    for regime in shown.sweeps:
        lines += [f"## Verdicts: {markdown_text(heading(regime))}", ""]
        if words := single_points_sentence(regime):
            lines += [f"- {markdown_text(words)}"]
        lines += [f"- {markdown_text(series_sentence(regime, series))}" for series in regime.swept]
        lines += [f"- {markdown_text(words)}" for words in [break_even_sentence(regime)] if words] + [""]
    for accuracy in shown.accuracies:
        if gap := depth_gap(accuracy):
            lines += [f"- {markdown_text(accuracy.title)}: {markdown_text(accuracy_sentence(accuracy, gap))}", ""]
        if clocks := time_to_accuracy_sentences(shown.learning_on(accuracy.work)):
            lines += [*[f"- {markdown_text(words)}" for words in clocks], ""]
    titles = {regime.work: regime.title for regime in findings.regimes}
    resources = [resource_table(one, title=titles[one.work]) for one in shown.resources]
    paces = [
        table
        for regime in shown.sweeps
        for table in (break_even_table(regime, findings.regimes), pace_table(regime))
        if table
    ]
    tables = [shortened(table, rows_shown(shown), rest="the records have all") for table in (*paces, *resources)]
    lines += ["## Tables", "", *map(markdown, [*summary_tables(shown), *tables])]
    if findings.remarks:
        lines += ["## Remarks", ""]
        for remark in findings.remarks[:LISTED]:
            more = len(remark.scenarios) - SCENARIOS_SHOWN
            named = [*remark.scenarios[:SCENARIOS_SHOWN], *([f"and {more} more"] if more > 0 else [])]
            scenarios = f" ({'; '.join(named)})" if named else ""
            lines.append(f"- {markdown_text(remark.text + scenarios)}")
        if len(findings.remarks) > LISTED:
            lines.append(f"- and {counted(len(findings.remarks) - LISTED, 'more remark')}")
        lines.append("")
    lines += [*traces_markdown(traces), "## Figures", ""]
    for drawing in with_traces(drawings, traces):
        lines += [
            f"![{markdown_text(drawing.alt)}](figures/{drawing.name}.png)",
            "",
            markdown_text(drawing.reading),
            "",
        ]
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", command)), default=0))
    return "\n".join([*lines, "## Reproduce", "", fence, command, fence, ""])


def summary_csv(findings: Findings) -> str:
    """Return every point as comma-separated values."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for regime in findings.regimes:
        work = dataclasses.asdict(regime.work)
        for series in regime.everything:
            share = series.verdict.product_share
            for point in series.points:
                writer.writerow(
                    work
                    | {
                        "series": series.name,
                        "projected": series.projected,
                        "hidden_layers": point.hidden_layers,
                        "minibatches": point.minibatches,
                        "instances": point.instances,
                        "lanes": point.lanes,
                        "rounds": point.rounds,
                        "seconds": point.seconds.estimate,
                        "seconds_low": point.seconds.low,
                        "seconds_high": point.seconds.high,
                        "milliseconds_per_minibatch": point.milliseconds.estimate,
                        "instances_per_second": point.samples_per_second,
                        "accuracy": point.accuracy,
                        "complexity": series.verdict.complexity,
                        "product_share": share.estimate,
                        "product_share_low": share.low,
                        "product_share_high": share.high,
                    }
                )
    return stream.getvalue()
