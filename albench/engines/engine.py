"""Engine: what really runs a schedule on lanes.

An engine owns the optimizers, the rates, the buffers and the order of the tasks; the components only compute. What
all engines share stands here: checking what comes in, counting mini-batches, and the state of a run.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Self, cast

import torch
from torch import Tensor

from albench.component import ComponentNetwork, Target
from albench.engines.balance import Measured, measured_blocks
from albench.engines.batch import Batch, as_allocated, check_batch
from albench.engines.options import EngineOptions
from albench.engines.precision import exact_arithmetic, usual_modes
from albench.engines.sharing import refuse_shared_tensors
from albench.engines.span_log import anchor_watches, in_order, kept_of_each
from albench.engines.state import FORMAT, VERSION, EngineState, Moments, check_state, component_state, load_component
from albench.engines.task import component_tasks
from albench.engines.turn import Turn
from albench.errors import UsageError
from albench.trace import Span


class Input(NamedTuple):
    """A mini-batch as component 0 takes it."""

    minibatch: int
    """k, counted from 0 over all calls of ``fit``."""
    features: Tensor
    target: Target


class Engine(ABC):
    """Trains the components of a network; use `albench.engines.make_engine` to get one.

    Randomness: all engines end alike, and a run can be repeated and resumed, where each component that draws numbers
    has a ``torch.Generator`` of its own, as its attribute `generator`; the engine brings it to where the component is
    trained and keeps it in the state. ``nn.Dropout`` and all else that draws from torch's global generator trains too,
    but that generator belongs to a process and not to a component: on several lanes it is asked in no fixed order, on
    each rank it is another one, and no state has it. Such a run ends elsewhere than on "serial", which `notes` says.
    """

    name: ClassVar[str]
    """As `make_engine` and the command line know it."""
    lane_kind: str
    """What a lane of this engine is; records carry it."""
    takes_sm_shares: ClassVar[bool] = False
    """Whether lanes can be shares of a GPU's multiprocessors."""
    counts_updates: ClassVar[bool] = True
    """Whether the host counts a component's updates one by one, which an ε that follows the count needs."""
    out_of_order: ClassVar[bool] = False
    """Whether tasks run in another order than the serial one on a single lane too, as where a whole tick is one."""

    def __init__(self, network: ComponentNetwork, options: EngineOptions) -> None:
        self.network = network
        self.options = options
        self.components: Sequence[Any] = list(network.components)
        if not self.components:
            raise UsageError("the network has no components: there is nothing to train")
        if options.lane_kind == "sm-share" and not self.takes_sm_shares:
            raise UsageError(
                f"lane_kind is 'sm-share' and engine {self.name!r} has no such lanes: use engine 'streams' or 'graph'"
            )
        if options.epsilon != "torch" and not self.counts_updates:
            raise UsageError(
                f"epsilon is {options.epsilon!r} and engine {self.name!r} makes every update with torch's: "
                "give epsilon 'torch', or engine 'serial', 'threads', 'ranks' or 'streams'"
            )
        for i, component in enumerate(self.components):
            if not any(list(group.parameters) for group in component.parameter_groups()):
                raise UsageError(
                    f"component {i} has no parameters to train: make it a part of the component before or after it"
                )
            if any(parameter.is_inference() for parameter in component.parameters()):
                raise UsageError(
                    f"component {i} was made under torch.inference_mode(), and cannot be trained: make it outside"
                )
        self.lanes = self._choose_lanes()
        """Lanes that really run; at most one a component."""
        if self.lanes > 1 or self.out_of_order:
            refuse_shared_tensors(self.components)
        self.notes: list[str] = []
        """What a user should know, such as lanes that were capped."""
        if options.lanes is not None and self.lanes < options.lanes:
            spread = f"has {len(self.components)} components to spread"
            why = spread if self.lanes == len(self.components) else "runs on one lane"
            self.notes.append(f"{options.lanes} lanes asked for, {self.lanes} used: {self.name} {why}")
        self.minibatches_seen = 0
        """Mini-batches trained so far; the index k of the next one."""
        self._traced_from = 0
        """The first mini-batch since spans were forgotten."""
        self._interrupted = False
        """Whether components stand at different mini-batches."""
        self._turn = Turn()

    @property
    def device(self) -> torch.device:
        """Where the network is; engines take networks that are in one place."""
        return cast("torch.device", next(iter(self.components[0].parameters())).device)

    @property
    def intra_op_threads(self) -> int:
        """Threads that share one operator's work. One, where engines are to be bitwise equal."""
        return 1

    @abstractmethod
    def _choose_lanes(self) -> int:
        """Return K for the network and the options."""

    @abstractmethod
    def _run(self, inputs: Reader) -> None:
        """Run every task of every mini-batch, in an order that keeps the schedule's arrows, and drain."""

    @abstractmethod
    def _moments(self, component: int) -> Moments:
        """Return a copy of the optimizer's state of one component, by parameter name."""

    @abstractmethod
    def _load_moments(self, component: int, moments: Moments) -> None:
        """Take the optimizer's state of one component."""

    @property
    @abstractmethod
    def losses(self) -> list[dict[str, float]]:
        """Per component: its local losses on the last mini-batch, by name; empty before the first."""

    @property
    @abstractmethod
    def spans(self) -> list[Span]:
        """When each task ran, in the order they ended, if ``trace=True`` was asked for; else none.

        Of all calls of ``fit`` since the engine was made or a state was loaded, but of so many mini-batches only that
        there are not more than `albench.engines.span_log.SPANS_KEPT`, which `notes` says.
        """

    @abstractmethod
    def _forget_spans(self) -> None:
        """Forget the spans: mini-batches will be counted from elsewhere."""

    def fit(self, batches: Iterable[Batch]) -> None:
        """Train on mini-batches, read lazily, and return when the pipeline has drained.

        `batches`: pairs of x ``[B, …]`` floating point and y ``[B]`` int64. A pipeline is still at work on a mini-batch
        when it reads the next ones, so leave their tensors alone: no buffer that is filled anew. A source that blocks
        is waited for, whatever has happened meanwhile: a lane that failed or a process that died is reported as soon as
        the source has returned. ``no_grad``, ``inference_mode`` and ``autocast`` around this call do not reach into it,
        and a source that yields within one of them is refused.

        Raises `UsageError` for a mini-batch that cannot be trained on and `ComponentError` for a component that fails.
        An error while *reading* leaves every component trained on the same mini-batches; after an error in a component
        they are not, and ``fit`` refuses to go on until a state is loaded.
        """
        with self._turn.take("fit"), usual_modes(self.device):
            if self._interrupted:
                raise UsageError(
                    "an earlier fit broke off in the middle of the pipeline: load_state_dict() a state from before it"
                )
            self._fit(Reader(self, batches))

    def _fit(self, reader: Reader) -> None:
        seen = self.minibatches_seen
        self._interrupted = True
        if self.options.trace:
            anchor_watches()
        try:
            with intra_op_threads(self.intra_op_threads), exact_arithmetic(self.device):
                self._run(reader)
        except UsageError:
            self._interrupted = self.minibatches_seen > seen  # what was refused before the first one did no harm
            raise
        self._interrupted = False
        if self.options.trace:
            self._note_spans()
        if reader.error is not None:
            raise reader.error

    def _note_spans(self) -> None:
        """Say that spans were left out, if any were."""
        kept = kept_of_each(len(self.components))
        note = f"spans were kept of {kept} mini-batches, and of none after them"
        if self.minibatches_seen - self._traced_from > kept and note not in self.notes:
            self.notes.append(note)

    def state_dict(self) -> EngineState:
        """Return weights, optimizer state, mini-batches seen and generators: a resumed run is the same run.

        Raises `UsageError` after a fit that broke off: its components stand at different mini-batches, and a run
        resumed from there would be no run at all.
        """
        with self._turn.take("state_dict"), usual_modes(self.device):
            return self._state()

    def _state(self) -> EngineState:
        if self._interrupted:
            raise UsageError(
                "an earlier fit broke off in the middle of the pipeline, so there is no state to go on from: "
                "the network's own state_dict() has the weights"
            )
        return {
            "format": FORMAT,
            "version": VERSION,
            "minibatches": self.minibatches_seen,
            "components": [component_state(c, self._moments(i)) for i, c in enumerate(self.components)],
        }

    def load_state_dict(self, state: Any) -> None:
        """Take a state that an engine of any kind returned for a network of the same shape."""
        with self._turn.take("load_state_dict"), usual_modes(self.device):
            self._load(state)

    def _load(self, state: Any) -> None:
        checked = check_state(state, list(self.components))
        for i, saved in enumerate(checked["components"]):
            load_component(self.components[i], saved)
            self._load_moments(i, saved["optimizer"])
        self.minibatches_seen = self._traced_from = checked["minibatches"]
        self._forget_spans()
        self._interrupted = False

    def close(self) -> None:
        """Give back what the engine holds. The network stays usable."""
        with self._turn.take("close"):
            self._close()

    def _close(self) -> None:  # noqa: B027 - most engines hold nothing
        """Give back what the engine holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Reader(Iterator[Input]):
    """Reads mini-batches for an engine; an error ends the input, so that the pipeline drains before it is raised."""

    def __init__(self, engine: Engine, batches: Iterable[Batch]) -> None:
        self._engine = engine
        self._like = next(iter(engine.components[0].parameters()))
        self._batches: Iterator[Batch] | None = None
        self._source = batches
        self.error: BaseException | None = None
        """What ended the input early."""
        self.draws: bool | None = None
        """Whether torch's global generator moved while the first mini-batch was read; None before that."""

    def __next__(self) -> Input:
        """Return the next mini-batch as component 0 takes it."""
        if self.error is not None:
            raise StopIteration
        engine = self._engine
        minibatch = engine.minibatches_seen
        try:
            if self._batches is None:
                self._batches = iter(self._source)
            if self.draws is None:
                before = torch.get_rng_state()
                batch = next(self._batches)
                self.draws = not torch.equal(before, torch.get_rng_state())
            else:
                batch = next(self._batches)
            self._check_modes()
        except StopIteration:
            raise
        except BaseException as error:
            self.error = error
            raise StopIteration from None
        try:
            classes = getattr(engine.network, "classes", None)
            x, y = check_batch(batch, minibatch=minibatch, classes=classes, like=self._like)
            # What was made under inference_mode() cannot be kept for a backward pass; a copy can.
            x, y = (t.clone() if t.is_inference() else t for t in (x, y))
            if x.is_cuda:
                x, y = as_allocated(x), as_allocated(y)
            engine.options.rate_at(minibatch)  # a rate that cannot be is refused here, where the pipeline can drain
            target = engine.network.first_target(y, dtype=x.dtype, distinct_targets=engine.options.distinct_targets)
        except BaseException as error:
            self.error = error
            raise StopIteration from None
        engine.minibatches_seen += 1
        return Input(minibatch, x, target)

    def _check_modes(self) -> None:
        """Refuse a generator that yields within a mode: it leaves the mode on, for those tasks that run in its thread.

        Raises `UsageError`.
        """
        on = not torch.is_grad_enabled() or torch.is_autocast_enabled(self._like.device.type)
        if on or torch.is_inference_mode_enabled():
            if isinstance(self._batches, Generator):
                self._batches.close()  # which leaves the mode, here and not wherever it is collected
            raise UsageError(
                "the source of mini-batches yields within no_grad(), inference_mode() or autocast(), which some lanes "
                "would see and others not: let it leave them before each yield"
            )


