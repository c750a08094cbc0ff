"""Every figure on a phone: no letter too small to be read, and nothing that reaches over the figure's edge."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.text import Text

from albench.report import find, side_by_side
from albench.report.drawing import WIDTH_INCHES
from albench.report.figures import draw
from albench.report.gantt import UNITS, gantt
from albench.report.pair_figures import pair_drawings
from albench.report.projection_figures import projection_drawings
from albench.report.projections import ProjectionOptions, projections_of
from albench.report.style import SMALL
from tests.test_trace import trace

from . import contest_records, made_up, test_figures
from .test_gantt import run
from .test_projection_files import records as to_project

PHONE_PIXELS = 360
LEAST_PIXELS = 9.0
EDGE_INCHES = 0.03


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """Every text that is drawn, with its size in points; what reaches over an edge fails at once."""
    found: list[tuple[str, float]] = []

    class Canvas(FigureCanvasSVG):  # type: ignore[misc]
        def __init__(self, figure: Any) -> None:
            width, height = figure.get_size_inches()
            box = figure.get_tightbbox(figure.canvas.get_renderer())
            title = next((one.get_text() for one in figure.texts), "") or figure.axes[0].get_title(loc="left")
            over = max(-box.x0, -box.y0, box.x1 - width, box.y1 - height)
            assert over < EDGE_INCHES, f"{title!r} reaches {over:.2f} inches over an edge"
            for text in figure.findobj(Text):
                if text.get_visible() and text.get_text().strip():
                    found.append((text.get_text(), text.get_fontsize()))
            super().__init__(figure)

    monkeypatch.setattr("albench.report.drawing.FigureCanvasSVG", Canvas)
    return found


def legible(drawn: list[tuple[str, float]]) -> None:
    assert drawn
    assert [one for one in drawn if one[1] < SMALL] == []


def test_the_smallest_letters_can_be_read_on_a_phone() -> None:
    assert SMALL / 72 * 96 * PHONE_PIXELS / (96 * WIDTH_INCHES) >= LEAST_PIXELS


def test_figures_of_a_report(drawn: list[tuple[str, float]]) -> None:
    draw(find([*test_figures.records(), *contest_records.contest()]))
    legible(drawn)


def test_charts_of_traces(drawn: list[tuple[str, float]]) -> None:
    for unit in UNITS:
        spans = run(20, lanes=3)
        gantt(
            trace(
                [span._replace(action="F0") for span in spans] if unit == "action" else spans,
                unit=unit,
                title="Interleaved 1F1B stage-lanes, 16 lanes of 8 SMs, M = 32",
                machine="Intel(R) Xeon(R) Platinum 8488C CPU @ 2.40GHz, 128 usable cores, torch 2.15.0+cpu",
            )
        )
    legible(drawn)


def test_figures_of_two_runs_and_of_projections(drawn: list[tuple[str, float]]) -> None:
    runs = [made_up.sweep(made_up.SMALL, width=8, batch_size=4, depths=(2, 8), lengths=(20,)) for _ in "AB"]
    pair_drawings(side_by_side(("a", runs[0], ()), ("b", runs[1], ())))
    projection_drawings(projections_of(to_project(), ProjectionOptions()))
    projection_drawings(projections_of(contest_records.contest(contest_records.only("bp")), ProjectionOptions()))
    legible(drawn)
