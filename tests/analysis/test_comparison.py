"""The comparison: the rule for each verdict, and how often it is wrong over thousands of made-up pairs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albench.analysis.comparison import NOISE, Pair, compare, geometric_mean
from albench.errors import UsageError

STEADY = (1.0, 1.001, 0.999, 1.002, 0.998, 1.0005)


def pair(before, after, key="k", **fields):
    return Pair(key=key, name=f"case {key}", before=tuple(before), after=tuple(after), **fields)


def scaled(factor, samples=STEADY):
    return [factor * value for value in samples]


def only(before, after, **options):
    (case,) = compare([pair(before, after)], **options).cases
    return case


RULES = {
    "slower": (STEADY, scaled(1.2), "slower", "p = 0.0022"),
    "faster": (STEADY, scaled(0.8), "faster", "p = 0.0022"),
    "equal": (STEADY, STEADY, "same", "within the noise threshold of 3 %"),
    "significant and under the threshold": (STEADY, scaled(1.01), "same", "different, and within the noise threshold"),
    "significant, over or under": (
        (1.0, 1.001, 1.002, 1.003, 1.004, 1.005),
        (1.04, 1.007, 1.06, 1.008, 1.05, 1.01),
        "can't tell",
        "different (p = 0.0022), but by less or more than the noise threshold",
    ),
    "wide": ((1.0, 1.3, 0.8, 1.1, 0.9), (1.1, 1.4, 0.9, 1.0, 1.2), "can't tell", "wider than the noise threshold"),
    "three and three": (STEADY[:3], scaled(2, STEADY[:3]), "can't tell", "3 and 3 samples can never differ"),
    "one and many": (STEADY[:1], scaled(2), "can't tell", "measure 4 or more of each"),
    "drift in A": (
        (1.0, 1.02, 1.05, 1.08, 1.1, 1.13),
        (1.14, 1.145, 1.14, 1.142, 1.141, 1.144),
        "can't tell",
        "times drift by a factor of 1.13 within A",
    ),
    "drift that is small beside the difference": ((1.0, 1.004, 1.008, 1.012, 1.016), scaled(1.5), "slower", "p = "),
}


@pytest.mark.parametrize("name", RULES)
def test_each_rule(name):
    before, after, verdict, words = RULES[name]
    case = only(before, after)
    assert (case.verdict, words in case.reason) == (verdict, True), case


@pytest.mark.parametrize("name", RULES)
def test_turned_round_faster_is_slower_and_nothing_else_changes(name):
    before, after, verdict, _ = RULES[name]
    turned = {"slower": "faster", "faster": "slower"}.get(verdict, verdict)
    assert only(after, before).verdict == turned


def test_what_must_not_be_compared_is_not():
    case = compare([pair(STEADY, scaled(2), objection="ran on 2 lanes in A and on 1 in B")]).cases[0]
    assert (case.verdict, case.reason) == ("can't tell", "ran on 2 lanes in A and on 1 in B")
    assert math.isnan(case.p)


def test_p_is_corrected_for_the_cases_that_are_tested_and_for_no_others():
    """p = 0.032 stands alone; among twenty cases of which one is so it is chance, whatever cannot be tested beside."""
    before, after = (1.06, 1.0, 1.08, 1.02, 1.04), (1.12, 1.05, 1.14, 1.1, 1.09)
    alone = only(before, after)
    assert (alone.verdict, round(alone.p, 3)) == ("slower", 0.032)
    untestable = [pair(STEADY[:3], STEADY[:3], key=f"u{i}") for i in range(20)]
    among = compare([pair(before, after), *untestable])
    assert among.cases[0].verdict == "slower"
    null = [pair(STEADY, STEADY[::-1], key=f"n{i}") for i in range(19)]
    case = next(c for c in compare([pair(before, after), *null]).cases if c.pair.key == "k")
    assert case.verdict == "can't tell"
    assert "p = 0.032 alone is 0.63 among 20 cases" in case.reason


def test_cases_come_in_the_order_in_which_they_are_looked_for():
    found = compare(
        [
            pair(STEADY, STEADY, "same"),
            pair(STEADY[:2], STEADY[:2], "few"),
            pair(STEADY, scaled(0.5), "fast"),
            pair(STEADY, scaled(1.1), "slow"),
            pair(STEADY, scaled(1.5), "slowest"),
        ]
    )
    assert [case.pair.key for case in found.cases] == ["slowest", "slow", "fast", "few", "same"]
    assert [found.count(v) for v in ("slower", "faster", "can't tell", "same")] == [2, 1, 1, 1]


def test_the_threshold_can_be_set():
    assert only(STEADY, scaled(1.02)).verdict == "same"
    assert only(STEADY, scaled(1.02), noise=0.01).verdict == "slower"
    assert only(STEADY, scaled(1.2), noise=0.3).verdict == "same"


def test_geometric_mean():
    mean = geometric_mean([2.0, 0.5])
    assert mean.estimate == pytest.approx(1)
    assert mean.low < 0.5 < 2 < mean.high
    assert math.isnan(geometric_mean([]).estimate)
    assert (geometric_mean([1.5]).estimate, geometric_mean([1.5]).confidence) == (pytest.approx(1.5), 0)
    assert geometric_mean([1e-200, 1e200]).high == math.inf, "two cases that differ so much say nothing of the mean"
    generator = np.random.default_rng(2)
    means = [geometric_mean(generator.lognormal(0.1, 0.2, 12).tolist()) for _ in range(1000)]
    assert np.mean([m.low <= math.exp(0.1) <= m.high for m in means]) == pytest.approx(0.95, abs=0.02)


def test_cases_that_move_alike_are_pointed_out():
    def of(factors):
        return compare([pair(STEADY, scaled(f), key=f"c{i}") for i, f in enumerate(factors)]).notes

    assert "all 5 cases moved alike, by factors of 1.08 to 1.1" in of([1.08, 1.09, 1.1, 1.09, 1.085])[0]
    assert of([1.08, 1.09, 1.1]) == (), "three are no pattern"
    assert of([1.0, 1.01, 0.99, 1.0]) == ()
    assert of([1.08, 1.5, 0.9, 1.1]) == ()


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    before=st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=12),
    after=st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=12),
)
def test_any_times_get_a_verdict_and_a_reason(before, after):
    case = only(before, after)
    assert case.reason
    assert case.verdict not in ("faster", "slower") or min(len(before), len(after)) >= 2


@pytest.mark.parametrize("bad", [[], [0.0], [math.nan]])
def test_what_is_no_time_is_refused(bad):
    with pytest.raises(UsageError, match="give"):
        pair(bad, STEADY)


@pytest.mark.parametrize("options", [{"noise": -0.1}, {"noise": 1.0}, {"noise": math.nan}, {"significance": 0.0}])
def test_thresholds_that_mean_nothing_are_refused(options):
    with pytest.raises(UsageError, match="give"):
        only(STEADY, STEADY, **options)


# How often the comparison is wrong. Each law draws [pairs, rounds] times around 1; B's are multiplied by the truth.


def normal(generator, shape):
    return generator.normal(1, 0.02, shape)


def heavy(generator, shape):
    """Times as a shared machine gives them: a tail to the right, and one in ten thrice as long."""
    return generator.lognormal(0, 0.05, shape) * np.where(generator.random(shape) < 0.1, 3.0, 1.0)


def very_heavy(generator, shape):
    """A law without a variance."""
    return 1 + 0.02 * generator.pareto(1.5, shape)


def drifting(generator, shape):
    """Ten per cent slower from the first round to the last, in both runs alike."""
    return normal(generator, shape) * np.linspace(1, 1.1, shape[1])


LAWS = {"normal": normal, "heavy": heavy, "very heavy": very_heavy, "drifting": drifting}
PAIRS = 120


def verdicts(law, truth, rounds, seed=0):
    generator = np.random.default_rng(seed)
    before, after = law(generator, (PAIRS, rounds)), truth * law(generator, (PAIRS, rounds))
    return [only(a.tolist(), b.tolist()).verdict for a, b in zip(before, after, strict=True)]


def wrong(verdict, truth):
    """A difference the wrong way or where there is none, or none where there is one over the threshold."""
    if verdict == "slower":
        return truth <= 1
    if verdict == "faster":
        return truth >= 1
    return verdict == "same" and not 1 / (1 + NOISE) <= truth <= 1 + NOISE


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("truth", [1.0, 1.02, 0.95, 1.05, 1.2])
def test_at_most_one_verdict_in_twenty_is_wrong(law, truth):
    found = [verdict for rounds in (5, 10) for verdict in verdicts(LAWS[law], truth, rounds)]
    assert np.mean([wrong(verdict, truth) for verdict in found]) <= 0.05


def test_what_is_plain_to_see_is_seen():
    """A comparison that always abstained would never be wrong."""
    assert np.mean([v == "slower" for v in verdicts(normal, 1.2, 5)]) > 0.95
    assert np.mean([v == "slower" for v in verdicts(normal, 1.1, 10)]) > 0.95
    assert np.mean([v == "faster" for v in verdicts(heavy, 0.7, 10)]) > 0.8
    assert np.mean([v == "same" for v in verdicts(lambda g, s: g.normal(1, 0.01, s), 1.0, 10)]) > 0.95


def test_a_drift_that_goes_on_from_run_to_run_is_not_called_a_difference():
    """B was measured after A, on a machine that got slower all the time: by as much within each run as between them."""
    generator = np.random.default_rng(1)
    times = normal(generator, (PAIRS, 20)) * np.linspace(1, 1.2, 20)
    found = [only(row[:10].tolist(), row[10:].tolist()).verdict for row in times]
    assert np.mean([verdict in ("slower", "faster") for verdict in found]) <= 0.05


def test_many_cases_at_once_are_no_more_often_wrong_than_one():
    """Forty suites of twenty cases without a difference: uncorrected, two in three would have a wrong one."""
    generator = np.random.default_rng(2)
    suites, uncorrected = 0, 0
    for _ in range(40):
        a, b = generator.normal(1, 0.1, (2, 20, 8))
        found = compare([pair(x.tolist(), y.tolist(), key=str(i)) for i, (x, y) in enumerate(zip(a, b, strict=True))])
        suites += bool(found.count("slower") + found.count("faster"))
        uncorrected += any(case.p <= 0.05 for case in found.cases)
    assert uncorrected > 16
    assert suites <= 0.1 * 40, "one in twenty, give or take what forty draws can tell"


def test_among_cases_that_did_change_few_are_called_so_wrongly():
    generator = np.random.default_rng(3)
    called, false = 0, 0
    for _ in range(25):
        truth = np.repeat([1.0, 1.3], 10)
        a, b = generator.normal(1, 0.1, (2, 20, 8))
        rows = zip(a, (b.T * truth).T, strict=True)
        found = compare([pair(x.tolist(), y.tolist(), key=str(i)) for i, (x, y) in enumerate(rows)])
        changed = [case for case in found.cases if case.verdict in ("slower", "faster")]
        called += len(changed)
        false += sum(case.verdict == "faster" or int(case.pair.key) < 10 for case in changed)
    assert called > 190, "of 250 that changed"
    assert false / called <= 0.05
