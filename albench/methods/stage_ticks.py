"""Running the clock of a stage pipeline on lanes: one lane a stage, one event an action.

One Python thread launches the actions of one mini-batch tick by tick and waits for nothing. A lane waits for an action
of the stage beside it only where it needs what that action made, so no lane waits for the slowest of a tick:

    stage 0  |F 0|F 1|          |B 0|B 1|step|
    stage 1      |F 0|F 1|B 0|B 1|step|              F 1 of stage 1 waits for the event of F 1 of stage 0, and so on

All lanes fork from the caller's stream and join it again, so the same launches can be recorded into one CUDA graph,
where each event becomes an arrow.

**Memory.** torch gives memory that is freed back to the stream that it was allocated for, at once. What another lane
reads must be kept until the owner has been told to wait for that lane:

* what stage s hands forward is kept for its own B anyway, and that comes after the B of stage s + 1, its last reader;
* the gradient that stage s + 1 hands back is read by the B of stage s. It is kept until stage s + 1 waits for a later
  action of stage s, which in 1F1B is the next F but a few, and in GPipe the end of the mini-batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from albench.engines.lanes import Lanes
from albench.schedule import Action, StageTick, needed_by


class StageWork(Protocol):
    """What the stages do on one mini-batch; every call is made on the lane of its stage."""

    def forward(self, stage: int, microbatch: int, features: Tensor | None) -> Tensor:
        """Return the output of a stage, with its graph. `features`: what the stage before returned; None: the first.

        What is returned, and what was taken, is alive until the stage's `backward` on this microbatch is over.
        """
        ...

    def backward(self, stage: int, microbatch: int, output: Tensor, gradient: Tensor | None) -> Tensor | None:
        """Go back through `output`, add to the gradients of the stage, and return that of its input (None: the first).

        `gradient`: what the stage behind returned; None: the last stage, whose output is the loss.
        """
        ...

    def finish(self, stage: int) -> None:
        """Update the weights of a stage that has been through all microbatches."""
        ...


class TickRunner:
    """Runs the ticks of one mini-batch on lanes, as often as asked."""

    def __init__(self, ticks: Sequence[StageTick], lanes: Lanes) -> None:
        """`ticks`: of `albench.schedule.gpipe` or `one_f_one_b`, for as many stages as there are lanes."""
        self._lanes = lanes
        self._stages = len(lanes.streams)
        self._actions = [action for tick in ticks for action in tick]
        needed = {needed_by(action, self._stages) for action in self._actions}
        # Made once: an event may be recorded anew when all who wait for its last meaning have been told to, and at the
        # end of a run they have.
        self._events = {action: lanes.event() for action in self._actions if action in needed}
        counts = [0] * self._stages
        self._numbers: dict[Action, int] = {}
        """The place of each action among those of its own stage."""
        for action in self._actions:
            self._numbers[action] = counts[action[1]]
            counts[action[1]] += 1

    def run(self, work: StageWork, microbatches: int) -> None:
        """Run all actions on the first `microbatches` microbatches and update all stages.

        Fewer microbatches than the ticks have (a mini-batch with less instances than that) leave out the actions of
        the rest: nothing else needs them.
        """
        main = self._lanes.caller()
        others = [stream for stream in self._lanes.streams if stream != main]
        for stream in others:
            stream.wait_stream(main)
        run = _Run(self._lanes.streams, self._events, self._numbers)
        try:
            for action in self._actions:
                if action[2] < microbatches:
                    with self._lanes.on(action[1]):
                        run.take(action, work)
                        if action == ("B", action[1], microbatches - 1):
                            work.finish(action[1])
        finally:
            # Also after an error: what `run` keeps is freed when this returns, and no lane may still read it.
            for stream in others:
                main.wait_stream(stream)


class _Run:
    """One mini-batch under way: what stages have handed on, and what is kept for its readers."""

    def __init__(self, streams: Sequence[Any], events: dict[Action, Any], numbers: dict[Action, int]) -> None:
        self._streams = streams
        self._events = events
        self._numbers = numbers
        self._outputs: dict[tuple[int, int], Tensor] = {}
        """By stage and microbatch: what a stage has computed and not yet gone back through."""
        self._gradients: dict[tuple[int, int], Tensor] = {}
        """By stage and microbatch: of what that stage has computed."""
        self._read: list[deque[tuple[int, Tensor]]] = [deque() for _ in streams]
        """By the stage that made them: gradients, each with the number of the action before it that reads it."""

    def take(self, action: Action, work: StageWork) -> None:
        """Take one action, with the lane of its stage as the current one."""
        kind, stage, microbatch = action
        need = needed_by(action, len(self._streams))
        if need is not None:
            self._streams[stage].wait_event(self._events[need])
            if kind == "F":
                self._free(stage, self._numbers[need])
        if kind == "F":
            features = self._outputs[stage - 1, microbatch] if stage else None
            self._outputs[stage, microbatch] = work.forward(stage, microbatch, features)
        else:
            self._back(action, work)
        if action in self._events:
            self._streams[stage].record_event(self._events[action])

    def _back(self, action: Action, work: StageWork) -> None:
        _, stage, microbatch = action
        gradient = self._gradients.pop((stage, microbatch), None)
        onward = work.backward(stage, microbatch, self._outputs.pop((stage, microbatch)), gradient)
        if gradient is not None:
            self._read[stage + 1].append((self._numbers[action], gradient))
        if stage:
            assert onward is not None
            self._gradients[stage - 1, microbatch] = onward

    def _free(self, stage: int, number: int) -> None:
        """Free the gradients of a stage that were read up to that action of the stage before."""
        read = self._read[stage]
        while read and read[0][0] <= number:
            read.popleft()
