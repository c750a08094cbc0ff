"""The band of a fit: around its line, as wide as the noise makes it, and none where nothing was fitted."""

import numpy as np

from albench.report.findings import find
from albench.report.fits import fit_band, fit_line

from . import made_up

DEPTHS = np.geomspace(2, 64, 9)


def series(noise, **changes):
    laws = {("al", "fused", 1): made_up.pipeline(0.37, 0.004, 0.05)}
    (regime,) = find(made_up.sweep(laws, width=32, batch_size=16, noise=noise, **changes)).regimes
    return regime.series[0]


def band(noise):
    one, instances = series(noise), np.full(9, 640.0)
    low, high = fit_band(one, instances, DEPTHS)
    line = fit_line(one, instances, DEPTHS)
    assert (low <= line).all()
    assert (line <= high).all()
    return float(np.mean((high - low) / line))


def test_it_holds_the_line_and_widens_with_the_noise():
    assert 0 < band(0.002) < band(0.05) / 4


def test_it_holds_the_law_that_the_times_were_made_from():
    low, high = fit_band(series(0.01), np.full(9, 640.0), DEPTHS)
    true = np.array([made_up.pipeline(0.37, 0.004, 0.05)(40, depth, 1) for depth in DEPTHS])
    assert np.mean((low <= true) & (true <= high)) > 0.8


def test_a_lane_law_bends_where_its_lanes_are_full():
    laws = {("al", "threads", 4): made_up.lane_law(0.45)}
    (regime,) = find(made_up.sweep(laws, width=32, batch_size=16)).regimes
    (one,) = regime.series
    assert one.verdict.complexity == "O(nℓ/K)"
    low, high = fit_band(one, np.full(3, 640.0), np.array([4.0, 8.0, 64.0]))
    assert high[1] < 1.1 * low[0]
    assert low[2] > 5 * high[1]


def test_thin_data_has_none():
    assert fit_band(series(0.01, depths=(2, 4)), np.full(9, 640.0), DEPTHS) is None
