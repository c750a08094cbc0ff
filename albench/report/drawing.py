"""Drawing: a finished figure with the sentences that belong to it.

Drawn with matplotlib's objects, never through pyplot, whose figures are global state. Each figure knows what it shows
(for those who do not see it), how it is read, and what it does not show.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from albench.report.regimes import Work

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


def canvas(height: float) -> tuple[Figure, Axes]:
    """Return an empty figure with one pair of axes."""
    figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
    return figure, figure.subplots()


def drawing_of(
    figure: Figure, *, name: str, title: str, alt: str, reading: str, limits: str, work: Work | None
) -> Drawing:
    """Save a figure as SVG and PNG, without the date, so that the same records give the same bytes."""
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    figure.savefig(png, format="png", dpi=160)
    return Drawing(
        name=name,
        title=title,
        alt=alt,
        reading=reading,
        limits=limits,
        work=work,
        svg=svg.getvalue(),
        png=png.getvalue(),
        width=round(96 * figure.get_figwidth()),
        height=round(96 * figure.get_figheight()),
    )
