"""Quality warnings: each at its threshold, none where all is well, and few lines for many cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albench.analysis.quality import PHRASES, QualityWarning, case_warnings, machine_warnings, summary

GOOD = [0.1, 0.101, 0.099, 0.1, 0.102, 0.1]


def kinds(seconds, **observed):
    return [warning.kind for warning in case_warnings("BP", seconds, **observed)]


def test_a_good_case_on_a_quiet_machine_is_not_warned_of():
    assert kinds(GOOD, other_cpu_share=[0.01, 0.04], clock_events=["gpu_idle", "Application Clocks Setting"]) == []
    assert machine_warnings(load_average=0.9, usable_cores=2, governors=["performance"]) == []
    assert machine_warnings() == [], "what was not observed is not warned of"
    assert summary([]) == []


CASES = {
    "too short": ([0.0098] * 6, {}, "too-short", "9.8 ms"),
    "too few": (GOOD[:5], {}, "too-few-samples", "5"),
    "noisy": ([0.1, 0.1, 0.12, 0.12, 0.1, 0.12], {}, "too-noisy", "half of its times lie 18 % apart"),
    "outlier": ([*GOOD, 0.2], {}, "extreme-outliers", "1 of 7, up to 100 % off"),
    "low outlier": ([*GOOD, 0.05], {}, "extreme-outliers", "1 of 7, up to 50 % off"),
    "others": (GOOD, {"other_cpu_share": [0.0, 0.31]}, "other-load", "31 %"),
    "throttled": (
        GOOD,
        {"clock_events": ["software power cap", "gpu idle", "hardware slowdown"]},
        "throttled",
        "hardware slowdown, software power cap",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_warning_of_a_case(name):
    seconds, observed, kind, detail = CASES[name]
    (warning,) = case_warnings("BP, ℓ = 2", seconds, **observed)
    assert (warning.kind, warning.detail) == (kind, detail)
    assert warning.text == f"BP, ℓ = 2 {PHRASES[kind][0]} ({detail})"
    assert warning.remedy


def test_each_warning_of_the_machine():
    busy, scaling = machine_warnings(load_average=1.5, usable_cores=2, governors=["powersave", "performance"])
    assert busy.text == "the machine was busy before the sweep began (load 1.5 on 2 cores)"
    assert scaling.text == "the CPU's clock follows its load (governor powersave)"
    assert "performance" in scaling.remedy


def test_a_drop_that_the_fences_alone_call_an_outlier_is_none():
    """Five equal times and one a tenth off: the quartile range is zero, and everything lies beyond the fences."""
    assert kinds([0.1, 0.1, 0.1, 0.1, 0.1, 0.11]) == []


def test_many_cases_make_few_lines_with_the_worst_named():
    found = [
        warning for i in range(1, 13) for warning in case_warnings(f"case {i}", np.multiply(GOOD, i / 200).tolist())
    ]
    found += case_warnings("lone", GOOD[:2])
    found += machine_warnings(load_average=4.0, usable_cores=1)
    assert summary(found) == [
        "12 cases ran under 10 ms (the worst: case 1: 0.5 ms): "
        "raise --minibatches, so that a window is longer than a time slice",
        "1 case had fewer than 6 times, too few for a 95 % interval of a median (lone: 2): give --rounds 6 or more",
        "the machine was busy before the sweep began (load 4 on 1 core): wait until it is idle",
    ]


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    seconds=st.lists(st.floats(0, 1e6), max_size=20),
    shares=st.lists(st.floats(0, 1), max_size=5),
    events=st.lists(st.text(max_size=10), max_size=3),
)
def test_any_numbers_give_lines_and_no_error(seconds, shares, events):
    found = case_warnings("x", seconds, other_cpu_share=shares, clock_events=events)
    assert len({warning.kind for warning in found}) == len(found), "one of a kind"
    assert len(summary(found)) == len(found)


def test_every_kind_has_words():
    for kind in PHRASES:
        warning = QualityWarning(kind=kind, case="", detail="d", amount=1)
        assert warning.text
        assert warning.remedy
