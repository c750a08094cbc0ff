"""The comparison as a reader sees it: surroundings first, a row a case, the same in Markdown."""

from dataclasses import replace

import pytest
from rich.console import Console

from albench.analysis.comparison import compare
from albench.errors import UsageError
from albench.harness.run_pair import pair_runs
from albench.report.comparison import comparison_summary, comparison_tables, show
from tests.harness.test_run_pair import case

SIX = [0.1, 0.101, 0.1, 0.099, 0.1002, 0.1]
HERE, THERE = {"cpu": "EPYC", "commit": "abc"}, {"cpu": "EPYC", "commit": "d|ef"}


def made():
    before = [
        *case(8, SIX, environment=HERE),
        *case(9, SIX, environment=HERE),
        *case(10, SIX[:2], environment=HERE),
        *case(11, SIX, environment=HERE),
    ]
    after = [
        *case(8, [1.1 * s for s in SIX], environment=THERE),
        *case(9, SIX, environment=THERE | {"cpu": "Xeon"}),
        *case(10, SIX[:2], environment=THERE),
        *case(11, ["out of [bold]luck"], environment=THERE),
    ]
    pair = pair_runs(before, after)
    return pair, compare(pair.pairs)


def test_tables_say_what_differs_first_then_a_row_a_case_then_what_is_not_compared():
    surroundings, cases, unpaired = comparison_tables(*made())
    assert [[cell.plain for cell in row.cells] for row in surroundings.rows] == [
        ["cpu", "EPYC", "EPYC | Xeon", "mixed within B"],
        ["commit", "abc", "d|ef", ""],
    ]
    verdicts = {row.cells[0].plain.split(", ")[2]: row.cells[4].plain for row in cases.rows}
    assert verdicts == {"width 8": "slower", "width 10": "can't tell", "width 9": "same"}
    slower = [cell.plain for cell in cases.rows[0].cells]
    assert slower[1:4] == ["100 (6)", "110 (6)", "1.10 [1.09, 1.11]"]
    assert [cell.plain for cell in unpaired.rows[0].cells[1:]] == ["B", "failed: out of [bold]luck"]


def test_equal_runs_make_one_table():
    pair = pair_runs(case(8, SIX), case(8, SIX))
    comparison = compare(pair.pairs)
    assert len(comparison_tables(pair, comparison)) == 1
    assert comparison_summary(comparison) == (
        "1 case: 0 slower, 0 faster, 0 can't tell, 1 same. Geometric mean of B / A: 1.00 (one case has no interval)."
    )


def test_times_taken_off_the_pace_are_told():
    pair = replace(pair_runs(case(8, SIX), case(8, SIX)), off_pace=(2, 0))
    [table] = comparison_tables(pair, compare(pair.pairs))
    assert "off its pace by more than 15 %: 2 in A." in table.note


def test_one_round_in_each_run_has_no_interval():
    """The ratio of two times is a number; [1.10, 1.10] beside it would look exact."""
    pair = pair_runs(case(8, [1.0]), case(8, [1.1]))
    [table] = comparison_tables(pair, compare(pair.pairs))
    assert [cell.plain for cell in table.rows[0].cells[1:4]] == [
        "1\N{NARROW NO-BREAK SPACE}000 (1)",
        "1\N{NARROW NO-BREAK SPACE}100 (1)",
        "1.10",
    ]
    assert "Of one round in each run there is no interval." in table.note
    pair = pair_runs(case(8, SIX), case(8, SIX))
    assert "no interval" not in comparison_tables(pair, compare(pair.pairs))[0].note


def test_the_last_line_counts_and_averages():
    line = comparison_summary(made()[1])
    assert line.startswith("3 cases: 1 slower, 0 faster, 1 can't tell, 1 same. Geometric mean of B / A: 1.03 [0.")


def test_terminal_and_markdown_hold_the_same(tmp_path):
    console = Console(record=True, width=200)
    file = tmp_path / "c.md"
    show(*made(), console=console, markdown_file=file)
    printed, written = console.export_text(), file.read_text()
    assert "1.10 [1.09, 1.11]" in printed
    assert r"1.10 \[1.09, 1.11\]" in written
    assert "out of [bold]luck" in printed
    assert r"d\|ef" in written, "a border of a cell is no border in a name"
    assert printed.index("Not the same in A and B") < printed.index("Time in B over time in A")
    for text in (printed, written):
        assert "Geometric mean" in text


def test_a_case_that_cannot_be_told_takes_one_line_in_a_terminal_and_a_whole_reason_in_markdown(tmp_path):
    console = Console(record=True, width=140)
    file = tmp_path / "c.md"
    pair, comparison = made()
    show(pair, comparison, console=console, markdown_file=file)
    printed = console.export_text().splitlines()
    (untold,) = [case.pair.name for case in comparison.cases if case.verdict == "can't tell"]
    (line,) = [i for i, text in enumerate(printed) if "can't tell" in text and "│" in text]
    assert untold in printed[line]
    assert "too few rounds" in printed[line]
    assert "same" in printed[line + 1], "the next line is the next case"
    assert "measure 4 or more of each" in file.read_text()
    assert "Why at length: --markdown FILE." in " ".join(" ".join(printed).split())


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_printed(tmp_path):
    console = Console(record=True, width=200)
    with pytest.raises(UsageError, match="cannot be written"):
        show(*made(), console=console, markdown_file=tmp_path / "nowhere" / "c.md")
    assert console.export_text() == ""
