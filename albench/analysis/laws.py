"""The laws that may explain a sweep, and how one of them is fitted to it.

A sweep is a set of cells, one for each (n, ℓ, K) that was measured. The time of a cell is the median of its repeats, so
that one disturbed round in three does not count. A law says that the time is a sum of terms, each with a coefficient
that cannot be negative, because each is the cost of something:

    O(nℓ)         T = c + γ·nℓ                        back-propagation, were its step free of fixed parts
    O(n+ℓ)        T = c + a·n + b·ℓ                   a perfect pipeline: n steady ticks and the fill
    product law   T = c + a·n + b·ℓ + γ·nℓ            both; what is measured lies between, and γ says where
    O(nℓ/K)       T = c + a·n·max(1, ℓ/2K) + b·ℓ      a perfect pipeline on K lanes: flat until they are full

Errors are relative, because noise is: 3 % of 5 ms counts as much as 3 % of 5 s. Each row of the design is therefore
divided by its measured time, and what is fitted is the number one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RELATIVE_ERROR_FLOOR = 1e-3
"""No wall clock is good to a thousandth from run to run, so a law that fits better than that has proved nothing more.
Without the floor, made-up times without noise would give an AICc of minus infinity and a verdict on rounding errors."""
RESAMPLES = 1000
"""Enough that each 2.5 % end of an interval rests on 25 resamples; a few matrix products solve all of them."""
SEED = 20
"""Fixed: the same records must give the same verdict, whoever renders them and when."""


@dataclass(frozen=True, kw_only=True)
class Law:
    """A sum of terms in n, ℓ and K."""

    name: str
    columns: Callable[[Array, Array, Array], Array]
    """What the coefficients are multiplied with, for n, ℓ and K of equal length: a row a cell, a column a term."""


PURE_PRODUCT = Law(name="O(nℓ)", columns=lambda n, depth, _lanes: _columns(n * depth))
PURE_SUM = Law(name="O(n+ℓ)", columns=lambda n, depth, _lanes: _columns(n, depth))
PRODUCT_LAW = Law(name="product law", columns=lambda n, depth, _lanes: _columns(n, depth, n * depth))
LANE_LAW = Law(
    name="O(nℓ/K)", columns=lambda n, depth, lanes: _columns(n * np.maximum(1.0, depth / (2 * lanes)), depth)
)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The cells of one method, sorted, so that no number depends on the order in which rows were measured."""

    n: Array
    """Training instances of each cell."""
    hidden_layers: Array
    lanes: Array
    """Lanes of each cell; 1 where they were not given."""
    seconds: Array
    """Median wall time of each cell's repeats."""


def cells(n: Array, hidden_layers: Array, lanes: Array, seconds: Array) -> Sweep:
    """Gather rows into cells: one for each (n, ℓ, K), with the median of its times."""
    keys, cell_of_row = np.unique(np.stack([n, hidden_layers, lanes], axis=1), axis=0, return_inverse=True)
    cell_of_row = cell_of_row.reshape(-1)
    # The rows in the order of their cells, cut where a cell ends: a look at all rows for each cell would be quadratic.
    ends = np.cumsum(np.bincount(cell_of_row, minlength=len(keys)))[:-1]
    members = np.split(seconds[np.argsort(cell_of_row, kind="stable")], ends)[: len(keys)]
    medians = np.array([np.median(times) for times in members], dtype=np.float64)
    return Sweep(n=keys[:, 0], hidden_layers=keys[:, 1], lanes=keys[:, 2], seconds=medians)


def design(law: Law, sweep: Sweep) -> Array:
    """Return the law's columns with each row divided by its measured time: the best fit then gives ones."""
    rows: Array = law.columns(sweep.n, sweep.hidden_layers, sweep.lanes) / sweep.seconds[:, None]
    return rows


def fit(law: Law, sweep: Sweep) -> Array:
    """Return the law's coefficients, none of them negative, with the least sum of squared relative errors."""
    rows = design(law, sweep)
    found: Array = nonnegative_least_squares(rows, np.ones((1, len(rows))))[0]
    return found


def aicc(law: Law, sweep: Sweep) -> float:
    """Return Akaike's criterion of the relative errors, corrected for few cells; NaN where there are too few of them.

    A coefficient that came out as zero counts too, for the data chose that; so does the size of the noise.
    """
    rows = design(law, sweep)
    count, parameters = len(rows), int(rows.shape[1]) + 1
    spare = count - parameters - 1
    if spare <= 0:
        return math.nan
    mean_square = float(np.mean((rows @ fit(law, sweep) - 1) ** 2))
    deviance = count * math.log(max(mean_square, RELATIVE_ERROR_FLOOR**2))
    return deviance + 2 * parameters + 2 * parameters * (parameters + 1) / spare


def held_out_error(law: Law, sweep: Sweep) -> float:
    """Return the median relative error at the deepest ℓ of the law fitted to the others; NaN where they are too few."""
    rows = design(law, sweep)
    deepest = sweep.hidden_layers == sweep.hidden_layers.max()
    shallower = rows[~deepest]
    if np.linalg.matrix_rank(_scaled(shallower)[0]) < rows.shape[1]:
        return math.nan
    found = nonnegative_least_squares(shallower, np.ones((1, len(shallower))))[0]
    return float(np.median(np.abs(rows[deepest] @ found - 1)))


