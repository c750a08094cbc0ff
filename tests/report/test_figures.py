"""Which figures there are: each where the records hold data for it, in a place of the page, and a few of a kind."""

import dataclasses

import msgspec

from albench.report.drawing import Drawing, smaller
from albench.report.figures import _few, draw
from albench.report.findings import find
from albench.report.page import page_html

from . import made_up
from .test_memory_figure import memory
from .test_usage import watched

LAWS = {
    ("al", "serial", 1): made_up.product(1.0, 0.1),
    ("al", "threads", 2): made_up.lane_law(0.45),
    ("bp", "eager", 1): made_up.product(0.4, 0.2),
}


def records():
    """Return two kinds of work that differ in batch size, with memory and readings."""
    found = [
        one
        for batch in (8, 32)
        for one in made_up.sweep(LAWS, width=32, batch_size=batch, depths=(2, 8), lengths=(20,), rounds=1)
    ]
    return [msgspec.structs.replace(one, memory=memory(3), telemetry=watched(1.0), accuracy=None) for one in found]


def test_every_figure_that_was_drawn_is_on_the_page_once():
    found = find(records())
    drawings = draw(found)
    assert [one.name for one in drawings] == [
        "speedup-against-depth",
        "1-batch_size-al-over-bp",
        "1-throughput-against-batch-size",
        "1-width-32-batch-8-time-against-depth",
        "2-width-32-batch-32-time-against-depth",
        "1-width-32-batch-8-memory-against-depth",
        "2-width-32-batch-32-memory-against-depth",
        "1-width-32-batch-8-speed-up-against-lanes",
        "2-width-32-batch-32-speed-up-against-lanes",
        "1-width-32-batch-8-usage-over-time",
        "2-width-32-batch-32-usage-over-time",
    ]
    page = page_html(found, drawings, command="albench report", title="made up")
    assert page.count("<img") == len(drawings)
    for one in drawings:
        assert one.alt.endswith(".")
        assert len(one.reading) > 40
        assert "not " in one.limits
        assert len(one.svg) < 130_000  # a page of thirty of them stays under 5 MB


def test_a_few_of_many_are_drawn_the_first_and_the_last_among_them_and_each_says_so():
    blank = Drawing(
        name="", title="", alt="", reading="", limits="Not all.", work=None, svg=b"", png=b"", width=1, height=1
    )
    drawn = _few("abcdefg", lambda letter, place: [dataclasses.replace(blank, name=f"{place}-{letter}")])
    assert [one.name for one in drawn] == ["1-a", "4-d", "7-g"]
    assert {one.limits for one in drawn} == {"Not all. Drawn for 3 of 7; the tables hold all the numbers."}
    assert _few("ab", lambda letter, place: [blank]) == [blank, blank]


def test_a_smaller_picture_is_the_same_picture():
    svg = b'<g>\n  <!-- 12 -->\n   <path d="M 1.23456 -2.5 \nL 300.000001 4" transform="scale(0.015625)"/>\n</g>'
    assert smaller(svg) == b'<g>\n\n<path d="M 1.23 -2.5\nL 300 4" transform="scale(0.015625)"/>\n</g>'


def test_work_that_is_not_shown_has_no_figure_of_its_own():
    """A large report shows some of its kinds of work only, and draws nothing that no section would hold."""
    found = find(records())
    fewer = dataclasses.replace(found, regimes=found.regimes[:1])
    works = {one.work for one in draw(fewer)} - {None}
    assert works == {found.regimes[0].work}
