"""The threads engine: one Python thread a lane, contiguous components on a lane, bounded channels between lanes.

Lane 0 takes mini-batch k + 1 while lane 1 is at mini-batch k: the schedule of Table 1 without a global clock. Tasks
give up the interpreter lock inside torch's operators, so lanes really overlap where operators are long; where they are
short the lock rules and there is no gain (the `fused` engine is for those). On the CPU autograd runs a backward pass in
the thread that asked for it, so each lane's whole task stays in its thread.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import torch

from albench.engines.channel import Aborted, Channel
from albench.engines.engine import Input, TaskEngine
from albench.machine import usable_cores


class ThreadsEngine(TaskEngine):
    """Runs `albench.schedule.pipelined` on K threads."""

    name = "threads"
    lane_kind = "cpu-thread"

    def _choose_lanes(self) -> int:
        return min(self.options.lanes or usable_cores(), len(self.components))

    def _run(self, inputs: Iterator[Input]) -> None:
        first = next(inputs, None)
        if first is None:
            return
        self._balance(first)
        channels: list[Channel[Input]] = [Channel() for _ in range(self.lanes)]
        failures: list[BaseException] = []

        def abort() -> None:
            for channel in channels:
                channel.abort()

        def run_lane(lane: int, block: range) -> None:
            # A new thread takes the number of intra-op threads that was set last, anywhere: say it first thing.
            torch.set_num_threads(1)
            onward = channels[lane + 1] if lane + 1 < self.lanes else None
            try:
                for minibatch, features, target in channels[lane]:
                    for i in block:
                        features, target = self._tasks[i].run(minibatch, features, target, lane=lane)
                    if onward is not None:
                        onward.put(Input(minibatch, features, target))
                if onward is not None:
                    onward.finish()
            except Aborted:
                pass
            except BaseException as error:
                failures.append(error)
                abort()

        threads = [
            threading.Thread(target=run_lane, args=(lane, block), name=f"albench-lane-{lane}", daemon=True)
            for lane, block in enumerate(self.blocks)
        ]
        started: list[Any] = []
        try:
            for thread in threads:
                thread.start()
                started.append(thread)
            for item in itertools.chain([first], inputs):
                channels[0].put(item)
            channels[0].finish()
            for thread in started:
                thread.join()
        except Aborted:
            pass  # a lane failed; its error is raised below
        finally:
            abort()
            for thread in started:
                thread.join()
        if failures:
            raise failures[0]
