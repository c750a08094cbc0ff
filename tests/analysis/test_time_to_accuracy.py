"""Time to accuracy: the first epoch that is good enough, over seeds."""

import pytest

from albench.analysis.time_to_accuracy import CurvePoint, TimeToAccuracy, first_reached, time_to_accuracy
from albench.errors import UsageError


def run(*accuracies, epoch_seconds=10.0, instances=100):
    return [CurvePoint(instances * k, epoch_seconds * k, accuracy) for k, accuracy in enumerate(accuracies, 1)]


def test_the_first_epoch_that_reaches_it_counts_whatever_comes_after():
    """Accuracies fall again, as they do; and an epoch may not have been looked at."""
    dips = run(0.5, None, 0.9, 0.7, 0.95)
    assert first_reached(dips, 0.9) == 30.0
    assert first_reached(dips, 0.4) == 10.0
    assert first_reached(dips, 0.95) == 50.0
    assert first_reached(dips, 0.96) is None
    assert first_reached([], 0.5) is None


@pytest.mark.parametrize(
    ("runs", "seconds", "middle"),
    [
        ([run(0.9), run(0.5, 0.9), run(0.5, 0.5, 0.9)], (10.0, 20.0, 30.0), 20.0),
        ([run(0.9), run(0.5, 0.9)], (10.0, 20.0), 15.0),
        ([run(0.9), run(0.9), run(0.1)], (10.0, 10.0, None), 10.0),
        ([run(0.9), run(0.1), run(0.1)], (10.0, None, None), None),
        ([run(0.9), run(0.1)], (10.0, None), None),
        ([run(0.1)], (None,), None),
        ([], (), None),
    ],
    ids=["odd", "even", "one in three never", "two in three never", "half never", "never", "no runs"],
)
def test_runs_that_never_reach_it_are_later_than_any(runs, seconds, middle):
    """Left out of the median they would make a method that mostly fails look fast."""
    found = time_to_accuracy(runs, 0.8)
    assert found == TimeToAccuracy(accuracy=0.8, seconds=seconds)
    assert found.median_seconds == middle
    assert found.runs_that_reached_it == len(seconds) - seconds.count(None)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: time_to_accuracy([run(0.5)], 98.5), "accuracy is 98.5: give a share"),
        (lambda: time_to_accuracy([run(0.5)], 0.0), "accuracy is 0.0"),
    ],
)
def test_what_makes_no_sense_is_refused(call, words):
    with pytest.raises(UsageError, match=words):
        call()
