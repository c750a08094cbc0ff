"""The threads engine: one Python thread a lane, contiguous components on a lane, bounded channels between lanes.

Lane 0 takes mini-batch k + 1 while lane 1 is at mini-batch k: the schedule of Table 1 without a global clock. Tasks
give up the interpreter lock inside torch's operators, so lanes really overlap where operators are long; where they are
short the lock rules and there is no gain (the `fused` engine is for those). On the CPU autograd runs a backward pass in
the thread that asked for it, so each lane's whole task stays in its thread.

With a network on a GPU a lane is a GPU: this process drives as many as there are, each from a thread of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import torch

from albench.component import ComponentNetwork, map_target
from albench.engines.channel import Aborted, Channel
from albench.engines.engine import Input, Reader, TaskEngine
from albench.engines.options import EngineOptions
from albench.engines.replica import Replica
from albench.engines.span_log import kept_of_each
from albench.machine import usable_cores


class ThreadsEngine(TaskEngine):
    """Runs `albench.schedule.pipelined` on K threads."""

    name = "threads"

    def __init__(self, network: ComponentNetwork, options: EngineOptions) -> None:
        super().__init__(network, options)
        self.lane_kind = "gpu" if self.device.type == "cuda" else "cpu-thread"
        self._replicas: list[Replica] | None = None

    def _choose_lanes(self) -> int:
        useful = torch.cuda.device_count() if self.device.type == "cuda" else usable_cores()
        return min(self.options.lanes or useful, len(self.components))

    def _lane_device(self, lane: int) -> torch.device:
        """Return where a lane trains: the network's GPU, the one after it, … and round again."""
        if self.device.type != "cuda":
            return self.device
        return torch.device("cuda", ((self.device.index or 0) + lane) % torch.cuda.device_count())

    def _trains_a_copy(self, lane: int) -> bool:
        """Whether the components of a lane must be copied to where it is."""
        return self._lane_device(lane) != self.device

    def _run(self, inputs: Reader) -> None:
        first = next(inputs, None)
        if first is None:
            return
        self._balance(first)
        if self._replicas is None:
            self._replicas = self._place()
        for replica in self._replicas:
            replica.fetch()
        try:
            self._run_lanes(itertools.chain([first], inputs))
            self._note_drawing(self._first_drawing(inputs))
        finally:
            for replica in self._replicas:
                replica.give_back()

    def _place(self) -> list[Replica]:
        """Bring the components of each lane to where it is, and their optimizers' state with them."""
        replicas = []
        for lane, block in enumerate(self.blocks):
            for i in block if self._trains_a_copy(lane) else ():
                kept = kept_of_each(len(self.components))
                replica = Replica(i, self.components[i], self._lane_device(lane), self.options, most_spans=kept)
                replica.tasks.load_moments(self._tasks[i].moments())
                self._tasks[i] = replica.tasks
                replicas.append(replica)
        return replicas

    def _run_lanes(self, inputs: Iterator[Input]) -> None:
        channels: list[Channel[Input]] = [Channel() for _ in range(self.lanes)]
        # A new thread starts on the default stream; mini-batches and weights were made on the caller's.
        caller = torch.cuda.current_stream(self.device) if self.device.type == "cuda" else None
        failures: list[BaseException] = []

        def abort() -> None:
            for channel in channels:
                channel.abort()

        def run_lane(lane: int, block: range) -> None:
            # A new thread takes the number of intra-op threads that was set last, anywhere: say it first thing.
            torch.set_num_threads(1)
            onward = channels[lane + 1] if lane + 1 < self.lanes else None
            device = self._lane_device(lane)
            try:
                with contextlib.ExitStack() as stack:
                    if caller is not None:
                        stack.enter_context(torch.cuda.stream(caller))
                        stack.enter_context(torch.cuda.device(device))
                        # A launch gives this thread the device's context; cuBLAS warns where it is the first to ask.
                        torch.zeros((), device=device)
                    for minibatch, features, target in channels[lane]:
                        if features.device != device:
                            features = features.to(device, non_blocking=True)
                            target = map_target(lambda t: t.to(device, non_blocking=True), target)
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
            for item in inputs:
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

    def _first_drawing(self, inputs: Reader) -> int | None:
        """Return the first component that draws from torch's global generator, if one does.

        Measuring tells for certain. Else what moves the generator during a component's first task is the component
        itself; one before it, which had its first task alone and is named; or the source of mini-batches.
        """
        if self._measured is not None:
            return self._measured.drawing
        if inputs.draws:
            return None
        return next((i for i, tasks in enumerate(self._tasks) if tasks.draws), None)
