"""The picture of a contest holds everyone who took part, and claims no more than the records do."""

from albench.report.figures import draw
from albench.report.findings import find
from albench.report.words import number

from . import contest_records as made


def drawings(records):
    return [one for one in draw(find(records)) if one.name.startswith("standings")]


def test_everyone_is_in_the_picture_winners_and_losers():
    (drawing,) = drawings(made.contest())
    (contest,) = find(made.contest()).contests
    for one in contest.standings:
        assert f"{one.name} {number(one.samples_per_second)}" in drawing.alt
    assert drawing.alt.index("BP, 2 threads") < drawing.alt.index("AL threads") < drawing.alt.index("M = 1")
    assert "the best BP (BP, 2 threads)" in drawing.reading
    assert "the best pipeline (GPipe, 2 lanes, M = 4)" in drawing.reading
    assert "Hollow: another number of microbatches did better." in drawing.reading
    assert "accuracy" in drawing.limits


def test_what_is_not_there_is_not_explained():
    (drawing,) = drawings(made.contest(made.only("al", "ddp", "al-ddp")))
    assert "Dotted" not in drawing.reading
    assert "Hollow" not in drawing.reading


def test_a_single_round_draws_no_bars_and_does_not_fail():
    (drawing,) = drawings(made.contest(rounds=1))
    assert drawing.svg.startswith(b"<?xml")
    assert b"nan" not in drawing.svg


def test_the_same_records_give_the_same_bytes():
    one, other = drawings(made.contest()), drawings(made.contest())
    assert one == other


def test_a_picture_a_contest_and_none_of_one_contender():
    records = made.contest() + made.contest(bridge_width=5120)
    assert [drawing.name for drawing in drawings(records)] == ["standings-1", "standings-2"]
    assert drawings(made.contest(made.only("zero-bubble"))) == []
