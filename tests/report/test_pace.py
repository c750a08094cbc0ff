"""Steady pace and fill: what the laws of the made-up times say, and only where a depth was run at two lengths."""

import pytest

from albench.report import find
from albench.report.pace import pace_table
from albench.report.summary import summary_markdown

from . import made_up


def tables(records):
    return {regime.title: pace_table(regime) for regime in find(records).regimes}


def test_the_pace_and_the_fill_are_those_of_the_law():
    laws = {("al", "fused", 1): made_up.pipeline(0.4, 0.0, 0.2), ("bp", "eager", 1): made_up.product(0.2, 0.05, 3.0)}
    (table,) = tables(made_up.sweep(laws, width=32, batch_size=16, depths=(2, 16), noise=0.0)).values()
    rows = {(row.cells[0].text, row.cells[1].text): [cell.text for cell in row.cells[2:]] for row in table.rows}
    assert rows["AL fused", "16"][:2] == ["0.400", "5.20"], "2 ms, and 0.2 ms a layer"
    assert float(rows["AL fused", "16"][2]) == pytest.approx(13)
    assert rows["AL fused", "16"][3] == "7"
    assert float(rows["BP, 1 thread", "2"][0]) == pytest.approx(0.3)
    assert float(rows["BP, 1 thread", "2"][2]) == pytest.approx(10, rel=1e-2), "3 ms to start with, and 0.3 a step"
    assert rows["BP, 1 thread", "2"][3] == "0"


def test_one_length_has_no_pace():
    records = made_up.sweep(made_up.SMALL, width=32, batch_size=16, lengths=(48,))
    assert list(tables(records).values()) == [None]


def test_the_summary_has_it():
    findings = find(made_up.everything())
    text = summary_markdown(findings, [], command="albench run", title="t")
    assert text.count("**Steady pace and fill, ") == len(findings.sweeps)
