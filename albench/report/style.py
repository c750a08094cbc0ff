"""Style: how every figure looks, so that a series is the same colour and marker in all of them.

Colours are those of Okabe and Ito, which readers with any colour vision can tell apart; each has a marker of its own,
so that a black-and-white print works too. Figures are drawn on white whatever the page's background is. Letters become
outlines, so that a figure looks the same on a machine without the font. What was projected is dashed and hollow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from matplotlib.colors import LinearSegmentedColormap

INK = "#1f2328"
"""Text and axes."""
FAINT = "#d5d9de"
"""Grid lines."""
MUTED = "#6a737d"
"""Marks that are not data: the knee, the line of equal speed."""

SMALL = 10.5
"""Points of the smallest letters. A phone of 360 pixels shrinks a figure to two thirds: these are 9 pixels high then,
and smaller ones cannot be read."""

STYLE: Any = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": "DejaVu Sans",  # ships with matplotlib
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.minor.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "lines.markersize": 6.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "albench",  # the same records give the same file
}
"""matplotlib's settings, put around drawing and saving. Their type differs from release to release, hence Any."""

BAND_OPACITY = 0.16
"""Of the band around a fit: marks and lines of other series show through."""
DIVERGING = LinearSegmentedColormap.from_list("albench", ["#D55E00", "#ffffff", "#0072B2"])
"""From a loss over a draw to a win."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9")
MARKERS = ("o", "^", "D", "v", "P")
"""AL's series, in the program's order."""
RIVAL_COLOURS = ("#1f2328", "#8a8f98", "#b58900")
RIVAL_MARKERS = ("s", "X", "h")
"""Everything that is not AL."""
PROJECTED_COLOUR = "#CC79A7"


@dataclass(frozen=True)
class Look:
    """How one series is drawn."""

    colour: str
    marker: str
    projected: bool = False

    @property
    def marks(self) -> dict[str, Any]:
        """Settings of the markers; projected ones are hollow."""
        return {
            "color": self.colour,
            "marker": self.marker,
            "markerfacecolor": "white" if self.projected else self.colour,
        }

    @property
    def line(self) -> dict[str, Any]:
        """Settings of the fit line; projected ones are dashed."""
        return {"color": self.colour, "linestyle": (0, (4, 2.5)) if self.projected else "solid", "linewidth": 1.6}


FIRST_OF_AL = Look(COLOURS[0], MARKERS[0])
FIRST_RIVAL = Look(RIVAL_COLOURS[0], RIVAL_MARKERS[0])


class Drawn(Protocol):
    """What has a look: a series of times, a learning curve."""

    @property
    def name(self) -> str:
        """What the legend calls it."""
        ...

    @property
    def method(self) -> str:
        """The method that ran."""
        ...

    @property
    def projected(self) -> bool:
        """Whether it was calculated, not measured."""
        ...


def looks(series: Sequence[Drawn]) -> dict[str, Look]:
    """Return the look of each series by name; pass the series of all regimes, so that all figures agree."""
    found: dict[str, Look] = {}
    counts = {"al": 0, "rival": 0, "projected": 0}
    for one in series:
        if one.name in found:
            continue
        if one.projected:
            found[one.name] = Look(PROJECTED_COLOUR, MARKERS[counts["projected"] % len(MARKERS)], projected=True)
            counts["projected"] += 1
        elif one.method == "al":
            found[one.name] = _nth(COLOURS, MARKERS, counts["al"])
            counts["al"] += 1
        else:
            found[one.name] = _nth(RIVAL_COLOURS, RIVAL_MARKERS, counts["rival"])
            counts["rival"] += 1
    return found


def _nth(colours: Sequence[str], markers: Sequence[str], index: int) -> Look:
    """Return the look of the `index`-th series of a family: where colours run out, markers move on."""
    return Look(colours[index % len(colours)], markers[(index + index // len(colours)) % len(markers)])
