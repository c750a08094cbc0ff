"""Class distances: the definition of Table 7 pair by pair, and what must not change them."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from albench.analysis.class_distance import ClassDistances, class_distances
from albench.errors import UsageError


def blobs(n=60, d=7, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    return rng.normal(size=(n, d)) + 3 * rng.normal(size=(classes, d))[labels], labels


def pair_by_pair(x, y):
    """The definition, with scipy's distances of all pairs."""
    groups = [np.asarray(x, dtype=np.float64)[y == label] for label in np.unique(y)]
    inter = pdist(np.stack([group.mean(0) for group in groups])).mean()
    return inter, np.mean([pdist(group).mean() for group in groups if len(group) > 1])


@pytest.mark.parametrize("chunk", [1, 3, 16, 1024])
@pytest.mark.parametrize("seed", range(5))
def test_all_pairs_as_scipy_counts_them(chunk, seed):
    x, y = blobs(seed=seed)
    found = class_distances(x, y, chunk=chunk)
    inter, intra = pair_by_pair(x, y)
    assert (found.inter, found.intra) == pytest.approx((inter, intra), rel=1e-12)
    assert found.ratio == pytest.approx(inter / intra, rel=1e-12)


def test_numbers_that_a_hand_finds():
    """Two squares of side 1, their centres 5 apart: (4·1 + 2·√2)/6 within, 5 between."""
    square = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    away = square + np.array([3, 4])
    found = class_distances(np.concatenate([square, away]), [0] * 4 + [1] * 4)
    assert found.inter == pytest.approx(5)
    assert found.intra == pytest.approx((4 + 2 * math.sqrt(2)) / 6)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(2, 6),
    scale=st.sampled_from([1e-6, 0.3, 1.0, 1e6]),
    offset=st.sampled_from([0.0, -3.0, 1e4]),
)
def test_what_is_moved_scaled_turned_or_shuffled_keeps_its_ratio(seed, classes, scale, offset):
    rng = np.random.default_rng(seed)
    x, y = blobs(n=40, d=5, classes=classes, seed=seed)
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    order = rng.permutation(len(x))
    plain = class_distances(x, y)
    changed = class_distances((scale * (x @ turn + offset))[order], 10 + y[order], chunk=7)
    assert changed.inter == pytest.approx(scale * plain.inter, rel=1e-9)
    assert changed.intra == pytest.approx(scale * plain.intra, rel=1e-9)


def test_points_that_coincide_or_nearly_do_are_exact():
    """Where the product of matrices would leave nothing but rounding."""
    x = np.zeros((50, 3)) + 1e3
    x[25:] += 7.0
    found = class_distances(x, [0] * 25 + [1] * 25)
    assert found.intra == 0.0
    assert found.inter == pytest.approx(7 * math.sqrt(3), rel=1e-13)
    assert found.ratio == math.inf
    x[:25, 0] += 1e-9 * np.arange(25)
    x[0] -= 1e3  # one far away, so that norms are large
    close = class_distances(x, [0] * 25 + [1] * 25, chunk=4)
    assert close.intra == pytest.approx(pair_by_pair(x, np.repeat([0, 1], 25))[1], rel=1e-12)


def test_float32_features_are_summed_in_float64():
    x, y = blobs(n=300)
    single = x.astype(np.float32)
    assert class_distances(single, y).intra == pytest.approx(pair_by_pair(single, y)[1], rel=1e-12)


def test_a_class_of_one_instance_has_a_centroid_and_no_spread():
    x, y = blobs()
    more = class_distances(np.concatenate([x, np.zeros((1, 7))]), np.append(y, 99))
    assert more.intra == pytest.approx(class_distances(x, y).intra, rel=1e-12)
    assert more.inter != pytest.approx(class_distances(x, y).inter, rel=1e-6)


def test_all_in_one_point_has_no_ratio():
    assert math.isnan(class_distances(np.ones((4, 2)), [0, 0, 1, 1]).ratio)
    assert ClassDistances(inter=39.36, intra=67.97).ratio == pytest.approx(0.58, abs=0.005), "Table 7's own"


def test_memory_is_bounded_by_the_chunk():
    """Of 4000 points of one class all distances at once would take 128 MB."""
    x, _ = blobs(n=4002, d=4)
    labels = [0] * 4000 + [1] * 2
    class_distances(x[-6:], [0, 0, 0, 0, 1, 1])
    tracemalloc.start()
    class_distances(x, labels, chunk=32)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((3, 2)), [1, 1, 1], "of 1 class: an inter-class distance needs two"),
        (np.zeros((3, 2)), [0, 1, 2], "every class has one instance"),
        (np.zeros((1, 2)), [0], "of 1 class"),
        (np.zeros((0, 2)), [], r"shape \(0, 2\)"),
        (np.zeros(3), [0, 0, 1], r"shape \(3,\)"),
        (np.zeros((3, 2)), [0, 1], r"labels \(2,\)"),
        ([[0.0], [math.nan], [1.0]], [0, 0, 1], "features hold nan"),
    ],
)
def test_what_has_no_distances_is_refused(x, y, message):
    with pytest.raises(UsageError, match=message):
        class_distances(x, y)


def test_a_chunk_of_nothing_is_refused():
    with pytest.raises(UsageError, match="chunk is 0"):
        class_distances(*blobs(), chunk=0)
