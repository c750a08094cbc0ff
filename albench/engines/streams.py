"""The streams engine: one CUDA stream a lane, contiguous components on a lane, events for the hand-over.

One Python thread launches the tasks mini-batch by mini-batch, lane by lane; it never waits for the device. Lane 0 is
at mini-batch k + 1 while lane 1 is at mini-batch k, because lane 1 waits for an event and lane 0 does not:

    caller   |read 0|read 1|read 2| …
    lane 0          |task 0|task 1|task 2| …
    lane 1                 |task 0|task 1| …

Every launch costs the one thread a few microseconds, so a deep network of small layers runs no faster than the serial
order. That is what the `graph` and `fused` engines are for; this one shows why.

**Memory.** torch gives memory that is freed back to the stream that it was allocated for, at once, in the belief that
what comes later on that stream comes later in time. What is handed to another stream breaks that. Here what lane j
hands on of mini-batch k is kept until lane j has been told, at its mini-batch k + 2, to wait until lane j + 1 is done
with k; only then is it freed. Labels that pass through lane after lane unchanged were allocated further upstream; the
same waits reach back one lane every two mini-batches, so they are kept for two mini-batches a lane.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from albench.engines.engine import Input
from albench.engines.lanes import LaneEngine
from albench.engines.slots import tensors_of

AHEAD = 2
"""Mini-batches that a lane may be ahead of the next one: one in work, one waiting."""


class StreamsEngine(LaneEngine):
    """Runs `albench.schedule.pipelined` on K streams."""

    name = "streams"

    def _run(self, inputs: Iterator[Input]) -> None:
        caller = self._lanes.caller()
        for stream in self._lanes.streams:
            stream.wait_stream(caller)
        hand_over = _HandOver(self._lanes, caller)
        try:
            for number in itertools.count():
                hand_over.before_reading(number)
                item = next(inputs, None)
                if item is None:
                    return
                self._balance(item)
                hand_over.was_read(number, item)
                for lane, block in enumerate(self.blocks):
                    item = self._run_block(lane, block, number, item, hand_over)
        finally:
            # Also after an error: nothing is freed below that a lane still reads.
            for stream in self._lanes.streams:
                caller.wait_stream(stream)

    def _run_block(self, lane: int, block: range, number: int, item: Input, hand_over: _HandOver) -> Input:
        """Run the tasks of one lane on one mini-batch and return what it hands on."""
        minibatch, features, target = item
        hand_over.before_lane(lane, number)
        with self._lanes.on(lane):
            for i in block:
                features, target = self._tasks[i].run(minibatch, features, target, lane=lane)
        onward = Input(minibatch, features, target)
        hand_over.after_lane(lane, number, item, onward)
        return onward


class _HandOver:
    """What goes from stream to stream: who waits for whom, and until when memory is kept.

    The caller's stream, where mini-batches are read, is the producer before lane 0. Mini-batches are numbered from 0
    in each call of ``fit``.
    """

    def __init__(self, lanes: Any, caller: Any) -> None:
        count = len(lanes.streams)
        self._streams = [caller, *lanes.streams]  # stream j hands on to stream j + 1
        # An event is recorded anew only after all who wait for its last meaning have been told to.
        self._done = [[lanes.event() for _ in range(AHEAD + 1)] for _ in self._streams]
        self._kept: list[deque[Input]] = [deque() for _ in self._streams]
        self._passing: deque[list[Tensor]] = deque()
        self._passing_limit = AHEAD * count

    def _event(self, stream: int, number: int) -> Any:
        return self._done[stream][number % (AHEAD + 1)]

    def _free(self, stream: int, number: int) -> None:
        """Let a stream wait until the next one is done with the mini-batch two before, and free that one."""
        if number >= AHEAD and stream + 1 < len(self._streams):
            self._streams[stream].wait_event(self._event(stream + 1, number - AHEAD))
            self._kept[stream].popleft()

    def before_reading(self, number: int) -> None:
        """Prepare the caller's stream for mini-batch `number`."""
        self._free(0, number)
        if len(self._passing) > self._passing_limit:
            self._passing.popleft()

    def was_read(self, number: int, item: Input) -> None:
        """Take mini-batch `number` from the caller's stream."""
        self._streams[0].record_event(self._event(0, number))
        self._kept[0].append(item)
        self._passing.append([])

    def before_lane(self, lane: int, number: int) -> None:
        """Let a lane wait for its input, and for its reader to be done with what it will overwrite."""
        self._free(lane + 1, number)
        self._streams[lane + 1].wait_event(self._event(lane, number))

    def after_lane(self, lane: int, number: int, item: Input, onward: Input) -> None:
        """Take what a lane hands on of mini-batch `number`, and mark the lane as done with it."""
        stream = lane + 1
        self._streams[stream].record_event(self._event(stream, number))
        if stream + 1 < len(self._streams):
            self._kept[stream].append(onward)
            taken = {tensor.untyped_storage().data_ptr() for tensor in tensors_of(item.features, item.target)}
            self._passing[-1] += [
                tensor
                for tensor in tensors_of(onward.features, onward.target)
                if tensor.untyped_storage().data_ptr() in taken
            ]
