"""The serial engine: one task after the other on one lane. The oracle that every other engine is held against."""

from __future__ import annotations

from collections.abc import Iterator

from albench.component import ComponentNetwork
from albench.engines.engine import Input, TaskEngine
from albench.engines.options import EngineOptions


class SerialEngine(TaskEngine):
    """Runs `albench.schedule.serial`: all components of mini-batch 0, then of mini-batch 1, …"""

    name = "serial"
    lane_kind = "cpu-thread"

    def __init__(self, network: ComponentNetwork, options: EngineOptions) -> None:
        super().__init__(network, options)
        if self.device.type == "cuda":
            self.lane_kind = "cuda-stream"

    def _choose_lanes(self) -> int:
        return 1

    def _run(self, inputs: Iterator[Input]) -> None:
        for minibatch, features, target in inputs:
            for tasks in self._tasks:
                features, target = tasks.run(minibatch, features, target)
