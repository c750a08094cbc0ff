"""Large sets of records: a page stays of a size that a browser opens, and says what it does not spell out."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from matplotlib import rc_context

from albench import report
from albench.report import Findings, extent, find, headline, terminal_tables, write
from albench.report.answers import heading
from albench.report.axes import LEGEND_ROWS, ROW_INCHES
from albench.report.depth_figure import depth_drawing
from albench.report.extent import LISTED, SECTIONS_SHOWN, SERIES_SHOWN, rows_shown, split
from albench.report.page import page_html
from albench.report.style import STYLE, looks
from albench.report.summary import summary_csv, summary_markdown
from albench.report.tabulation import FAILURES_SHOWN

from . import contest_records, made_up
from .conftest import COMMAND
from .test_page import Outline

MEGABYTE = 1_000_000
LARGE = {
    "one kind of work": {"series": 4, "depths": 16, "lengths": 16, "rounds": 3},
    "many kinds of work": {"series": 2, "depths": 4, "lengths": 5, "rounds": 2, "works": 40},
    "failures": {"series": 2, "depths": 20, "lengths": 25, "rounds": 3, "failing": True},
}


def page_of(findings: Findings) -> Outline:
    """The page without its figures, which are not what is looked at and take longest."""
    return Outline(page_html(findings, [], command=COMMAND, title="Made up"))


@pytest.mark.parametrize("name", LARGE)
def test_a_page_of_three_thousand_records_is_bounded(name: str) -> None:
    records = made_up.many(**LARGE[name])
    assert 3000 <= len(records) <= 3300
    findings = find(records)
    page = page_html(findings, [], command=COMMAND, title="Made up")
    outline = Outline(page)
    tags = [tag for tag, _ in outline.tags]
    assert outline.faults == []
    assert len(page.encode()) < 1.2 * MEGABYTE
    assert tags.count("tr") < 2000
    assert tags.count("li") < 5 * LISTED
    assert len(summary_markdown(findings, [], command=COMMAND, title="Made up").encode()) < MEGABYTE / 2
    assert sum(table.row_count for table in terminal_tables(findings)) < 300


def test_figures_are_drawn_of_a_few_kinds_of_work_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawn: list[Findings] = []
    monkeypatch.setattr(report, "draw", lambda findings: drawn.append(findings) or [])
    findings = find(made_up.many(**LARGE["many kinds of work"] | {"rounds": 1}))
    write(findings, tmp_path, command=COMMAND)
    assert len(findings.sweeps) == 40
    assert [len(one.sweeps) for one in drawn] == [SECTIONS_SHOWN]


def test_what_has_no_section_has_a_line_and_its_place_in_the_spreadsheet() -> None:
    findings = find(made_up.many(series=2, depths=3, lengths=3, rounds=1, works=SECTIONS_SHOWN + 2))
    outline = page_of(findings)
    text = outline.text
    shown, rest = split(findings)
    assert (len(shown.sweeps), len(rest.sweeps)) == (SECTIONS_SHOWN, 2)
    assert "Further kinds of work" in text
    for regime in rest.sweeps:
        assert f"{heading(regime)} Not decided" in text
    assert sum(tag == "section" for tag, _ in outline.tags) == SECTIONS_SHOWN + 7
    rows = csv.DictReader(io.StringIO(summary_csv(findings)))
    assert {int(row["width"]) for row in rows} == {8 * i for i in range(1, SECTIONS_SHOWN + 3)}


def test_a_section_shows_the_fastest_series_and_says_so() -> None:
    findings = find(made_up.many(series=SERIES_SHOWN + 10, depths=3, lengths=2, rounds=1))
    (regime,), (shown,) = findings.sweeps, split(findings)[0].sweeps
    assert len(shown.series) == SERIES_SHOWN < len(regime.series)
    assert shown.baseline == regime.baseline
    assert {one.al for one in regime.comparisons} <= {series.name for series in shown.series}
    assert f"{SERIES_SHOWN} series of {SERIES_SHOWN + 10} are shown" in page_of(findings).text


def test_axes_keep_their_room_over_the_longest_legend() -> None:
    """matplotlib gives the axes of a figure that is too low no height at all, and warns: the figure grows instead."""
    heights = []
    for count in (2, SERIES_SHOWN):
        (regime,) = find(made_up.many(series=count, depths=3, lengths=2, rounds=1)).regimes
        with rc_context(STYLE):
            heights.append(depth_drawing(regime, looks(regime.series), "tag").height)
    fewest_rows = SERIES_SHOWN // 2
    assert heights[1] >= heights[0] + 96 * ROW_INCHES * (fewest_rows - LEGEND_ROWS)


def test_a_contest_keeps_the_best_of_each_side() -> None:
    pipelines = {("gpipe", "ranks", 2, 2**i, 1): 100.0 + i for i in range(7)}
    findings = find(contest_records.contest(contest_records.MILLISECONDS | pipelines))
    few = extent.CONTENDERS_SHOWN
    assert split(findings)[0].contests == findings.contests
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extent, "CONTENDERS_SHOWN", 3)
        (contest,), (shown,) = findings.contests, split(findings)[0].contests
        assert len(shown.standings) < len(contest.standings) <= few
        for side in ("al", "bp", "pipeline", "data-parallel"):
            assert shown.best(side) == contest.best(side)
        assert "those that train most in a second" in page_of(findings).text


def test_a_table_that_is_cut_says_so_and_one_of_the_usual_size_is_not(findings: Findings) -> None:
    text = page_of(find(made_up.many(series=2, depths=2, lengths=210, rounds=1, failing=True))).text
    assert f"The first {FAILURES_SHOWN} rows of 840 rows: the records have them all." in text
    assert "840 scenarios could not be measured." in text
    assert split(findings)[0] == findings
    assert rows_shown(findings) > max(sum(len(s.points) for s in r.everything) for r in findings.regimes)


def test_scenarios_of_a_remark_are_counted_where_they_are_not_listed() -> None:
    text = page_of(find(made_up.many(series=2, depths=8, lengths=8, rounds=1))).text
    assert "made up (128 scenarios)" in text
    assert f"and {128 - LISTED} more" in text


def test_a_headline_counts_what_it_cannot_name() -> None:
    laws = made_up.SMALL, {("bp", "eager", 1): made_up.product(0.2, 0.1), ("al", "serial", 1): made_up.product(1, 9)}
    records = [
        record
        for width in range(8, 56, 8)
        for record in made_up.sweep(laws[width > 24], width=width, batch_size=16, depths=(2, 8, 32), rounds=1)
    ]
    assert headline(find(records)) == "It depends: of 6 kinds of work, yes in 3 and no in 3."
