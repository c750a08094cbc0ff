"""Fits: the line that a verdict rests on, and the band that it lies in.

A verdict gives an interval for each coefficient of its law, and those do not add up to one for the line: coefficients
trade against each other. So the resamples behind the verdict are made again, from the same cells with the same seed,
and the band holds the middle 95 % of what their laws say at each place.
"""

from __future__ import annotations

import math

import numpy as np

from albench.analysis import laws
from albench.analysis.laws import LANE_LAW, PRODUCT_LAW, Array
from albench.analysis.statistics import CONFIDENCE
from albench.report.regimes import Series


def fit_line(series: Series, instances: Array, hidden_layers: Array) -> Array:
    """Return the fitted seconds at each (n, ℓ); NaN where they are not above zero, or where there is no fit."""
    lanes = np.full(len(hidden_layers), series.lanes) if series.has_lanes else None
    return _positive(np.asarray(series.verdict.predict(instances, hidden_layers, lanes), dtype=float))


def fit_band(series: Series, instances: Array, hidden_layers: Array) -> tuple[Array, Array] | None:
    """Return the low and the high end, in seconds, of what the fit of `series` says at each (n, ℓ).

    None where the series has no fit, or too few cells to tell.
    """
    if not series.verdict.fits:
        return None
    law = LANE_LAW if series.verdict.complexity == LANE_LAW.name else PRODUCT_LAW
    points = series.points
    sweep = laws.cells(
        np.array([point.instances for point in points], dtype=float),
        np.array([point.hidden_layers for point in points], dtype=float),
        np.array([point.lanes if series.has_lanes else 1 for point in points], dtype=float),
        np.array([point.seconds.estimate for point in points], dtype=float),
    )
    lanes = np.full(len(hidden_layers), series.lanes or 1, dtype=float)
    resampled = laws.bootstrap(law, sweep) @ law.columns(instances, hidden_layers, lanes).T
    if not np.isfinite(resampled).all():
        return None
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(resampled, [tail, 100 - tail], axis=0)
    # Where a coefficient sits at zero, resamples can only move one way, and their middle may miss the fit itself.
    line = np.asarray(series.verdict.predict(instances, hidden_layers, lanes), dtype=float)
    return _positive(np.minimum(low, line)), _positive(np.maximum(high, line))


def _positive(seconds: Array) -> Array:
    """Return the seconds that a logarithmic axis can show."""
    shown: Array = np.where(seconds > 0, seconds, math.nan)
    return shown
