"""The test between two laws: luck is called luck, and evidence evidence."""

import math

import numpy as np

from albench.analysis import laws
from albench.analysis.laws import LANE_LAW, PRODUCT_LAW

DEPTHS, LENGTHS = (2, 4, 8), (128, 256, 512)


def sweep(law, coefficients, *, noise, seed):
    n, depth = (axis.ravel().astype(float) for axis in np.meshgrid(LENGTHS, DEPTHS))
    lanes = np.minimum(2.0, depth / 2)
    seconds = law.columns(n, depth, lanes) @ np.array(coefficients)
    return laws.cells(n, depth, lanes, seconds * np.exp(noise * np.random.default_rng(seed).standard_normal(len(n))))


def test_a_lead_by_luck_is_as_rare_as_it_says():
    """Times that grow steadily, on nine cells: the lane law leads "in at most 5 %" about that often, and no oftener."""
    chances = [
        laws.chance_of_lead(LANE_LAW, PRODUCT_LAW, sweep(PRODUCT_LAW, (0.5, 0.012, 0.1, 0.003), noise=0.1, seed=seed))
        for seed in range(200)
    ]
    assert np.mean(np.array(chances) <= 0.05) <= 0.08
    assert np.median(chances) > 0.3


def test_a_lead_by_right_is_not_luck():
    for seed in range(20):
        true = sweep(LANE_LAW, (0.5, 0.025, 0.1), noise=0.01, seed=seed)
        assert laws.chance_of_lead(LANE_LAW, PRODUCT_LAW, true) < 0.01
        assert laws.chance_of_lead(PRODUCT_LAW, LANE_LAW, true) > 0.05


def test_too_few_cells_say_nothing():
    four = laws.cells(*(np.array(column, float) for column in ([1, 1, 2, 2], [2, 4, 2, 4], [1] * 4, [1, 2, 3, 4])))
    assert math.isnan(laws.chance_of_lead(LANE_LAW, PRODUCT_LAW, four))
    assert np.isnan(laws.bootstrap(PRODUCT_LAW, four)).all()


def test_two_seeds_err_in_different_cells():
    """Or the errors of two sweeps that are set against each other would cancel."""
    one = sweep(PRODUCT_LAW, (0.5, 0.012, 0.1, 0.003), noise=0.1, seed=0)
    first, second = (laws.bootstrap(PRODUCT_LAW, one, seed=seed) for seed in (1, 2))
    same = [np.corrcoef(first[:, term], second[:, term])[0, 1] for term in range(4)]
    assert np.abs(same).max() < 0.15
