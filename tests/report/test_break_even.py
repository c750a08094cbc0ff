"""Break-evens of made-up records: as the laws have them, and never an extrapolation worded as a measurement."""

import math

import pytest

from albench.report import find
from albench.report.break_even import break_even_sentence, break_even_table, break_evens
from albench.report.page import page_html
from albench.report.summary import summary_markdown

from . import made_up

CROSSING = {
    ("al", "fused", 1): made_up.pipeline(0.59, 0.0, 0.0),
    ("bp", "eager", 1): made_up.product(0.19, 0.05),
}
"""Equal at ℓ = 8 for every N: AL's step is flat."""


def told(records):
    findings = find(records)
    return {
        (one.name, one.axis, one.where): one
        for regime in findings.regimes
        for one in break_evens(regime, findings.regimes)
    }


def sentences(records):
    return [break_even_sentence(regime) for regime in find(records).regimes]


def test_the_break_even_along_depth_is_that_of_the_laws():
    records = made_up.sweep(CROSSING, width=32, batch_size=16, rounds=6)
    found = told(records)["AL fused", "ℓ", "N = 80"]
    assert found.fitted.kind == "from"
    assert found.fitted.value.estimate == pytest.approx(8, rel=0.05)
    assert found.fitted.value.low < 8 < found.fitted.value.high
    assert found.measured.kind == "from"
    assert found.measured.value.estimate == 16
    assert found.measured.value.low == 8, "at ℓ = 8 the two are equal"
    (sentence,) = sentences(records)
    assert sentence.startswith("AL fused beside the fastest BP, N = 80: by the fits faster from ℓ = ")
    assert sentence.endswith(" on; by the measured points faster from ℓ = 16 on.")


def test_a_fill_is_paid_off_along_the_length():
    """2 ms to start for both, and 30 ms of fill against 0.39 ms a mini-batch: by N = 77."""
    laws = CROSSING | {("al", "fused", 1): made_up.pipeline(3.0, 0.0, 30 / 64)}
    found = told(made_up.sweep(laws, width=32, batch_size=16, rounds=6))["AL fused", "N", "ℓ = 64"]
    assert found.fitted.value.estimate == pytest.approx(30 / 0.39, rel=0.2)
    assert (found.fitted.low, found.fitted.high) == (20, 80)


def test_one_round_decides_nothing_by_its_points():
    records = made_up.sweep(CROSSING, width=32, batch_size=16, rounds=1)
    found = told(records)["AL fused", "ℓ", "N = 80"]
    assert found.measured.kind == "not decided"
    assert found.fitted.kind == "from"


def test_what_lies_past_the_measured_depths_is_said_to_be_extrapolated():
    laws = CROSSING | {("al", "fused", 1): made_up.pipeline(0.19 + 0.05 * 100, 0.0, 0.0)}
    records = made_up.sweep(laws, width=32, batch_size=16, rounds=6)
    (sentence,) = sentences(records)
    assert "slower everywhere, ℓ = 2 to 64" in sentence
    assert "; extrapolated: faster from ℓ = " in sentence
    found = told(records)["AL fused", "ℓ", "N = 80"]
    assert found.fitted.value.estimate == pytest.approx(100, rel=0.1)
    assert math.isinf(found.measured.value.estimate)


def test_where_the_points_deny_the_fits_the_points_are_told():
    """A step that rises early and is flat then: the law has it cross BP where it is certainly slower yet."""
    bent = lambda count, depth, _: (2.0 + count * (0.25 if depth < 4 else 0.62 + 0.001 * depth)) / 1e3  # noqa: E731
    records = made_up.sweep(CROSSING | {("al", "fused", 1): bent}, width=32, batch_size=16, rounds=6, noise=0.002)
    found = told(records)["AL fused", "ℓ", "N = 80"]
    assert found.fitted.value.high < 8
    assert found.ratios[8].high < 1
    assert found.contradicted
    assert (found.measured.kind, found.measured.value.estimate) == ("from", 16)
    (sentence,) = sentences(records)
    assert "by the measured points faster from ℓ = 16" in sentence
    assert "; the fits, which these deny, would have it faster from" in sentence
    assert not told(made_up.sweep(CROSSING, width=32, batch_size=16, rounds=6))["AL fused", "ℓ", "N = 80"].contradicted


def test_a_faster_bp_without_a_fit_leaves_no_break_even_by_fits():
    """The fastest BP was measured at one length only: against the slower one alone nothing is told."""
    records = made_up.sweep(CROSSING, width=32, batch_size=16, rounds=6)
    faster = {("bp", "compiled", 1): made_up.product(0.05, 0.01)}
    records += made_up.sweep(faster, width=32, batch_size=16, lengths=(80,), rounds=6)
    found = told(records)["AL fused", "ℓ", "N = 80"]
    assert found.fitted is None
    assert (found.measured.kind, found.measured.value.estimate) == ("from", 64)


def test_batch_sizes_are_an_axis_over_kinds_of_work():
    records = []
    for batch_size, fixed in ((16, 0.2), (64, 0.8), (256, 3.2)):
        laws = CROSSING | {
            ("al", "fused", 1): made_up.pipeline(1.0, 0.0, 0.0),
            ("bp", "eager", 1): made_up.product(fixed, 0.01),
        }
        records += made_up.sweep(laws, width=32, batch_size=batch_size, depths=(2, 8), lengths=(20, 40), rounds=6)
    found = told(records)
    along = found["AL's fastest", "B", "ℓ = 2"]
    assert (along.measured.kind, along.measured.value.estimate) == ("from", 256)
    assert sum(key[1] == "B" for key in found) == 2, "once, not in each of the regimes"


def test_lanes_are_an_axis():
    laws = {
        ("al", "serial", 1): made_up.product(0.05, 0.4),
        ("al", "threads", 2): made_up.product(0.05, 0.2),
        ("al", "threads", 4): made_up.product(0.05, 0.1),
        ("bp", "eager", 1): made_up.product(0.05, 0.3),
        ("bp", "eager", 4): made_up.product(0.05, 0.15),
    }
    found = told(made_up.sweep(laws, width=512, batch_size=128, rounds=6))["AL on lanes", "K", "ℓ = 64, N = 80"]
    assert (found.measured.kind, found.measured.value.estimate) == ("from", 2)


def test_without_a_rival_there_is_nothing_to_break_even_with():
    records = made_up.sweep({("al", "fused", 1): made_up.pipeline(0.4, 0.0, 0.1)}, width=32, batch_size=16)
    assert told(records) == {}
    assert sentences(records) == [""]
    assert [break_even_table(regime) for regime in find(records).regimes] == [None]


def test_page_and_summary_have_the_table_and_the_sentence(findings):
    summary = summary_markdown(findings, [], command="albench run", title="t")
    page = page_html(findings, [], command="albench run", title="t")
    for text in (summary, page):
        for regime in findings.sweeps:
            assert f"From where on AL is faster than the fastest BP, {regime.title}" in text
            assert break_even_sentence(regime).split(":")[0] in text
