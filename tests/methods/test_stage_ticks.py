"""Running ticks on lanes: nothing is read before it is there, or overwritten while a lane still reads it.

Streams that know what comes before what (vector clocks) stand in for a device, made-up work for the layers.
"""

import itertools
import weakref
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from albench.methods.stage_ticks import TickRunner
from albench.schedule import gpipe, one_f_one_b
from tests.engines.device_runs import ClockedLanes

BOTH = pytest.mark.parametrize("clock", [gpipe, one_f_one_b])


class ForkedLanes(ClockedLanes):
    """Clocked lanes that are told which stream the caller is on."""

    def caller(self):
        return self.the_caller


class MadeUpWork:
    """Work that makes and reads tensors, and finds out where that was not safe."""

    def __init__(self, lanes, fails_at=None):
        self.lanes = lanes
        self.clocked = [lanes.the_caller, *lanes.streams]
        self.fails_at = fails_at
        self.log, self.found = [], []
        self.alive, self.peak = Counter(), Counter()
        self.leaves = {}
        self.reads = {}
        self.freed = [[] for _ in self.clocked]
        """By stream: what was freed and goes to whoever allocates there next."""

    def enter(self):
        """Make a mini-batch on the caller's stream, in place of the last one."""
        if any(self.lanes.the_caller.seen[n] < stream.seen[n] for n, stream in enumerate(self.clocked)):
            self.found.append("mini-batch overwritten early")
        _, self.entered = self.lanes.the_caller.work()

    def _made(self, stage, what):
        owner = stage + 1
        assert self.lanes.current is self.clocked[owner], "the work of a stage is on another lane"
        seen = self.clocked[owner].seen
        for key in self.freed[owner]:
            self.found += [f"{key} overwritten early" for n, time in self.reads[key] if seen[n] < time]
        self.freed[owner].clear()
        tensor = torch.zeros(1)
        tensor.key = key = (self.clocked[owner].work(), what, len(self.reads))
        self.reads[key] = []
        self.alive[stage, what] += 1
        self.peak[stage, what] = max(self.peak[stage, what], self.alive[stage, what])

        def free(key=key, owner=owner, stage=stage, what=what):
            self.alive[stage, what] -= 1
            self.freed[owner].append(key)

        weakref.finalize(tensor, free).atexit = False
        return tensor

    def _read(self, stage, tensor):
        (n, time), *_ = tensor.key
        stream = self.clocked[stage + 1]
        if stream.seen[n] < time:
            self.found.append(f"{tensor.key} read early")
        self.reads[tensor.key].append(stream.work())

    def _note(self, action):
        self.log.append(action)
        if action == self.fails_at:
            raise ArithmeticError("made up")

    def forward(self, stage, microbatch, features):
        self._note(("F", stage, microbatch))
        assert (features is None) == (stage == 0)
        if stage in (0, len(self.lanes.streams) - 1) and self.clocked[stage + 1].seen[0] < self.entered:
            self.found.append("mini-batch read early")
        if features is not None:
            self._read(stage, features)
            self.leaves[stage, microbatch] = features
        return self._made(stage, "output")

    def backward(self, stage, microbatch, output, gradient):
        self._note(("B", stage, microbatch))
        assert (gradient is None) == (stage + 1 == len(self.lanes.streams))
        leaf = self.leaves.pop((stage, microbatch), None)
        for tensor in (leaf, output, gradient):
            if tensor is not None:
                self._read(stage, tensor)
        return self._made(stage, "gradient") if stage else None

    def finish(self, stage):
        assert self.lanes.current is self.lanes.streams[stage]
        self.log.append(("step", stage, None))


def run(clock, stages, microbatches, *, deaf=False, times=3, present=None):
    lanes = ForkedLanes(stages, deaf=deaf)
    runner = TickRunner(clock(stages, microbatches), lanes)
    work = MadeUpWork(lanes)
    for _ in range(times):
        work.enter()
        runner.run(work, present or microbatches)
    return work


@BOTH
@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_memory_is_read_when_it_is_there_and_kept_for_its_last_reader(clock, data):
    microbatches = data.draw(st.integers(1, 9))
    stages = data.draw(st.integers(1, microbatches))
    work = run(clock, stages, microbatches, present=data.draw(st.integers(1, microbatches)))
    assert not work.found
    assert not +work.alive, "something outlives its mini-batch"


@BOTH
def test_without_the_waits_it_would_be_found_out(clock):
    found = run(clock, 3, 6, deaf=True).found
    assert any("read early" in line for line in found)
    assert any("overwritten early" in line for line in found)
    assert "mini-batch read early" in found
    assert "mini-batch overwritten early" in found


@BOTH
def test_actions_are_launched_in_the_order_of_the_clock_and_each_stage_steps_at_its_end(clock):
    ticks = clock(3, 5)
    log = run(clock, 3, 5, times=1).log
    assert [entry for entry in log if entry[0] != "step"] == list(itertools.chain(*ticks))
    for stage in range(3):
        assert [entry[0] for entry in log if entry[1] == stage][-2:] == ["B", "step"]


@BOTH
def test_microbatches_that_are_missing_are_left_out(clock):
    log = run(clock, 3, 5, times=1, present=2).log
    assert {m for kind, _, m in log if kind != "step"} == {0, 1}
    assert len(log) == 3 * (2 * 2 + 1)


def test_memory_of_one_f_one_b_is_bounded_by_the_stages_and_that_of_gpipe_by_the_microbatches():
    """That is what 1F1B is for: the hand-over must not keep what the clock lets go."""
    for stages, stage in [(4, s) for s in range(4)]:
        peaks = [run(one_f_one_b, stages, m).peak for m in (8, 32)]
        assert peaks[0] == peaks[1]
        assert peaks[0][stage, "output"] == stages - stage
        assert run(gpipe, stages, 32).peak[stage, "output"] == 32


def test_after_an_error_the_caller_waits_for_all_lanes():
    """What the mini-batch held is freed then, for the caller's stream as well."""
    lanes = ForkedLanes(3)
    work = MadeUpWork(lanes, fails_at=("B", 1, 2))
    work.enter()
    with pytest.raises(ArithmeticError):
        TickRunner(gpipe(3, 4), lanes).run(work, 4)
    assert all(lanes.the_caller.seen[n] == stream.seen[n] for n, stream in enumerate(lanes.streams, 1))
