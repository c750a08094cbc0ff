"""Speed over lanes is told against the right one lane, with the ideal that the schedule has."""

import pytest

from albench.report.lane_sweeps import lane_sweeps_of
from albench.report.lanes_figure import lanes_drawing

from . import contest_records as made

pytestmark = pytest.mark.usefixtures("styled")

TIMES = {
    ("bp", "eager", 1, 1, 1): 160.0,
    ("bp", "eager", 2, 1, 1): 100.0,
    ("bp", "eager", 4, 1, 1): 80.0,
    ("al", "serial", 1, 1, 1): 200.0,
    ("al", "threads", 2, 1, 1): 100.0,
    ("al", "threads", 4, 1, 1): 62.5,
    ("al", "fused", 2, 1, 1): 90.0,
    ("ddp", "ranks", 2, 1, 1): 80.0,
    ("al-ddp", "threads", 1, 1, 2): 110.0,
    ("gpipe", "ranks", 2, 4, 1): 128.0,
    ("gpipe", "ranks", 2, 8, 1): 140.0,
    ("gpipe", "ranks", 4, 8, 1): 80.0,
}


def sweep(times=TIMES, **changes):
    (found,) = lane_sweeps_of(made.contest(times, noise=0.0, **changes))
    return found


def line(name):
    (found,) = (one for one in sweep().lines if one.name == name)
    return found.measure, {point.lanes: round(point.speedup.estimate, 6) for point in found.points}


def test_each_line_is_told_against_its_own_one_lane():
    assert line("BP") == ("BP, 1 thread", {1: 1, 2: 1.6, 4: 2})
    assert line("AL threads") == ("AL serial", {2: 2, 4: 3.2})
    assert line("DDP") == ("BP, 1 thread", {2: 2})
    assert line("AL + DDP") == ("AL serial", {2: round(200 / 110, 6)})


def test_a_pipeline_shows_its_best_number_of_microbatches_under_its_own_ideal():
    assert line("GPipe") == ("BP, 1 thread", {2: 1.25, 4: 2})
    (gpipe,) = (one for one in sweep().lines if one.name == "GPipe")
    assert [(point.microbatches, point.ideal) for point in gpipe.points] == [(4, 2 * 4 / 5), (8, 4 * 8 / 11)]
    (threads,) = (one for one in sweep().lines if one.name == "AL threads")
    assert [point.ideal for point in threads.points] == [2, 4]


def test_who_was_not_measured_on_one_lane_has_no_line():
    assert {one.name for one in sweep().lines} == {"BP", "AL threads", "DDP", "AL + DDP", "GPipe"}  # no AL fused
    without = {key: value for key, value in TIMES.items() if key != ("bp", "eager", 1, 1, 1)}
    assert {one.name for one in sweep(without).lines} == {"AL threads", "AL + DDP"}


def test_the_depth_with_the_most_lanes_is_told_of_each_kind_of_work():
    shallow = made.contest({key: value for key, value in TIMES.items() if key[2] <= 2}, hidden_layers=32)
    (found,) = lane_sweeps_of([*shallow, *made.contest(TIMES)])
    assert (found.hidden_layers, found.lane_counts) == (8, [1, 2, 4])


def test_one_lane_is_no_sweep():
    assert lane_sweeps_of(made.contest({("bp", "eager", 1, 1, 1): 1.0, ("al", "serial", 1, 1, 1): 1.0})) == []


def test_a_share_of_the_card_that_shrinks_with_their_number_is_no_lane():
    records = made.contest(
        {("al", "graph", lanes, 1, 1): 9.0 / lanes for lanes in (1, 2)}, device="cuda", lane_kind="sm-share"
    )
    assert lane_sweeps_of(records) == []
    equal = made.contest(
        {("al", "graph", lanes, 1, 1): 9.0 / lanes for lanes in (1, 2)},
        device="cuda",
        lane_kind="sm-share",
        lane_sms=8,
        noise=0.0,
    )
    (found,) = lane_sweeps_of(equal)
    assert found.lane_sms == 8
    assert found.lines[0].points[1].speedup.estimate == pytest.approx(2)
    assert "one card's memory" in lanes_drawing(found, "lanes").limits


def test_the_figure_says_what_is_one_and_what_is_ideal():
    drawing = lanes_drawing(sweep(), "lanes")
    assert "AL serial for AL threads and AL + DDP; BP, 1 thread for BP, GPipe and DDP." in drawing.reading
    assert "GPipe, BP, 1 thread being 1, 1.2× on 2 (M = 4, ideal 1.6×), 2.0× on 4 (M = 8, ideal 2.9×)" in drawing.alt
    assert "not tell who is fastest" in drawing.limits
    assert drawing == lanes_drawing(sweep(), "lanes")


def test_a_single_round_draws_no_bars():
    assert b"nan" not in lanes_drawing(sweep(rounds=1), "lanes").svg
