"""The graph engine: one tick of the pipeline is one CUDA graph, however deep the network.

The body of a tick (`albench.engines.slots`) is recorded once, with a parallel branch a lane; from then on a mini-batch
costs the host a copy into slot 0 and one replay. Nothing on the device is looked at while the pipeline runs.

What is recorded fits mini-batches of one layout. Others ride: the slot beside them stays idle, and their tasks run
one by one, each in its tick, between two replays.

    tick      k        k+1      k+2      k+3
    slot 0    full     ragged   full     full
    slot 1    full     full     (idle)   full        beside it: task (1, ragged), launched by Python
    slot 2    full     full     full     (idle)      beside it: task (2, ragged)

So order and arithmetic are those of the serial engine, to the bit, and the ragged last mini-batch of an epoch costs no
new recording. A layout is recorded when it is seen to last: the second mini-batch in a row where there is no recording
yet, the one after `PATIENCE` in a row where there is one. The pipeline drains before, and the old recording and its
memory are released first, so there is never more than one. The mini-batches that rode before have shown what shapes
each component hands on, and have made Adam's state, which must not be made inside a recording.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from albench.component import ComponentNetwork, Target, map_target
from albench.engines.capture import record
from albench.engines.engine import Input
from albench.engines.errors import ComponentError
from albench.engines.lanes import LaneEngine
from albench.engines.options import EngineOptions
from albench.engines.slots import LastLosses, Layout, Passage, Slots, layout_of
from albench.engines.traits import attributes, hooks, parameter_hooks
from albench.errors import UsageError

PATIENCE = 8
"""Mini-batches of another layout in a row that ride before it is recorded: a recording takes about as long as five of
them (the warm-ups, the recording itself, draining), so waiting for eight costs at most twice what knowing would."""


class _Rider:
    """A mini-batch whose tasks are not recorded, on its way through the components."""

    def __init__(self, item: Input, layout: Layout) -> None:
        self.item = item
        self.layout = layout
        self.inputs: list[tuple[Tensor, Target]] = []

    @property
    def slot(self) -> int:
        """The component whose turn is next."""
        return len(self.inputs)


class GraphEngine(LaneEngine):
    """Runs `albench.schedule.pipelined` tick by tick, each tick one replay."""

    name = "graph"
    out_of_order = True
    counts_updates = False

    def __init__(self, network: ComponentNetwork, options: EngineOptions) -> None:
        super().__init__(network, options)
        self.recordings = 0
        """Ticks recorded so far; replays do not count."""
        self._slots: Slots | None = None
        self._replay: Callable[[], None] | None = None
        self._recorded_for: tuple[object, ...] = ()
        self._passage: Passage | None = None
        self._stranger: tuple[Layout, int] = (None, 0)
        """The layout of the last mini-batches that were not recorded, and how many in a row had it."""
        self._losses: LastLosses | None = None
        """The losses of the last recording; None where the last mini-batch rode."""
        generators = [getattr(component, "generator", None) for component in self.components]
        found = {i: g for i, g in enumerate(generators) if isinstance(g, torch.Generator)}
        self._generators = {i: g for i, g in found.items() if g.device.type == self.device.type}
        """Those that a recording can draw from, by component; components may leave theirs unused."""
        self._host_generators = {i: g for i, g in found.items() if i not in self._generators}
        self._clear_line()

    def _clear_line(self) -> None:
        count = len(self.components)
        self._line: deque[int | None] = deque([None] * count, maxlen=count)
        """The mini-batch in each slot; None where it is idle, or where one rides beside it."""
        self._riders: list[_Rider] = []

    def _run(self, inputs: Iterator[Input]) -> None:
        self._clear_line()
        if self._slots is not None:
            self._slots.clear()  # an earlier fit may have broken off in the middle of the pipeline
        if self._recorded_for != (now := self._fingerprint()):
            self._release()
            self._passage, self._stranger, self._recorded_for = None, (None, 0), now
        for item in inputs:
            self._balance(item)
            layout = layout_of(item.features, item.target)
            if self._slots is None or layout != self._slots.layout:
                self._meet_stranger(layout, item.minibatch)
            self._tick(item, layout)
        self._drain()

    def _fingerprint(self) -> tuple[object, ...]:
        """Return what a recording depends on besides the layout: where weights are, what is trained and how."""
        modules = [module for component in self.components for module in component.modules()]
        tensors = [t for c in self.components for t in (*c.parameters(), *c.buffers())]
        return (
            *((t.data_ptr(), t.dtype, t.requires_grad, parameter_hooks(t)) for t in tensors),
            *((type(module), module.training, hooks(module), attributes(module)) for module in modules),
        )

    def _meet_stranger(self, layout: Layout, minibatch: int) -> None:
        """Count a mini-batch that does not fit the recording, and record its layout if it has come to stay."""
        known, count = self._stranger
        self._stranger = (layout, count + 1 if layout == known else 1)
        if self._stranger[1] <= (1 if self._slots is None else PATIENCE):
            return
        self._drain()
        if self._passage is not None and self._passage.layout == layout:
            self._record(self._passage, minibatch)
            self._stranger = (None, 0)

    def _tick(self, item: Input | None, layout: Layout = None) -> None:
        """Run one tick: `item` enters at component 0, and whatever is in the pipeline moves on by one component."""
        fits = item is not None and self._slots is not None and layout == self._slots.layout
        self._line.appendleft(item.minibatch if item is not None and fits else None)
        if item is not None:
            self._losses = self._slots.losses if fits and self._slots is not None else None
            if not fits:
                self._riders.append(_Rider(item, layout))
            else:
                self._stranger = (None, 0)
        if self._slots is not None and self._line.count(None) < len(self._line):
            if item is not None and fits:
                changes = callable(self.options.learning_rate)
                rate = self.options.rate_at(item.minibatch) if changes else None
                self._slots.enter(item.features, item.target, rate)
            else:
                self._slots.enter_nothing()
            self._replay_tick()
        if self._riders:
            self._ride()

    def _replay_tick(self) -> None:
        assert self._replay is not None
        log = self._tasks[0].log
        start = log.mark() if log is not None else None
        with self._rewound(i for i in self._generators if self._line[i] is None):
            self._replay()
        if log is not None:
            self._log_tick(start, log.mark())

    def _log_tick(self, start: Any, end: Any) -> None:
        """Keep the spans of the tasks that were replayed between two marks."""
        for lane, block in enumerate(self.blocks):
            for i in block:
                log, minibatch = self._tasks[i].log, self._line[i]
                if log is not None and minibatch is not None:
                    log.add(start, end, lane, ((i, minibatch),))

    def _ride(self) -> None:
        """Run the task of each mini-batch that rides, at the component that it has come to."""
        for rider in self._riders:
            minibatch, features, target = rider.item
            i = rider.slot
            rider.inputs.append((_without_data(features), map_target(_without_data, target)))
            lane = next(lane for lane, block in enumerate(self.blocks) if i in block)
            # On the stream that a recording has the component on. A parameter's node in autograd's graph keeps to the
            # stream of its first use while it lives, which may be an instant longer than the task.
            with self._lanes.in_turn(lane):
                features, target = self._tasks[i].run(minibatch, features, target, lane=lane)
            rider.item = Input(minibatch, features, target)
        count = len(self.components)
        for rider in self._riders:
            if rider.slot == count:
                names = [tasks.loss_names for tasks in self._tasks]
                self._passage = Passage(rider.layout, rider.inputs, names)
        self._riders = [rider for rider in self._riders if rider.slot < count]

    def _drain(self) -> None:
        """Run ticks until no mini-batch is left that has a component before it."""
        while self._riders or any(minibatch is not None for minibatch in list(self._line)[:-1]):
            self._tick(None)
        self._clear_line()

    def _record(self, passage: Passage, minibatch: int) -> None:
        """Record the tick for mini-batches of one layout; the pipeline is empty, and its slots stay idle meanwhile."""
        self._release()
        device = self.device
        on_cuda = device.type == "cuda"
        slots = Slots(self._tasks, passage, device=device, rates=callable(self.options.learning_rate))

        before = {i: generator.get_state() for i, generator in self._host_generators.items()}

        def body() -> None:
            slots.tick(self._lanes, self.blocks, minibatch_at)
            self._refuse_host_randomness(before)

        def minibatch_at(i: int) -> int:
            found = self._line[i]
            return minibatch if found is None else found

        failure: Exception | None = None
        # Idle slots draw random numbers too: what the warm-ups draw is given back.
        with self._rewound(self._generators), torch.random.fork_rng(devices=[device] if on_cuda else []):
            try:
                self._replay = record(
                    body,
                    device=device,
                    stream=self._lanes.streams[0] if on_cuda else None,
                    generators=list(self._generators.values()),
                )
            except Exception as error:
                failure = error
        if failure is not None:
            if on_cuda:
                with contextlib.suppress(RuntimeError):  # the failure itself may have left the device unusable
                    torch.cuda.synchronize(device)  # lanes may still be at work on the slots, which are freed now
            # Where the body fails while it is recorded, ending the recording fails as well, and less clearly.
            raise _first_component_error(failure)
        self._slots = slots
        self.recordings += 1
        for i, component in enumerate(self.components) if on_cuda else ():
            note = f"component {i} has hooks: their Python runs when a tick is recorded, not when it is replayed"
            if any(map(hooks, component.modules())) and note not in self.notes:
                self.notes.append(note)
        for tasks in self._tasks:
            tasks.drop_gradients()  # they lie in the recording's memory

    def _refuse_host_randomness(self, before: dict[int, Tensor]) -> None:
        """Raise `UsageError` if a generator that a recording cannot draw from has moved; put all of them back."""
        moved = [i for i, state in before.items() if not torch.equal(state, self._host_generators[i].get_state())]
        for i in moved:
            self._host_generators[i].set_state(before[i])
        if moved:
            raise UsageError(
                f"component {moved[0]} draws from a generator on the CPU, which a recording would not do again: "
                f"give it a torch.Generator({self.device.type!r}), or use engine 'streams'"
            )

    @contextlib.contextmanager
    def _rewound(self, components: Iterable[int]) -> Iterator[None]:
        """Leave the generators of these components as they are, whatever is drawn inside."""
        states = [(self._generators[i], self._generators[i].get_state()) for i in components]
        yield
        for generator, state in states:
            generator.set_state(state)

    def _release(self) -> None:
        """Forget the recording, and with it its memory."""
        if self._replay is not None and self._lanes_device.type == "cuda":
            torch.cuda.synchronize(self._lanes_device)  # its last replay may still be at work
        self._replay = None
        self._slots = None

    @property
    def losses(self) -> list[dict[str, float]]:
        """Per component: its local losses on the last mini-batch, by name; empty before the first."""
        return self._losses.read() if self._losses is not None else super().losses

    def _close(self) -> None:
        self._release()
        super()._close()


def _without_data(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="meta")


def _first_component_error(error: BaseException) -> BaseException:
    """Return the `ComponentError` that led to an error, or the error itself."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, ComponentError):
        found = found.__context__
    return found or error
