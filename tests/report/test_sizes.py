"""Across kinds of work that differ in one size: throughput against batch size, and AL over BP as a map."""

import pytest

from albench.report.batch_figure import batch_drawing
from albench.report.findings import find
from albench.report.heat_map import size_map_drawing
from albench.report.regimes import Work
from albench.report.sizes import _rest, batch_sweeps_of, size_maps_of
from albench.report.style import looks
from albench.report.words import number

from . import made_up

pytestmark = pytest.mark.usefixtures("styled")

LAWS = {("al", "fused", 1): made_up.product(1.0, 0.1), ("bp", "eager", 1): made_up.product(0.4, 0.2)}
"""AL is slower at ℓ = 2 and 4, as fast at 6, and faster from there on."""


def records(*sizes, laws=LAWS, noise=0.0, **changes):
    given = {"depths": (2, 6, 16), "lengths": (20, 40, 80), "noise": noise} | changes
    return [one for width, batch in sizes for one in made_up.sweep(laws, width=width, batch_size=batch, **given)]


def test_throughput_is_told_at_the_deepest_network_with_several_batch_sizes():
    (sweep,) = batch_sweeps_of(find([*records((64, 8), (64, 32)), *records((64, 128), depths=(2, 6))]).regimes)
    assert (sweep.hidden_layers, sweep.batch_sizes, sweep.title) == (16, [8, 32], "ℓ = 16, width 64")
    (al, bp) = sweep.lines
    # Equal times for four times as many instances: 2 ms of start and 80 mini-batches of 1 + 16 · 0.1 ms.
    small, large = (point.rate for _, point in al.points)
    assert large.estimate == pytest.approx(4 * small.estimate)
    assert small.estimate == pytest.approx(80 * 8 / 0.210)
    assert small.low <= small.estimate <= small.high
    assert bp.name == "BP, 1 thread"


def test_kinds_of_work_that_differ_in_more_than_one_size_are_not_laid_side_by_side():
    regimes = find(records((32, 16), (64, 32))).regimes
    assert batch_sweeps_of(regimes) == []
    assert size_maps_of(regimes) == []


def test_bridges_count_in_widths():
    def work(width, bridge_width):
        return Work(
            network="mlp", width=width, batch_size=8, dataset="digits", precision="float32", bridge_width=bridge_width
        )

    assert _rest(work(32, 160), "width") == _rest(work(64, 320), "width")
    assert _rest(work(32, 160), "width") != _rest(work(64, 160), "width")
    assert _rest(work(32, 160), "width") != _rest(work(32, None), "width")


def test_a_map_holds_the_ratio_of_each_kind_of_work_at_each_depth():
    maps = size_maps_of(find(records((64, 8), (64, 32), (128, 32))).regimes)
    assert [(one.axis, one.title, one.sizes) for one in maps] == [
        ("batch_size", "width 64", [8, 32]),
        ("width", "batch 32", [64, 128]),
    ]
    assert maps[0].depths == [2, 6, 16]
    ratios = [maps[0].cells[depth, 8].speedup.estimate for depth in (2, 6, 16)]
    assert ratios == pytest.approx(
        [(2 + 80 * (0.4 + 0.2 * depth)) / (2 + 80 * (1 + 0.1 * depth)) for depth in (2, 6, 16)]
    )


def test_one_depth_or_one_size_is_no_map():
    assert size_maps_of(find(records((64, 8), (64, 32), depths=(6,))).regimes) == []
    assert size_maps_of(find(records((64, 8))).regimes) == []


def drawn_map(found):
    (size_map,) = found.size_maps
    return size_map_drawing(size_map, "map")


def drawn_throughput(found):
    (sweep,) = found.batch_sweeps
    return batch_drawing(sweep, looks([series for regime in found.regimes for series in regime.series]), "batch")


def test_the_map_shows_losses_wins_and_what_is_not_certain():
    drawing = drawn_map(find(records((64, 8), (64, 32), noise=0.02, rounds=8)))
    assert "batch size 8: 0.67× at ℓ = 2, 0.99×? at ℓ = 6, 1.4× at ℓ = 16" in drawing.alt
    assert "(2 cells of 6)" in drawing.reading
    assert "orange, under 1: in more" in drawing.reading
    assert "not show how well" in drawing.limits


def test_a_map_of_single_rounds_is_certain_of_nothing():
    drawing = drawn_map(find(records((64, 8), (64, 32), rounds=1)))
    assert "(6 cells of 6)" in drawing.reading


def test_a_cell_that_was_not_measured_stays_empty():
    drawing = drawn_map(find([*records((64, 8)), *records((64, 32), depths=(2, 6))]))
    assert "batch size 32: 0.67× at ℓ = 2, 1.0×? at ℓ = 6." in drawing.alt


def test_throughput_is_drawn_with_its_numbers_and_few_lines():
    drawing = drawn_throughput(find(records((64, 8), (64, 32))))
    rates = [number(80 * batch / 0.210) for batch in (8, 32)]
    assert f"AL fused {rates[0]} at B = 8, {rates[1]} at B = 32; BP" in drawing.alt
    assert "Runs of N = 80 mini-batches" in drawing.reading
    many = {("bp", "eager", threads): made_up.product(0.4, 0.2 / threads) for threads in range(1, 10)}
    drawing = drawn_throughput(find(records((64, 8), (64, 32), laws=many, lengths=(80,), rounds=1)))
    assert "BP, 9 threads" in drawing.alt
    assert "BP, 8 threads" not in drawing.alt
    assert "8 more are in the tables" in drawing.limits
