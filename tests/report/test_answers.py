"""The sentences that a reader takes away."""

import math
import types
from typing import Any, cast

import pytest

from albench.analysis.statistics import Interval
from albench.report import find, headline
from albench.report.answers import answers, layer_words, series_sentence
from albench.report.break_even import break_even_sentence
from albench.report.findings import Findings
from albench.report.tabulation import comparison_table, time_table

from . import made_up


def test_the_first_screen_says_where_it_holds_and_what_spoils_it(findings: Findings) -> None:
    line = headline(findings)
    assert line.startswith("It depends: yes where launches rule")
    assert "only until the lanes are full where arithmetic rules" in line
    assert line.endswith("But AL learns badly at ℓ = 64.")


def test_kinds_of_work_that_the_same_rule_governs_are_told_apart_by_their_sizes() -> None:
    """A sweep over batch sizes was "not decided where launches rule and where launches rule"."""
    laws = {("bp", "eager", 1): made_up.product(0.2, 0.1), ("al", "serial", 1): made_up.product(1, 9)}
    other = laws | {("al", "serial", 1): made_up.product(9, 0)}
    records = [
        record
        for batch_size, law in ((4, laws), (8, other), (8192, laws))
        for record in made_up.sweep(law, width=64, batch_size=batch_size, depths=(2, 8, 32), rounds=1)
    ]
    found = find(records)
    assert [regime.rule for regime in found.sweeps] == ["launches", "launches", "arithmetic"]
    line = headline(found)
    assert "at width 64, batch 4 and where arithmetic rules" in line
    assert "at width 64, batch 8" in line


def test_each_regime_gets_a_word_and_the_sizes_behind_it(findings: Findings) -> None:
    first, second = answers(findings)
    assert first.word == "Yes, with AL fused"
    assert first.tone == "part"  # a good answer, but the deep networks do not learn
    text = " ".join(first.sentences)
    assert "AL fused: 32 times the depth (ℓ = 2 to 64)" in text
    assert "AL is slower at ℓ = 2" in text
    assert "11.0 % held-out accuracy" in text
    assert second.word == "Only until its 2 lanes are full"
    assert "AL is slower, " in " ".join(second.sentences)


def test_what_is_projected_is_never_worded_as_measured(findings: Findings) -> None:
    for answer in answers(findings):
        spoken = [sentence for sentence in answer.sentences if "would" in sentence]
        assert len(spoken) == 1
        assert spoken[0].startswith("Projected, not measured: ")
    for regime in findings.regimes:
        for series in regime.projected:
            assert "(projected)" in series_sentence(regime, series)


def test_growth_that_is_far_below_bps_is_not_hidden_behind_a_bare_no() -> None:
    (answer,) = answers(find(made_up.sweep(made_up.PROTOTYPE, width=32, batch_size=16)))
    assert answer.word.split(",")[0] in ("No", "Partly", "Not decided")
    assert "2.1 times as long" in answer.sentences[0] or "2.2 times as long" in answer.sentences[0]
    if not answer.word.startswith("Not decided"):
        assert "an extra layer costs AL fused 13 % of what it costs BP" in answer.word


def test_one_round_can_show_no_difference() -> None:
    once = find(made_up.sweep(made_up.SMALL, width=32, batch_size=16, rounds=1))
    told = " ".join(answers(once)[0].sentences)
    assert "BP's speed in one round, which cannot tell a difference from chance." in told
    assert "no clear difference" not in told
    (regime,) = once.regimes
    assert "not decided: one round cannot tell" in break_even_sentence(regime)
    times, beside = time_table(regime), comparison_table(regime)
    assert beside is not None
    assert times.note.startswith("Measured in one round, of which there is no interval, over N = ")
    assert not any("[" in cell.plain for table in (times, beside) for row in table.rows for cell in row.cells)
    assert "one round cannot tell a difference from chance" in beside.note


def test_plain_no_where_every_layer_costs_its_full_share() -> None:
    laws = {("al", "serial", 1): made_up.product(0.1, 0.2), ("bp", "eager", 1): made_up.product(0.2, 0.1)}
    found = find(made_up.sweep(laws, width=32, batch_size=16))
    assert headline(found) == "No."
    assert answers(found)[0].tone == "bad"


def test_flat_but_slower_is_not_a_plain_yes() -> None:
    laws = {("al", "fused", 1): made_up.pipeline(20.0, 0.01, 0.1), ("bp", "eager", 1): made_up.product(0.2, 0.1)}
    (answer,) = answers(find(made_up.sweep(laws, width=32, batch_size=16)))
    assert answer.word == "Yes with AL fused, but BP is still faster"
    assert answer.tone == "part"


def test_without_bp_nothing_is_said_about_speed() -> None:
    laws = {("al", "fused", 1): made_up.pipeline(0.4, 0.001, 0.1)}
    (answer,) = answers(find(made_up.sweep(laws, width=32, batch_size=16)))
    assert answer.word == "Yes, with AL fused"
    assert "No speed-up: BP was not measured on the same mini-batches." in answer.sentences


@pytest.mark.parametrize("lengths", [(20,), (20, 40)])
def test_thin_data_decides_nothing_and_says_why(lengths: tuple[int, ...]) -> None:
    found = find(made_up.sweep(made_up.SMALL, width=32, batch_size=16, lengths=lengths))
    assert headline(found) == "Not decided."
    (regime,) = found.regimes
    assert all(series.verdict.reasons[0] in series_sentence(regime, series) for series in regime.series)


def test_bp_alone_and_failures_alone_have_no_answer() -> None:
    laws = {("bp", "eager", 1): made_up.product(0.2, 0.1)}
    assert headline(find(made_up.sweep(laws, width=32, batch_size=16))) == "No answer: AL was not measured."
    assert headline(find([made_up.failed()])) == "No answer: no time was measured."


def test_deep_al_that_learns_is_not_called_bad() -> None:
    records = made_up.sweep(made_up.SMALL, width=32, batch_size=16)
    records += made_up.trained({"al": {2: 0.96, 64: 0.955}, "bp": {2: 0.97, 64: 0.96}})
    (answer,) = answers(find(records))
    assert answer.caveat == ""
    assert answer.tone == "good"


def test_deep_al_that_learns_at_one_rate_only_is_not_said_to_learn_outright() -> None:
    """A sweep of three rates was "Deep AL learns." though at the paper's own rate it stood at chance."""
    records = made_up.trained({"al": {2: 0.96, 64: 0.955}}, learning_rate=3e-3)
    records += made_up.trained({"al": {2: 0.90, 64: 0.186}}, learning_rate=1e-4)
    line = headline(find(records))
    assert line.startswith("At ℓ = 64 AL reaches 95.5 % held-out accuracy (18.6 % with the worst of its 2 settings)")
    records += made_up.trained({"al": {2: 0.96, 64: 0.955}}, width=64)
    assert headline(find(records)) == "Deep AL learns, with the best of its settings."
    records = made_up.trained({"al": {2: 0.96, 64: 0.955}}) + made_up.trained({"al": {2: 0.96, 64: 0.955}}, width=64)
    assert headline(find(records)) == "Deep AL learns."


def test_what_is_not_known_is_not_worded() -> None:
    """BP's own law may be undecided, with too few n of its fastest engine: nothing is a share of that."""
    unknown = Interval(math.nan, math.nan, math.nan)
    regime = types.SimpleNamespace(product_ratio=lambda _: unknown, baseline=types.SimpleNamespace(name="BP"))
    assert layer_words(cast(Any, regime), cast(Any, None)) == ""