class TaskEngine(Engine):
    """An engine that runs components one by one, each through its `ComponentTasks`."""

    def __init__(self, network: ComponentNetwork, options: EngineOptions) -> None:
        super().__init__(network, options)
        kept = kept_of_each(len(self.components))
        self._tasks = [component_tasks(i, c, options, most_spans=kept) for i, c in enumerate(self.components)]
        self.blocks: list[range] = []
        """The contiguous components of each lane; balanced by measured task time on the first mini-batch."""
        self._measured: Measured | None = None
        self._drawing_noted = False

    def _balance(self, first: Input) -> None:
        """Decide the blocks, once: lanes that change hands in a run would move weights for a gain in the noise."""
        if not self.blocks:
            balance = measured_blocks(
                self.components,
                first.features,
                first.target,
                self.options,
                minibatch=first.minibatch,
                lanes=self.lanes,
            )
            self.blocks, self._measured = balance.blocks, balance.measured
            if balance.note:
                self.notes.append(balance.note)

    def _note_drawing(self, component: int | None) -> None:
        """Say that a component draws from torch's global generator, if one does; for lanes that run at once."""
        if component is not None and not self._drawing_noted and self.lanes > 1:
            self._drawing_noted = True
            self.notes.append(
                f"component {component} draws from torch's global generator, so a run ends elsewhere than on engine "
                "'serial': let it draw from a torch.Generator of its own, as its attribute `generator`"
            )

    def _moments(self, component: int) -> Moments:
        return self._tasks[component].moments()

    def _load_moments(self, component: int, moments: Moments) -> None:
        self._tasks[component].load_moments(moments)

    @property
    def losses(self) -> list[dict[str, float]]:
        """Per component: its local losses on the last mini-batch, by name; empty before the first."""
        return [tasks.losses for tasks in self._tasks]

    @property
    def spans(self) -> list[Span]:
        """When each task ran, in the order they ended, if ``trace=True`` was asked for; else none.

        On a GPU, when the device ran it; reading waits for the device.
        """
        return in_order(tasks.log for tasks in self._tasks if tasks.log is not None)

    def _forget_spans(self) -> None:
        for tasks in self._tasks:
            if tasks.log is not None:
                tasks.log.clear()


@contextlib.contextmanager
def intra_op_threads(count: int) -> Iterator[None]:
    """Run with `count` intra-op threads in this thread, and restore what was set before.

    One thread a task is what makes lanes bitwise equal to the serial order, and what keeps lanes from stealing each
    other's cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def as_network(network: object) -> ComponentNetwork:
    """Return `network` if an engine can train it, else raise `UsageError` that says what it lacks."""
    for attribute in ("components", "first_target"):
        if not hasattr(network, attribute):
            raise UsageError(
                f"{type(network).__name__} has no `{attribute}`: engines train networks that follow albench.component"
            )
    return cast("ComponentNetwork", network)
