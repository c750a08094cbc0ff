"""Learning curves: who is first at an accuracy, said only where runs do not overlap, and drawn where there are any."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib import rc_context

from albench.analysis.time_to_accuracy import CurvePoint
from albench.report import find, render
from albench.report.curve_figure import curve_drawing
from albench.report.learning_curves import (
    LEVELS_SHOWN,
    LearningCurve,
    LearningCurves,
    learning_curves_of,
    time_to_accuracy_sentence,
    time_to_accuracy_table,
)
from albench.report.style import STYLE

from . import made_up
from .conftest import COMMAND
from .test_page import Outline


def curve(name: str, method: str, *runs: list[tuple[float, float | None]]) -> LearningCurve:
    points = (tuple(CurvePoint(100 * k, *one) for k, one in enumerate(run, 1)) for run in runs)
    return LearningCurve(name=name, method=method, runs=tuple(points))


def sentence(*curves: LearningCurve) -> str:
    return time_to_accuracy_sentence(LearningCurves(title="ℓ = 8", curves=curves))


FAST_AL = curve("AL", "al", [(1.0, 0.9), (2.0, 0.96)], [(1.1, 0.91), (2.2, 0.96)])
SLOW_BP = curve("BP", "bp", [(3.0, 0.95), (6.0, 0.97)], [(3.1, 0.95), (6.1, 0.97)])


def test_the_highest_level_that_al_and_another_reached_decides() -> None:
    assert sentence(FAST_AL, SLOW_BP) == (
        "ℓ = 8, 95 % held out: AL after 2.10 s; BP after 3.05 s; AL is 1.5× as fast there as BP. "
        "97 %: reached by BP only."
    )


def test_each_side_brings_its_first_contender() -> None:
    slow = curve("AL, slow rate", "al", [(9.0, 0.96)], [(9.1, 0.96)])
    assert sentence(slow, FAST_AL, SLOW_BP) == sentence(FAST_AL, SLOW_BP)
    pipeline = curve("GPipe", "gpipe", [(0.5, 0.95)], [(0.6, 0.95)])
    assert "GPipe after 0.550 s; AL after 2.10 s; BP after 3.05 s; GPipe is 3.8× as fast there as AL" in sentence(
        FAST_AL, SLOW_BP, pipeline
    )


def test_two_sides_of_bp_beyond_al_do_not_leave_it_out() -> None:
    pipeline = curve("GPipe", "gpipe", [(4.0, 0.97)], [(4.1, 0.97)])
    assert sentence(FAST_AL, SLOW_BP, pipeline).endswith(
        "AL is 1.5× as fast there as BP. 97 %: reached by BP and pipelines of BP only."
    )


def test_runs_that_overlap_or_stand_alone_decide_nothing() -> None:
    late = curve("AL", "al", [(2.0, 0.95)], [(4.0, 0.95)])
    assert sentence(late, SLOW_BP).split("; ")[2].startswith("the runs of the first two overlap")
    alone = curve("AL", "al", [(1.0, 0.95)])
    assert "of single runs, which cannot tell a difference from chance" in sentence(alone, SLOW_BP)
    never = curve("AL", "al", [(1.0, 0.95)], [(1.0, 0.95)], [(1.0, 0.2)])
    assert "overlap" in sentence(never, SLOW_BP)


def test_where_no_level_is_shared_it_is_said_who_reached_the_highest() -> None:
    """At ℓ = 64 AL reached 98 % and BP nothing, and the page said nothing."""
    assert sentence(FAST_AL, curve("BP", "bp", [(1.0, 0.2)], [(1.0, 0.3)])) == (
        "ℓ = 8, 95 % held out: reached by AL only, first by AL, after 2.10 s."
    )
    pipeline = curve("GPipe", "gpipe", [(4.0, 0.97)], [(4.1, 0.97)])
    assert sentence(curve("AL", "al", [(1.0, 0.2)]), SLOW_BP, pipeline) == (
        "ℓ = 8, 97 % held out: reached by BP and pipelines of BP only, first by GPipe, after 4.05 s."
    )


def test_one_side_alone_says_nothing_and_nobody_neither() -> None:
    assert sentence(FAST_AL) == ""
    assert sentence(curve("AL", "al", [(1.0, 0.2)]), curve("BP", "bp", [(1.0, None)])) == ""
    nobody = LearningCurves(title="ℓ = 8", curves=(curve("AL", "al", [(1.0, 0.2)]),))
    assert time_to_accuracy_table(nobody) is None


def test_the_table_tells_how_many_runs_came_there() -> None:
    half = curve("BP", "bp", [(1.0, 0.8), (2.0, 0.96)], [(1.0, 0.8), (3.0, 0.96)], [(1.0, 0.8), (2.0, 0.81)])
    table = time_to_accuracy_table(LearningCurves(title="ℓ = 8", curves=(FAST_AL, half)))
    assert table is not None
    assert table.columns == ("method", "50 %", "70 %", "80 %", "90 %", "95 %", "last")
    assert [[cell.plain for cell in row.cells][3:] for row in table.rows] == [
        ["1.05 [1.00, 1.10]", "1.05 [1.00, 1.10]", "2.10 [2.00, 2.20]", "96.0 % after 2.10 s"],
        ["1.00 [1.00, 1.00]", "3.00 [2.00, 3.00] in 2 of 3", "3.00 [2.00, 3.00] in 2 of 3", "96.0 % after 2.00 s"],
    ]
    assert len(table.columns) - 2 == LEVELS_SHOWN


def test_an_epoch_that_was_not_looked_at_leaves_a_gap_and_no_error() -> None:
    found = curve("AL", "al", [(1.0, None), (2.0, 0.9)], [(1.0, None), (2.0, 0.8), (3.0, 0.9)])
    assert found.median_curve() == [(2.0, pytest.approx(0.85), 0.8, 0.9)]


def test_records_are_grouped_by_work_and_depth_and_old_ones_have_no_curve() -> None:
    records = made_up.learning("al", 0.97, epoch_seconds=0.2) + made_up.learning("bp", 0.98, epoch_seconds=0.3)
    records += made_up.learning("al", 0.96, epoch_seconds=0.4, hidden_layers=32)
    records += made_up.trained({"bp": {32: 0.9}})
    shallow, deep = learning_curves_of(records)
    assert [one.method for one in shallow.curves] == ["al", "bp"]
    assert [len(one.runs) for one in shallow.curves] == [3, 3]
    assert [one.name for one in deep.curves] == ["AL fused"]
    assert learning_curves_of(made_up.trained({"al": {2: 0.9}})) == []


def test_the_figure_draws_at_most_two_depths_and_tells_of_the_others() -> None:
    records = [
        one for depth in (2, 8, 32) for one in made_up.learning("al", 0.97, epoch_seconds=0.2, hidden_layers=depth)
    ]
    panels = learning_curves_of([*records, *made_up.learning("bp", 1.0, epoch_seconds=0.3, hidden_layers=32)])
    with rc_context(STYLE):
        drawing, lone = curve_drawing(panels, "name"), curve_drawing(panels[:1], "name")
    assert drawing.height > lone.height
    assert "1 more depth is in the tables" in drawing.limits
    assert "ℓ = 2" in drawing.title
    assert "ℓ = 32" in drawing.title
    assert "AL fused 96.7 % after 1.68 s" in drawing.alt
    assert b"<svg" in drawing.svg


def test_the_page_shows_who_was_first(tmp_path: Path) -> None:
    records = made_up.learning("al", 0.97, epoch_seconds=0.2) + made_up.learning("bp", 0.98, epoch_seconds=0.5)
    records += made_up.learning("gpipe", 0.98, epoch_seconds=0.9)
    page = render(records, tmp_path, command=COMMAND)
    outline = Outline(page.read_text(encoding="utf-8"))
    assert outline.faults == []
    assert "Does a deep network learn without back-propagation?" in outline.text
    assert "Seconds of training until so much held out is predicted" in outline.text
    assert "AL fused is 2.1× as fast there as BP, 1 thread" in outline.text
    assert "Why time is flat" not in outline.text
    (words,) = [time_to_accuracy_sentence(one) for one in find(records).learning]
    assert words in outline.text
    markdown = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "1-accuracy-against-seconds.png" in markdown
    assert "Seconds of training until so much" in markdown
