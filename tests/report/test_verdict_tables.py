"""Verdict tables: what was not found is a dash, and neither a number nor a unit without one."""

from albench.report.findings import find
from albench.report.verdict_tables import verdict_table

from . import made_up

SIZES = slice(2, 7)
"""Columns of a verdict's sizes."""


def sizes(records, name):
    """Return the sizes of a series in the verdict table of the one kind of work."""
    (regime,) = find(records).regimes
    (row,) = [row for row in verdict_table(regime).rows if row.cells[0].text == name]
    return [(cell.text, cell.detail) for cell in row.cells[SIZES]]


def test_one_depth_has_no_sizes():
    records = made_up.sweep(made_up.SMALL, width=32, batch_size=16, depths=(8,))
    assert sizes(records, "AL fused") == [("–", "")] * 5


def test_a_time_that_does_not_grow_with_n_has_neither_share_nor_growth():
    records = made_up.sweep({("al", "fused", 1): lambda count, *_: 0.5 - count / 1e3}, width=32, batch_size=16)
    share, growth, layer, _, of_depth = sizes(records, "AL fused")
    assert [share, growth, layer, of_depth] == [("–", "")] * 4
