"""The fits beside statsmodels': where no coefficient is held at zero, ours are ordinary least squares and no more."""

import math

import numpy as np
import pytest
from statsmodels.regression.linear_model import OLS
from statsmodels.tools import eval_measures

from albench.analysis import laws
from albench.analysis.laws import LANE_LAW, PRODUCT_LAW, PURE_PRODUCT, PURE_SUM

TRUE = np.array([4.0, 0.02, 0.5, 0.001])
"""c, a, b and γ, all of a size that noise does not bring to zero."""
DEPTHS = (2, 4, 8, 16, 32, 64)
LENGTHS = (256, 768, 2048)


def sweep(seed, noise=0.03):
    n, depth = (axis.ravel().astype(float) for axis in np.meshgrid(LENGTHS, DEPTHS))
    factor = 1 + noise * np.random.default_rng(seed).standard_normal(len(n))
    seconds = PRODUCT_LAW.columns(n, depth, np.ones_like(n)) @ TRUE * factor
    return laws.cells(n, depth, np.minimum(2.0, depth / 2), seconds)


def theirs(law, one):
    rows = laws.design(law, one)
    return OLS(np.ones(len(rows)), rows).fit()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("law", [PRODUCT_LAW, PURE_PRODUCT, PURE_SUM, LANE_LAW], ids=lambda law: law.name)
def test_coefficients_are_those_of_ordinary_least_squares(law, seed):
    one = sweep(seed)
    found = theirs(law, one).params
    assert (found > 0).all(), "or there is nothing to compare"
    assert laws.fit(law, one) == pytest.approx(found, rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("law", [PRODUCT_LAW, PURE_PRODUCT, PURE_SUM, LANE_LAW], ids=lambda law: law.name)
def test_aicc_is_theirs_but_for_a_constant(law, seed):
    """Ours leaves out n·(log 2π + 1), the same for all laws; both count the size of the noise as a parameter."""
    one = sweep(seed)
    fit = theirs(law, one)
    cells, parameters = len(one.seconds), len(fit.params) + 1
    expected = eval_measures.aicc(fit.llf, cells, parameters) - cells * (math.log(2 * math.pi) + 1)
    assert laws.aicc(law, one) == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_bootstrap_intervals_cover_as_often_as_students():
    """200 sweeps: percentile intervals of our resamples beside the t intervals of the same least squares."""
    ours, students, widths = np.zeros(4), np.zeros(4), []
    for seed in range(200):
        one = sweep(seed)
        low, high = np.percentile(laws.bootstrap(PRODUCT_LAW, one), [2.5, 97.5], axis=0)
        bounds = np.asarray(theirs(PRODUCT_LAW, one).conf_int(0.05))
        ours += (low <= TRUE) & (high >= TRUE)
        students += (bounds[:, 0] <= TRUE) & (bounds[:, 1] >= TRUE)
        widths.append((high - low) / (bounds[:, 1] - bounds[:, 0]))
    assert students / 200 == pytest.approx(0.95, abs=0.04), "the made-up noise is what Student's t is made for"
    assert ours / 200 == pytest.approx(0.95, abs=0.04)
    assert np.median(widths, axis=0) == pytest.approx(1, abs=0.15)
