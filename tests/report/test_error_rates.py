"""The table of error rates: its counts are the committed ones, and what is too high is said."""

import csv
import io
from pathlib import Path

import pytest

from albench.analysis.error_rates import Tally, cases, judged_again, tally, tally_nth
from albench.analysis.made_up_sweeps import GRIDS, LAWS, NOISES
from albench.report.error_rates import counts_csv, main, summary_markdown

COMMITTED = Path(__file__).parents[2] / "reports" / "verdict-error-rates"
KNOWN = {"O(n+ℓ)": 0, "O(nℓ)": 50, "O(nℓ/K)": 0, "mixed": 0, "inconclusive": 0}


def made_up(**counts):
    case = cases(LAWS[:1], GRIDS[:1], NOISES[:1], (3,))[0]
    return Tally(case=case, counts=KNOWN | {name.replace("_", " "): count for name, count in counts.items()})


def committed():
    return list(csv.DictReader(io.StringIO((COMMITTED / "counts.csv").read_text(encoding="utf-8"))))


@pytest.mark.parametrize("place", [10, 500, 990])
def test_the_committed_counts_are_what_the_judge_says(place):
    """Whoever changes the judge makes the table anew: `python -m albench.report.error_rates` says how."""
    rows = committed()
    assert len(rows) == len(cases())
    row = rows[place]
    found = tally_nth(place, int(row["sweeps"]))
    assert row["law"] == found.case.law.name
    assert int(row["first_seed"]) == found.case.seed(0)
    assert {verdict: int(row[verdict]) for verdict in found.counts} == found.counts


def test_no_committed_case_is_wrong_too_often():
    rows = committed()
    assert sum(int(row["wrong"]) for row in rows) <= 0.01 * sum(int(row["sweeps"]) for row in rows)
    text = (COMMITTED / "summary.md").read_text(encoding="utf-8")
    assert "In no case is the rate of wrong verdicts over 5 % with its whole interval" in text


def test_counts_are_written_raw():
    found = [tally(case, sweeps=2) for case in cases(LAWS[:2], GRIDS[2:3], NOISES[:1], (1,))]
    rows = list(csv.DictReader(io.StringIO(counts_csv(found))))
    assert [row["law"] for row in rows] == ["back-propagation", "serial AL"]
    assert all(int(row["sweeps"]) == 2 for row in rows)


def test_what_is_wrong_too_often_is_said_plainly():
    calm, bad = made_up(), made_up(mixed=30)
    assert "In no case is the rate" in summary_markdown([calm], command="c")
    text = summary_markdown([calm, bad], command="c")
    assert (
        "**Over 5 % wrong with their whole interval are 1 case: “back-propagation” on “depth suite, small”.**" in text
    )
    assert "30 wrong" in text
    assert "| back-propagation | depth suite, small | 1 % | 3 | O(nℓ) | mixed |" in text


def test_cases_that_were_wrong_are_judged_again_and_the_worst_is_told():
    (again,) = judged_again([made_up(), made_up(mixed=2)], sweeps=2)
    assert again.sweeps == 2
    text = summary_markdown([made_up(), made_up(mixed=2)], [again], command="c")
    assert (
        "Each of the 1 case that had a wrong verdict was judged on 2 further sweeps: the highest rate is 0.0 %" in text
    )
    assert "**Over 5 % wrong" in summary_markdown([made_up()], [made_up(mixed=30)], command="c")


@pytest.mark.parametrize(("option", "words"), [("--sweeps", "sweeps is 0"), ("--workers", "workers is 0")])
def test_nothing_to_do_is_refused_in_one_line(tmp_path, capsys, option, words):
    assert main([str(tmp_path / "out"), option, "0"]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
