"""What a person is told of how long training takes: once, when the pace is known, and of training alone."""

import io

import pytest
from rich.console import Console

from albench.harness import training_progress
from albench.harness.training_progress import TrainingProgress


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when told to."""
    now = [0.0]
    monkeypatch.setattr(training_progress.time, "perf_counter", lambda: now[0])
    return now


def told(clock, *, seconds, epochs=(10, 10), done=0, between=0.0):
    said = io.StringIO()
    console = Console(file=said, width=100)
    total = done + sum(epochs)
    with TrainingProgress(console, plain=True, description="", epochs=len(epochs), total=total, done=done) as progress:
        for count in epochs:
            for _ in progress.counted(range(count)):
                clock[0] += seconds
            clock[0] += between
    return said.getvalue().splitlines()


def test_a_short_run_needs_no_estimate(clock):
    assert told(clock, seconds=0.01) == []


@pytest.mark.parametrize("between", [0.0, 100.0])
def test_the_whole_of_training_is_told_once(clock, between):
    """A second a mini-batch, twenty of them; what lies between two epochs is no training."""
    assert told(clock, seconds=1.0, between=between) == ["2 epochs: about 20 s of training"]


def test_the_pace_may_show_only_in_a_later_epoch(clock):
    assert told(clock, seconds=0.25, epochs=(10, 990), between=9.0) == ["2 epochs: about 4 min 10 s of training"]


def test_of_a_resumed_run_what_is_left_is_told(clock):
    assert told(clock, seconds=1.0, done=500) == ["what is left of 2 epochs: about 20 s of training"]
