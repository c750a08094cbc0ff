"""Rates that go down in steps: where they stand is what decides a run, so it is held to the authors' own numbers."""

import pytest

from albench.errors import UsageError
from albench.harness.rates import RateStep, SteppedRate, check_steps

PAPER = (
    RateStep(at=0.4, factor=0.1),
    RateStep(at=0.6, factor=0.1),
    RateStep(at=0.8, factor=0.1),
    RateStep(at=0.9, factor=0.5),
)


def test_the_papers_steps_are_after_80_120_160_and_180_of_200_epochs():
    """312,500 mini-batches of CIFAR-10, in the authors' code: 1e-4, 1e-5, 1e-6, 1e-7 and 5e-8."""
    rate = SteppedRate(base=1e-4, steps=PAPER, minibatches=312_500)
    epoch = 312_500 / 200
    for first, last, expected in [
        (0, 80, 1e-4),
        (80, 120, 1e-5),
        (120, 160, 1e-6),
        (160, 180, 1e-7),
        (180, 200, 5e-8),
    ]:
        for k in (first * epoch, (first + last) / 2 * epoch, last * epoch - 1):
            assert rate(int(k)) == pytest.approx(expected, rel=1e-12), k


def test_a_short_run_has_the_same_steps():
    rate = SteppedRate(base=1.0, steps=PAPER, minibatches=10)
    assert [rate(k) for k in range(10)] == pytest.approx([1.0] * 4 + [0.1] * 2 + [0.01] * 2 + [0.001, 0.0005])
    assert SteppedRate(base=1.0, steps=(), minibatches=10)(9) == 1.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RateStep(at=0.0, factor=0.1), "a step of the rate is at 0.0"),
        (lambda: RateStep(at=80, factor=0.1), "is at 80: give a share of all mini-batches"),
        (lambda: RateStep(at=0.5, factor=0.0), "has factor 0.0"),
        (lambda: RateStep(at=0.5, factor=float("inf")), "has factor inf"),
        (lambda: check_steps(PAPER[::-1]), "is at 0.8 and follows one at 0.9: give them in order"),
        (lambda: check_steps(PAPER[:1] * 2), "is at 0.4 and follows one at 0.4"),
    ],
)
def test_what_is_no_step_is_refused_in_one_line(make, words):
    with pytest.raises(UsageError, match=words):
        make()
