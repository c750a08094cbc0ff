"""How often the judge is wrong: a small part of the table in reports/verdict-error-rates, and its counting."""

import numpy as np
import pytest

from albench.analysis.complexity import judge
from albench.analysis.error_rates import MOST_WRONG, Tally, cases, tally, too_often_wrong
from albench.analysis.made_up_sweeps import GRIDS, LAWS, NOISES, KnownLaw, made_up_sweep
from albench.errors import UsageError

SWEEPS = 3
"""A case, of so many cases that together they bound the rate: no single case is judged by so few."""
QUIET = NOISES[0]
HARD = [noise for noise in NOISES if noise.name in ("3 %", "20 %", "3 % and spikes")]


def test_the_rate_of_wrong_verdicts_is_bounded():
    """Every law on every grid under some noises, few sweeps of each; the table has the many."""
    found = [tally(case, sweeps=SWEEPS) for case in cases(noises=HARD, rounds=(3,))]
    wrong, sweeps = sum(one.wrong for one in found), sum(one.sweeps for one in found)
    assert wrong <= MOST_WRONG * sweeps, sorted((one.wrong, one.case.name, one.worst) for one in found)[-10:]
    assert too_often_wrong(found) == []
    right = sum(one.right for one in found)
    assert right > 0.4 * sweeps, "a judge that abstains is never wrong"


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_the_made_up_truth_is_what_is_judged_without_noise(law):
    """On the full grid, at one per cent of noise and six rounds, every law is told for what it is."""
    (case,) = cases([law], GRIDS[:1], [QUIET], (6,))
    found = tally(case, sweeps=5)
    assert found.right == 5, found.counts


@pytest.mark.parametrize("law", [law for law in LAWS if "p = " in law.name], ids=lambda law: law.name)
def test_a_share_is_the_one_that_its_name_says(law):
    """Slopes at two lengths of run, of the law itself: what is proportional to depth, at the deepest."""
    deepest = np.array([64.0])
    long, longer = np.array([1e9]), np.array([2e9])

    def steady(depth):
        return law.milliseconds(longer, depth, 64.0) - law.milliseconds(long, depth, 64.0)

    fixed = 2 * steady(deepest / 2) - steady(deepest)
    assert 1 - fixed / steady(deepest) == pytest.approx(float(law.name.rpartition("= ")[2]), abs=1e-6)


@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.name)
def test_a_sweep_is_the_same_whenever_it_is_made(noise):
    first, again, other = (made_up_sweep(LAWS[0], GRIDS[2], noise, rounds=2, seed=seed)[2] for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert len(first) == 18
    assert (first > 0).all()


def test_drift_follows_the_order_in_which_the_rounds_ran():
    flat = KnownLaw(name="flat", complexity="O(n+ℓ)", milliseconds=lambda count, depth, _: np.ones_like(depth))
    drift = next(noise for noise in NOISES if noise.name.endswith("drift"))
    _, _, seconds, _ = made_up_sweep(flat, GRIDS[0], drift, rounds=3, seed=0)
    means = seconds.reshape(3, -1).mean(axis=1)
    assert means[2] / means[0] == pytest.approx(1.25 / 1.05, abs=0.05)


def test_wrong_right_and_inconclusive_are_all_there_is():
    case = cases(LAWS[:1], GRIDS[:1], NOISES[:1], (1,))[0]
    found = Tally(case=case, counts={"O(n+ℓ)": 3, "O(nℓ)": 90, "O(nℓ/K)": 0, "mixed": 4, "inconclusive": 3})
    assert (found.right, found.wrong, found.inconclusive, found.worst) == (90, 7, 3, "mixed")
    assert found.wrong_rate.low < MOST_WRONG < found.wrong_rate.estimate
    assert too_often_wrong([found]) == []
    worse = Tally(case=case, counts=found.counts | {"mixed": 40})
    assert too_often_wrong([found, worse]) == [worse]


def test_lanes_that_are_never_full_are_a_pipeline():
    four = next(law for law in LAWS if law.name == "four lanes")
    assert four.complexity_on(GRIDS[-1]) == "O(n+ℓ)"
    assert four.complexity_on(GRIDS[0]) == "O(nℓ/K)"
    n, depths, seconds, lanes = made_up_sweep(four, GRIDS[-1], QUIET, rounds=3, seed=0)
    assert judge(n, depths, seconds, lanes).complexity == "O(n+ℓ)"


def test_no_sweep_is_refused():
    with pytest.raises(UsageError, match="sweeps is 0"):
        tally(cases(LAWS[:1], GRIDS[:1], NOISES[:1], (1,))[0], sweeps=0)