def bootstrap(law: Law, sweep: Sweep, *, seed: int = SEED) -> Array:
    """Return the law's coefficients in each of `RESAMPLES` resamples; NaN where too few cells are left to make them of.

    Sweeps that are set against each other need a `seed` each, or the same cells would err alike in both.
    """
    rows = design(law, sweep)
    targets = _resampled(law, sweep, seed=seed)
    if targets is None:
        return np.full((RESAMPLES, rows.shape[1]), math.nan)
    return nonnegative_least_squares(rows, targets)


def chance_of_lead(own: Law, rival: Law, sweep: Sweep, *, seed: int = SEED) -> float:
    """Return how often `own` would fit better than `rival` by as much as it does if `rival` were the true law.

    The share of the rival's resamples in which the ratio of the two sums of squares is what it is in the sweep, or
    larger: a test between laws of which neither is a part of the other (Cox, 1962; by resampling, Williams, 1970). NaN
    where too few cells are left to make resamples of.
    """
    targets = _resampled(rival, sweep, seed=seed)
    if targets is None:
        return math.nan
    every = np.vstack([np.ones(targets.shape[1]), targets])
    squares = [_squares(design(law, sweep), every) for law in (own, rival)]
    # Nobody measures to a thousandth: below that no law leads another.
    least = targets.shape[1] * RELATIVE_ERROR_FLOOR**2
    leads = np.log(np.maximum(squares[1], least) / np.maximum(squares[0], least))
    return float(np.mean(leads[1:] >= leads[0]))


def _squares(rows: Array, targets_BC: Array) -> Array:
    """Return the sum of squared errors of the best fit to each target."""
    errors = nonnegative_least_squares(rows, targets_BC) @ rows.T - targets_BC
    found: Array = np.einsum("bc,bc->b", errors, errors)
    return found


def _resampled(law: Law, sweep: Sweep, *, seed: int) -> Array | None:
    """Return targets [resamples, cells] as they might have come out were the fitted law true; None for too few cells.

    Cells, not rows, are the unit: where the law is a little wrong, all repeats of a cell are wrong together, and
    resampling rows would take that for many independent witnesses. Relative errors of the fit, enlarged by each cell's
    leverage, are dealt anew to all cells; each resample is also scaled by a draw of √(ν/χ²) with ν degrees of freedom,
    because the ν cells that are over after the coefficients know the size of the noise no better than that.
    """
    rows = design(law, sweep)
    count, spare = len(rows), len(rows) - rows.shape[1]
    if spare <= 0:
        return None
    fitted = rows @ fit(law, sweep)
    basis = np.linalg.qr(_scaled(rows)[0])[0]
    leverage = np.clip(np.einsum("ck,ck->c", basis, basis), 0.0, 0.99)
    errors = (1 - fitted) / np.sqrt(1 - leverage)
    errors -= errors.mean()
    generator = np.random.default_rng(seed)
    dealt: Array = errors[generator.integers(0, count, (RESAMPLES, count))]
    dealt *= np.sqrt(spare / generator.chisquare(spare, (RESAMPLES, 1)))
    return fitted + dealt


def nonnegative_least_squares(rows_CK: Array, targets_BC: Array) -> Array:
    """Return, for each of B target vectors, the K coefficients ≥ 0 that fit it best (C cells).

    A bootstrap solves a thousand such problems with one design. Where plain least squares holds no coefficient under
    zero, it is the answer. For the other targets the answer is the best of the plain solutions over every subset of
    columns that come out non-negative: with four columns there are 14 more subsets, and each is one matrix product for
    all those targets together.
    """
    scaled_CK, scale_K = _scaled(rows_CK)
    best_BK = targets_BC @ np.linalg.pinv(scaled_CK).T
    open_B = ~(best_BK >= 0).all(axis=1)
    if open_B.any():
        best_BK[open_B] = _best_of_subsets(scaled_CK, targets_BC[open_B])
    coefficients: Array = best_BK / scale_K
    return coefficients


def _best_of_subsets(rows_CK: Array, targets_BC: Array) -> Array:
    """Return the best non-negative solutions of which at least one coefficient is zero."""
    columns, rows_B = rows_CK.shape[1], np.arange(len(targets_BC))
    best_BK = np.zeros((len(targets_BC), columns))
    best_square_B = np.einsum("bc,bc->b", targets_BC, targets_BC)
    for size in range(1, columns):
        subsets_MS = np.array(list(combinations(range(columns), size)))
        some_MCS = np.moveaxis(rows_CK[:, subsets_MS], 1, 0)
        trial_MBS = targets_BC @ np.linalg.pinv(some_MCS).transpose(0, 2, 1)
        error_MBC = targets_BC - trial_MBS @ some_MCS.transpose(0, 2, 1)
        square_MB = np.einsum("mbc,mbc->mb", error_MBC, error_MBC)
        square_MB[(trial_MBS < 0).any(axis=2)] = np.inf
        chosen_B = square_MB.argmin(axis=0)
        better_B = square_MB[chosen_B, rows_B] < best_square_B
        best_square_B[better_B] = square_MB[chosen_B, rows_B][better_B]
        best_BK[better_B] = 0.0
        best_BK[rows_B[better_B, None], subsets_MS[chosen_B[better_B]]] = trial_MBS[chosen_B, rows_B][better_B]
    return best_BK


def _columns(first: Array, *others: Array) -> Array:
    """Put the start-up's column of ones before the terms."""
    return np.stack([np.ones_like(first), first, *others], axis=1)


def _scaled(rows_CK: Array) -> tuple[Array, Array]:
    """Bring the columns to length one: n·ℓ is a million times the start-up's 1, and rounding would notice."""
    scale_K = np.linalg.norm(rows_CK, axis=0)
    return rows_CK / scale_K, scale_K
