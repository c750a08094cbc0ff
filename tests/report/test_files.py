"""The files beside the page: figures, Markdown, comma-separated values."""

import csv
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from albench.report import Findings
from albench.report.drawing import Drawing
from albench.report.style import looks
from albench.report.summary import COLUMNS

from .conftest import HOSTILE

SVG = "{http://www.w3.org/2000/svg}"


def test_each_figure_is_there_twice_and_is_not_empty(rendered: Path, drawings: list[Drawing]) -> None:
    names = {drawing.name for drawing in drawings}
    assert len(names) == 9
    for name in names:
        svg = ElementTree.parse(rendered / "figures" / f"{name}.svg").getroot()
        assert svg.tag == f"{SVG}svg"
        assert sum(1 for _ in svg.iter(f"{SVG}path")) > 20
        assert not list(svg.iter(f"{SVG}text"))  # letters are outlines: no font is needed
        png = (rendered / "figures" / f"{name}.png").read_bytes()
        assert png.startswith(b"\x89PNG")
        assert len(png) > 10_000


def test_each_figure_says_what_it_shows_how_to_read_it_and_what_it_does_not_show(drawings: list[Drawing]) -> None:
    for drawing in drawings:
        assert drawing.alt.endswith(".")
        assert len(drawing.reading) > 40
        assert "not " in drawing.limits
    depth = next(drawing for drawing in drawings if drawing.name.endswith("time-against-depth"))
    assert "(projected)" in depth.alt
    assert "Hollow marks on dashed lines are projected" in depth.reading
    assert "the 2 lanes of AL threads, 2 lanes are full (ℓ/2 = K)" in depth.reading


def test_every_series_looks_different_and_projected_ones_are_hollow(findings: Findings) -> None:
    series = [one for regime in findings.regimes for one in regime.everything]
    found = looks(series)
    assert len({(look.colour, look.marker) for look in found.values()}) == len({one.name for one in series})
    for one in series:
        look = found[one.name]
        assert look.projected == one.projected
        assert (look.marks["markerfacecolor"] == "white") == one.projected
        assert (look.line["linestyle"] != "solid") == one.projected


def test_the_spreadsheet_has_every_point(rendered: Path, findings: Findings) -> None:
    with (rendered / "summary.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == COLUMNS
    points = [
        (regime.work.width, series.name, series.projected, point)
        for regime in findings.regimes
        for series in regime.everything
        for point in series.points
    ]
    assert len(rows) == len(points)
    for row, (width, name, projected, point) in zip(rows, points, strict=True):
        assert (row["width"], row["series"], row["projected"]) == (str(width), name, str(projected))
        assert (int(row["hidden_layers"]), int(row["minibatches"])) == (point.hidden_layers, point.minibatches)
    assert sum(row["projected"] == "True" for row in rows) == 6 * 3 + 4 * 3


def test_markdown_keeps_hostile_text_harmless(rendered: Path) -> None:
    text = (rendered / "summary.md").read_text(encoding="utf-8")
    assert HOSTILE not in text
    assert "<script>" not in text
    assert "&lt;script&gt;alert('x')&lt;/script&gt;" in text
    assert "\\*bold\\*" in text
    assert all(
        (rendered / line.split("](")[1].rstrip(")")).exists() for line in text.splitlines() if "](figures/" in line
    )
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert tables
