"""Fairness: each sentence is there where it is true of the records, and only there."""

from albench.report.fairness import fairness_sentences
from albench.report.findings import find

from . import made_up

ACCURACY = {"al": {2: 0.9, 8: 0.8}, "bp": {2: 0.95, 8: 0.94}}


def said(records):
    return " ".join(fairness_sentences(find(records)))


def timed(*ways):
    laws = {way: made_up.SMALL[way] for way in ways}
    return made_up.sweep(laws, width=32, batch_size=16)


def test_a_report_of_accuracies_alone_knows_both_sides_and_their_parameters():
    words = said(made_up.trained(ACCURACY))
    assert "AL's side brought AL. The other side brought BP." in words
    assert "exactly as many parameters" in words
    assert "not measured" not in words
    assert "Fastest" not in words
    assert "several settings" not in words, "one setting is no choice"


def test_parameters_that_differ_are_told_and_those_that_are_not_on_file_are_called_that():
    records = made_up.trained(ACCURACY)
    more = [
        made_up.record(r.scenario, seconds=3.0, accuracy=r.accuracy, effective_parameters=1100 if i % 2 else 1000)
        for i, r in enumerate(sorted(records, key=lambda r: (r.scenario.hidden_layers, r.scenario.seed)))
    ]
    assert "differ by 10.0 % at most" in said(more)
    unknown = [made_up.record(r.scenario, seconds=3.0, accuracy=r.accuracy, effective_parameters=None) for r in records]
    assert "do not name the parameters" in said(unknown)


def test_the_best_of_several_rates_is_said_to_be_picked():
    records = made_up.trained(ACCURACY) + made_up.trained(ACCURACY, learning_rate=3e-3)
    assert "the one that learnt best" in said(records)
    assert "the one that learnt best" not in said(timed(*made_up.SMALL)), "engines are no settings of learning"


def test_one_side_alone_has_nothing_to_compare():
    assert "cannot say whether AL is faster" in said(timed(("al", "fused", 1)))
    assert "cannot say whether AL learns as well" in said(made_up.trained({"al": ACCURACY["al"]}))
    assert "parameters of both" not in said(timed(("al", "fused", 1)))


def test_threads_of_bp_are_explained_where_bp_has_several():
    several = "BP with several threads"
    assert several in said(timed(("al", "fused", 1), ("bp", "eager", 1), ("bp", "eager", 2)))
    assert several not in said(timed(("al", "fused", 1), ("bp", "eager", 1)))
