"""Embedding: what layers make of a data set, drawn in a plane by t-SNE, one method a row (the paper's Figures 5 and 6).

t-SNE (van der Maaten and Hinton 2008) puts instances that are neighbours in a layer next to each other in the plane.
It starts from the two first principal components and a fixed seed, so the same numbers give the same picture. Features
of more than 50 numbers are reduced to their 50 first principal components before, as its authors advise: a first layer
has thousands, and the neighbours hardly change.

A picture persuades more than it proves. So each panel also says how many instances have a neighbour of their own class
nearest to them in the plane, which is what the eye looks for in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from albench.errors import UsageError
from albench.report.drawing import WIDTH_INCHES, Drawing, drawing_of
from albench.report.style import COLOURS, MARKERS, STYLE
from albench.report.words import counted, percent

PERPLEXITY = 30.0
"""How many neighbours count, roughly: t-SNE's usual value; few instances have fewer."""
COMPONENTS = 50
"""Principal components that are kept of features with more numbers than that."""
FEWEST = 10
"""Instances under which neighbourhoods mean nothing."""
MOST_CLASSES = len(COLOURS) * len(MARKERS)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One layer of one method."""

    title: str
    """Such as "raw data" or "layer 4"."""
    features: ArrayLike
    """``[n, d]``, one row an instance, in the order of the labels."""


def check_count(count: int) -> None:
    """Refuse to draw so few instances, as a `UsageError`."""
    if count < FEWEST:
        raise UsageError(f"{counted(count, 'instance')} cannot be drawn: give at least {FEWEST}")


def chosen(total: int, count: int, seed: int) -> NDArray[np.intp]:
    """Return which `count` of `total` instances are drawn, in rising order: all where there are no more."""
    check_count(count)
    return np.sort(np.random.default_rng(seed).permutation(total)[:count])


def embed(features: ArrayLike, *, seed: int) -> NDArray[np.float64]:
    """Return the place in the plane ``[n, 2]`` of each row of features ``[n, d]``."""
    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2 or len(x) < FEWEST:
        raise UsageError(f"features have shape {x.shape}: give [n, d] with n at least {FEWEST}")
    if not np.isfinite(x).all():
        raise UsageError("features hold numbers that are not finite: the network has diverged, or its input is unclean")
    if min(x.shape) > COMPONENTS:
        x = PCA(COMPONENTS, random_state=seed).fit_transform(x)
    if x.shape[1] < 2:  # two components are drawn, and these features have one
        x = np.column_stack([x, np.zeros(len(x))])
    perplexity = min(PERPLEXITY, (len(x) - 1) / 3)
    # Threads add in whatever order they finish, and t-SNE makes another picture of the last bit.
    with threadpool_limits(1):
        placed: NDArray[np.float64] = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(x)
    return placed


def neighbour_share(points: ArrayLike, labels: ArrayLike) -> float:
    """Return the share of points ``[n, 2]`` whose nearest other point has their own label, in [0, 1]."""
    places, y = np.asarray(points), np.asarray(labels)
    nearest = NearestNeighbors(n_neighbors=1).fit(places).kneighbors(return_distance=False)[:, 0]
    return float((y[nearest] == y).mean())


def embedding_drawing(
    rows: Mapping[str, Sequence[Panel]], labels: ArrayLike, *, name: str, title: str, total: int, seed: int
) -> Drawing:
    """Draw one row of panels a method; `labels` ``[n]`` are those of every panel's instances.

    `total` is of how many instances these n were chosen, with `seed`. The rows have equally many panels.
    """
    y = np.asarray(labels)
    classes = np.unique(y)
    if len(classes) > MOST_CLASSES:
        raise UsageError(f"{len(classes)} classes are more than {MOST_CLASSES} marks that an eye can tell apart")
    columns = {len(panels) for panels in rows.values()}
    if len(columns) != 1 or any(len(np.asarray(panel.features)) != len(y) for one in rows.values() for panel in one):
        raise UsageError("panels do not match: give each method the same number of them, with a row an instance")
    shares: dict[str, list[tuple[str, float]]] = {method: [] for method in rows}
    placed: dict[int, NDArray[np.float64]] = {}  # the raw data are in every row and are embedded once
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, 0.75 + 1.62 * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), columns.pop(), squeeze=False)
        for axes_row, (method, panels) in zip(grid, rows.items(), strict=True):
            for axes, panel in zip(axes_row, panels, strict=True):
                if id(panel.features) not in placed:
                    placed[id(panel.features)] = embed(panel.features, seed=seed)
                points = placed[id(panel.features)]
                share = neighbour_share(points, y)
                shares[method].append((panel.title, share))
                _scatter(axes, points, y, classes)
                axes.set_title(panel.title, fontsize=9, fontweight="normal", loc="center")
                axes.set_xlabel(percent(share), fontsize=8)
            axes_row[0].set_ylabel(method, fontweight="bold")
        _legend(figure, classes)
        return drawing_of(
            figure,
            name=name,
            title=title,
            alt=f"{title}: {counted(len(y), 'instance')} of {counted(len(classes), 'class', 'es')} in the plane. "
            "Instances whose nearest neighbour is of their own class: "
            + "; ".join(
                f"{method} " + ", ".join(f"{percent(share)} in {panel}" for panel, share in own)
                for method, own in shares.items()
            )
            + ".",
            reading="Each mark is an instance, its colour and shape the class. The better a layer tells classes apart, "
            "the more the marks gather by class; the number under a panel is the share of instances whose nearest "
            "neighbour in the plane is of their own class.",
            limits=f"t-SNE keeps neighbourhoods and nothing else: the distances between groups, their sizes and the "
            f"axes mean nothing. {_drawn_words(len(y), total, seed)} Perplexity "
            f"{min(PERPLEXITY, (len(y) - 1) / 3):g}, first two principal components to start from; features of more "
            f"than {COMPONENTS} numbers are reduced to as many principal components before.",
            work=None,
        )


def estimated_seconds(instances: int, pictures: int) -> float:
    """Return a rough guess of the seconds that `pictures` different panels take, to be told before they do."""
    return pictures * (0.5 + 4e-4 * instances * math.log2(max(2, instances)))


def _drawn_words(count: int, total: int, seed: int) -> str:
    if count == total:
        return f"All {counted(total, 'instance')} are drawn, seed {seed}."
    return f"{counted(count, 'instance')} of {counted(total, 'instance')} are drawn, chosen with seed {seed}."


def _mark(place: int) -> dict[str, Any]:
    """Return colour and shape of the class in this place."""
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place // len(COLOURS)]}


def _scatter(axes: Any, points: NDArray[np.float64], y: NDArray[Any], classes: NDArray[Any]) -> None:
    """Draw the points of each class. As pixels inside the SVG: ten thousand shapes would make it megabytes."""
    for place, label in enumerate(classes):
        own = points[y == label]
        axes.scatter(own[:, 0], own[:, 1], s=4, linewidths=0, alpha=0.75, rasterized=True, **_mark(place))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.set_aspect("equal", adjustable="datalim")


def _legend(figure: Figure, classes: NDArray[Any]) -> None:
    handles = [Line2D([], [], linestyle="", label=str(label), **_mark(place)) for place, label in enumerate(classes)]
    figure.legend(
        handles=handles,
        title="class",
        title_fontsize=9,
        loc="outside lower center",
        ncols=min(10, len(classes)),
        fontsize=8,
        handletextpad=0.1,
        columnspacing=1.0,
        markerscale=0.8,
    )
