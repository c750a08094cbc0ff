"""Two runs drawn side by side: colours where a difference is claimed and only there, and A and B on the same axes."""

from __future__ import annotations

import pytest

from albench.harness.records import Record
from albench.report import side_by_side
from albench.report.pair_figures import MOST_CASES, MOST_PANELS, pair_drawings
from albench.report.side_by_side import SideBySide

from . import made_up
from .test_side_by_side import SIX, pair, slower

LAWS = {
    ("al", "fused", 1): made_up.pipeline(0.4, 0.001, 0.1),
    ("bp", "eager", 1): made_up.product(0.2, 0.05),
    ("bp", "eager", 2): made_up.product(0.3, 0.07),
}


def swept(rounds: int = 6, width: int = 8, noise: float = 0.01) -> list[Record]:
    return made_up.sweep(
        LAWS, width=width, batch_size=4, depths=(2, 8), lengths=(20,), rounds=rounds, noise=noise
    )  # fmt: skip


def names(both: SideBySide) -> list[str]:
    return [one.name for one in pair_drawings(both)]


def test_ratios_have_their_intervals_and_the_verdicts_of_the_table() -> None:
    ratios, _ = pair_drawings(pair(swept(), slower(swept(), 1.5)))
    assert ratios.alt.startswith("Time in B over time in A: ")
    assert ratios.alt.count("B slower") == len(LAWS) * 2
    assert "1.50 [1." in ratios.alt
    assert "noise threshold of 3 %" in ratios.reading
    assert "not show why" in ratios.limits


def test_of_two_machines_ratios_are_drawn_and_nothing_is_claimed() -> None:
    (ratios, depth) = pair_drawings(pair(swept(), slower(swept(), 1.5, cpu="Another")))
    assert "1.50" in ratios.alt
    for words in ("slower", "faster", "same", "can't tell"):
        assert words not in ratios.alt
    assert "different machines" in ratios.reading
    assert "Nor does it show that anything became faster or slower" in ratios.limits
    assert depth.name == "1-time-against-depth"


def test_a_single_round_has_no_interval_and_no_bar() -> None:
    ratios, _ = pair_drawings(pair(swept(rounds=1), slower(swept(rounds=1), 1.5)))
    assert "[" not in ratios.alt
    assert "can't tell" in ratios.alt
    assert "one round each, of which there is no interval" in ratios.reading


def test_time_against_depth_is_told_of_both_over_the_same_mini_batches() -> None:
    exact = swept(noise=0.0)
    before = [*exact, *made_up.sweep(LAWS, width=8, batch_size=4, depths=(2, 8), lengths=(40,), rounds=1)]
    _, depth = pair_drawings(pair(before, slower(exact, 2.0)))
    assert "BP, 1 thread: A 0.400 ms at ℓ = 2" in depth.alt
    assert "and B 0.800 ms at ℓ = 2" in depth.alt
    assert "N = 20 mini-batches, the same in A and in B" in depth.limits


def test_what_was_swept_in_one_run_only_is_not_drawn_against_depth() -> None:
    assert names(pair(swept(), slower(SIX, 1.1))) == ["ratio-of-times"]
    failed = [made_up.failed("boom")]
    assert names(pair(failed, swept())) == []


def test_the_telling_series_of_many_are_drawn() -> None:
    before, after = (made_up.sweep(made_up.SMALL, width=8, batch_size=4, depths=(2, 8), rounds=1) for _ in range(2))
    (_, depth) = pair_drawings(pair(before, after))
    assert depth.alt.count(": A ") == MOST_PANELS < len(made_up.SMALL)
    for name in ("AL fused", "BP, 1 thread"):
        assert f"{name}: A" in depth.alt


@pytest.mark.parametrize("cpu", ["Made-up CPU", "Another"])
def test_of_many_cases_and_kinds_of_work_some_are_drawn_and_it_says_so(cpu: str) -> None:
    before = [one for width in (8, 9, 10, 11, 12) for one in swept(rounds=1, width=width)]
    found = pair_drawings(pair(before, slower(before, 1.5, cpu=cpu)))
    assert f"Drawn are {MOST_CASES} of 30 cases" in found[0].limits
    assert [one.title.rpartition("width ")[2].partition(",")[0] for one in found[1:]] == ["8", "10", "12"]
    assert all("Drawn for 3 of 5 kinds of work" in one.limits for one in found[1:])


def test_the_same_runs_give_the_same_pictures_each_small_enough_for_a_page() -> None:
    both = pair(swept(), slower(swept(), 1.5))
    first, second = pair_drawings(both), pair_drawings(both)
    assert first == second
    assert all(len(one.svg) < 130_000 for one in first)


def test_what_all_names_share_is_said_once() -> None:
    (ratios,) = pair_drawings(side_by_side(("a", SIX[:1], ()), ("b", SIX[:1], ())))
    assert "BP, 1 thread, ℓ = 2, width 8" in ratios.alt, "of a single case nothing is shared"
