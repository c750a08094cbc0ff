"""Drawing: a finished figure with the sentences that belong to it.

Drawn with matplotlib's objects, never through pyplot, whose figures are global state. Each figure knows what it shows
(for those who do not see it), how it is read, and what it does not show.
"""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from albench.report.regimes import Work

PNG_DPI = 160
WIDTH_INCHES = 5.6
"""Narrow enough that letters stay legible when a phone shrinks the figure to its width."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A finished figure and the sentences that belong to it."""

    name: str
    """File name without its end."""
    title: str
    alt: str
    """What it shows, for those who do not see it."""
    reading: str
    """How to read it."""
    limits: str
    """What it does not show."""
    work: Work | None
    """The kind of work it belongs to; None: it belongs to all."""
    svg: bytes
    png: bytes
    width: int
    height: int

    @property
    def source(self) -> str:
        """The SVG as data for a page: a picture of its own, so that no two figures share ids."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode("ascii")


def canvas(height: float) -> tuple[Figure, Axes]:
    """Return an empty figure with one pair of axes."""
    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    return figure, figure.subplots()


def drawing_of(
    figure: Figure, *, name: str, title: str, alt: str, reading: str, limits: str, work: Work | None
) -> Drawing:
    """Save a figure as SVG and PNG, without the date, so that the same records give the same bytes.

    Places are found once for both and then kept: finding them takes longer than drawing.
    """
    svg, png = io.BytesIO(), io.BytesIO()
    figure.set_dpi(PNG_DPI)
    agg: Any = FigureCanvasAgg(figure)  # matplotlib's canvases have no types
    if (layout := figure.get_layout_engine()) is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")
    agg.print_png(png)
    vector: Any = FigureCanvasSVG(figure)  # made last: it sets the figure's dots an inch to its own
    vector.print_svg(svg, metadata={"Date": None})
    return Drawing(
        name=name,
        title=title,
        alt=alt,
        reading=reading,
        limits=limits,
        work=work,
        svg=smaller(svg.getvalue()),
        png=png.getvalue(),
        width=round(96 * figure.get_figwidth()),
        height=round(96 * figure.get_figheight()),
    )


def smaller(svg: bytes) -> bytes:
    """Return the same picture in fewer bytes: places to a hundredth of a point, no indentation, no comments.

    A page holds dozens of figures. Scales stay as they are: they are small numbers that large ones are multiplied with.
    """
    svg = re.sub(rb"<!--.*?-->|^[ ]+|[ ]+$", b"", svg, flags=re.MULTILINE)
    return re.sub(rb"scale\([^)]*\)|-?\d+\.\d{3,}", _hundredths, svg)


def _hundredths(found: re.Match[bytes]) -> bytes:
    text = found[0]
    return text if text.startswith(b"scale") else f"{float(text):.2f}".rstrip("0").rstrip(".").encode()
