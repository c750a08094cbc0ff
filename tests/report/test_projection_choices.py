"""Which M a pipeline has on how many lanes, and why a curve falls where the M that was best can be no longer."""

from __future__ import annotations

import pytest

from albench.analysis.link import Link
from albench.report.projection_choices import choice_words, choices_of, fall_words, falls_of
from albench.report.projection_figures import projection_drawings
from albench.report.projection_tables import speed_table
from albench.report.projections import Projection

from .test_projections import al_serial, bp, project, record


@pytest.fixture(scope="module")
def falling() -> Projection:
    """1F1B measured with 2, 4 and 32 microbatches: from five lanes on only the 32 are enough, and they cost most."""
    measured = [
        record("1f1b", "ranks", milliseconds, lanes=1, microbatches=count)
        for count, milliseconds in ((2, 3.2), (4, 3.4), (32, 30.0))
    ]
    (one,) = project(al_serial(), bp(), *measured, lanes=(1, 2, 4, 8))
    return one


def test_the_best_m_on_each_number_of_lanes_is_told(falling: Projection) -> None:
    choices = choices_of(falling, "1f1b")
    assert [(one.lanes, one.microbatches) for one in choices] == [(1, 1), (2, 4), (4, 4), (8, 32)]
    assert falls_of(choices) == [(choices[2], choices[3])]
    assert choice_words(falling, "1f1b") == "1F1B, best M by lanes: 1 on 1, 4 on 2 and 4, 32 on 8."
    assert choice_words(falling, "al") == ""
    for one in choices:
        best = falling.best("1f1b", one.lanes)
        assert best is not None
        assert one.speed == falling.speed(best[1].seconds)


def test_a_fall_is_told_with_its_reason_in_table_and_figure(falling: Projection) -> None:
    (words,) = fall_words(falling, "1f1b")
    assert "on 4 lanes (M = 4) to " in words
    assert "on 8 lanes (M = 32): on 8 lanes the schedule needs M ≥ K, and of the M that were measured" in words
    assert "only 32 can be" in words
    assert words in speed_table(falling).note
    drawing = projection_drawings([falling])[0]
    assert words in drawing.reading
    assert "on 8 lanes, M = 32" in drawing.alt


def test_a_curve_that_rises_says_nothing(falling: Projection) -> None:
    for method in ("al", "gpipe", "bp"):
        assert fall_words(falling, method) == []


def test_a_fall_of_the_lanes_themselves_is_not_blamed_on_m() -> None:
    (one,) = project(
        al_serial(), bp(), lanes=(1, 2, 4), microbatches=(4,), link=Link(latency_seconds=0.1, bytes_per_second=1e9)
    )
    assert "what another lane saves is less than uneven stages and hand-overs cost" in fall_words(one, "gpipe")[0]
