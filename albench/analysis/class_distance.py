"""Class distances: how far classes lie apart and how far each spreads, the paper's Table 7.

In Section 5.4's words: "We computed the intraclass distance d_k^intra as the average distance between any two data
points in class k for each class. The interclass distance is the average distance between the centroids of the
classes." With n_k instances x of class k, their centroid c_k, and K classes:

    d_k^intra = 2/(n_k·(n_k-1)) · Σ_{i<j} ‖x_i - x_j‖      intra = 1/K · Σ_k d_k^intra
    inter     = 2/(K·(K-1)) · Σ_{k<m} ‖c_k - c_m‖          ratio = inter / intra

The table has one intraclass distance for all classes; that it is the mean over them, each counting alike, is our
reading. A class of one instance has no pair and takes no part in that mean. The larger the ratio, the better classes
can be told apart; it does not change with the features' scale, which the two distances do.

Every pair is counted, none is sampled. ‖x_i - x_j‖² = ‖x_i‖² + ‖x_j‖² - 2·x_i·x_j makes that a product of matrices, so
memory grows with n and not n². Its difference loses digits where two points are close: there it is taken anew from the
points themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from albench.errors import UsageError

CHUNK = 1024
"""Points whose distances to all others of their class are held at a time."""
CLOSE = 1e-6
"""Share of ‖x_i‖² + ‖x_j‖² under which a squared distance is taken anew; above it ten digits of it are right."""

Points = NDArray[np.float64]


@dataclass(frozen=True)
class ClassDistances:
    """Distances in the units of the features."""

    inter: float
    """Mean distance between the centroids of two classes."""
    intra: float
    """Mean distance of two instances of a class, averaged over classes."""

    @property
    def ratio(self) -> float:
        """Inter to intra; infinite where all classes are single points apart, NaN where all is one point."""
        if self.intra == 0:
            return math.inf if self.inter > 0 else math.nan
        return self.inter / self.intra


def class_distances(features: ArrayLike, labels: ArrayLike, *, chunk: int = CHUNK) -> ClassDistances:
    """Return Table 7's distances of features ``[n, d]`` with labels ``[n]``.

    `UsageError` for fewer than two classes, for classes that all have one instance, and for numbers that are not
    finite. `chunk` bounds the memory: 8·chunk·n_k bytes for a class of n_k instances, beside a float64 copy of it.
    """
    x, y = _checked(features, labels)
    if chunk < 1:
        raise UsageError(f"chunk is {chunk}: give a whole number of at least 1")
    classes = [x[y == label].astype(np.float64) for label in np.unique(y)]
    if len(classes) < 2:
        raise UsageError(f"the features are of {len(classes)} class: an inter-class distance needs two")
    centroids = np.stack([points.mean(0) for points in classes])
    spreads = [_mean_distance(points, chunk) for points in classes if len(points) > 1]
    if not spreads:
        raise UsageError("every class has one instance: an intra-class distance needs two of one class")
    return ClassDistances(inter=_mean_distance(centroids, chunk), intra=math.fsum(spreads) / len(spreads))


def _mean_distance(points: Points, chunk: int) -> float:
    """Return the mean distance of two of the points ``[n, d]``, n at least 2, over all n·(n-1)/2 pairs."""
    centred = points - points.mean(0)  # distances stay, and squares get as small as they can
    pairs = len(points) * (len(points) - 1) // 2
    return math.fsum(_sums_of_distances(centred, chunk)) / pairs


def _sums_of_distances(points: Points, chunk: int) -> Iterator[float]:
    """Yield the sum of the distances of each chunk to itself and to what follows it."""
    norms = np.einsum("nd,nd->n", points, points)
    for start in range(0, len(points) - 1, chunk):
        rows = points[start : start + chunk]
        sums = norms[start : start + chunk, None] + norms[None, start:]
        squares = sums - 2 * (rows @ points[start:].T)
        later = np.arange(len(points) - start)[None, :] > np.arange(len(rows))[:, None]  # each pair once
        for i, j in _in_parts(np.argwhere(later & (squares < CLOSE * sums)), chunk):
            squares[i, j] = np.square(rows[i] - points[start + j]).sum(1)
        yield float(np.sqrt(squares, where=later, out=np.zeros_like(squares)).sum())


def _in_parts(pairs: NDArray[np.intp], size: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield the rows and columns of pairs ``[m, 2]``, so many at a time."""
    for start in range(0, len(pairs), size):
        part = pairs[start : start + size]
        yield part[:, 0], part[:, 1]


def _checked(features: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.floating], NDArray[np.generic]]:
    """Return arrays of matching shapes that hold finite numbers."""
    x, y = np.asarray(features), np.asarray(labels)
    if not np.issubdtype(x.dtype, np.floating):
        x = x.astype(np.float64)
    if x.ndim != 2 or y.shape != x.shape[:1] or x.size == 0:
        raise UsageError(f"features have shape {x.shape} and labels {y.shape}: give [n, d] and [n], n and d at least 1")
    if not np.isfinite(x).all():
        raise UsageError(f"features hold {x[~np.isfinite(x)][0]}: give finite numbers only")
    return x, y
