"""GPipe and 1F1B on the lanes of one GPU: what pipelined back-propagation is worth on the lanes that AL has.

The BP twin is cut into a stage a lane, a mini-batch into M microbatches, and the stages run the ticks of a clock
(`albench.schedule.gpipe` or `one_f_one_b`) on streams, or on shares of the SMs. A stage keeps the input of each
microbatch as a leaf and its output with the graph between them; going back through it leaves a gradient in the leaf,
which is the one that the stage before waits for:

    stage s-1                     stage s
    … ─► output ── detach ──► leaf ─► layers ─► output ─► …
         ◄──── gradient ───── leaf.grad

The loss of a microbatch counts by its share of the instances, so that the gradients, added up in the order of the
microbatches, are that of the mean loss over the mini-batch: to the last bit what one process gets that goes through the
same microbatches one by one. Each stage then updates itself with its own fused Adam.

Engine ``streams`` launches all of this anew for every mini-batch. ``graph`` records the whole step once, forward,
backward and Adam, and replays it with one call: AL's engine of that name is spared the same launches, and the
comparison would be unfair otherwise. Mini-batches of another shape than the recorded one are launched.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from albench.engines.adam import lean_step
from albench.engines.batch import Batch, as_allocated, check_batch
from albench.engines.capture import record
from albench.engines.engine import intra_op_threads
from albench.engines.graph import PATIENCE
from albench.engines.lanes import cuda_lanes
from albench.engines.precision import exact_arithmetic
from albench.engines.slots import Layout, layout_of
from albench.errors import UsageError
from albench.methods.flops import back_propagation_flops
from albench.methods.network import twin
from albench.methods.stage_ticks import TickRunner
from albench.methods.stages import cut_stages
from albench.methods.trainer import Trainer, TrainerOptions, fixed_rate
from albench.prediction import frozen_view
from albench.schedule import StageTick

Clock = Callable[[int, int], list[StageTick]]
"""The ticks of a mini-batch for so many stages and microbatches."""


class Stages:
    """The stages of a network, each with its optimizer."""

    def __init__(self, parts: Sequence[nn.Sequential], learning_rate: float) -> None:
        self.parts = list(parts)
        self.optimizers = []
        for part in self.parts:
            parameters = list(part.parameters())
            on_cuda = parameters[0].is_cuda
            # On a device a float32 there, as AL's engines have it: Adam computes with a tensor in another last bit.
            rate: float | Tensor = learning_rate
            if on_cuda:
                rate = torch.full((), learning_rate, dtype=torch.float32, device=parameters[0].device)
            self.optimizers.append(torch.optim.Adam(parameters, lr=rate, fused=True, capturable=on_cuda))

    def drop_gradients(self) -> None:
        """Forget the gradients of the last mini-batch."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def snapshot(self) -> Callable[[], None]:
        """Return a function that puts weights and Adam's state back, in place: recordings hold addresses."""
        saved = [
            (optimizer, parameter, parameter.clone(), _clones(optimizer.state.get(parameter, {})))
            for optimizer in self.optimizers
            for parameter in optimizer.param_groups[0]["params"]
        ]

        @torch.no_grad()
        def put_back() -> None:
            for optimizer, parameter, weight, moments in saved:
                parameter.copy_(weight)
                for name, moment in optimizer.state.get(parameter, {}).items():
                    if moments:
                        moment.copy_(moments[name])
                    else:
                        moment.zero_()  # which is how Adam begins

        return put_back


def _clones(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


class StageStep:
    """The `albench.methods.stage_ticks.StageWork` of one mini-batch: x ``[B, …]``, y ``[B]`` or ``[B, C]``."""

    def __init__(self, stages: Stages, x: Tensor, y: Tensor, microbatches: int, loss: Tensor) -> None:
        """`loss`: a scalar to write the mean loss of the mini-batch to."""
        self.microbatches = min(microbatches, len(x))
        """Microbatches that there are: at least one instance each, and as even as can be."""
        self._stages = stages
        self._instances = len(x)
        self._x = x.tensor_split(self.microbatches)
        self._y = y.tensor_split(self.microbatches)
        self._loss = loss
        self._parts_of_loss: list[Tensor] = []
        self._leaves: dict[tuple[int, int], Tensor] = {}

    def forward(self, stage: int, microbatch: int, features: Tensor | None) -> Tensor:
        """Return the output of a stage; of the last stage: the microbatch's part of the mean loss, a scalar."""
        leaf = self._x[microbatch] if features is None else features.detach().requires_grad_()
        self._leaves[stage, microbatch] = leaf
        output: Tensor = self._stages.parts[stage](leaf)
        if stage + 1 < len(self._stages.parts):
            return output
        target = self._y[microbatch]
        # With equal microbatches this divides by exactly M.
        output = F.cross_entropy(output, target) / (self._instances / len(target))
        # Without its graph: that would keep the nodes that accumulate gradients, which remember their stream.
        self._parts_of_loss.append(output.detach())
        return output

    def backward(self, stage: int, microbatch: int, output: Tensor, gradient: Tensor | None) -> Tensor | None:
        """Add to the gradients of a stage, and return the gradient of what it took."""
        leaf = self._leaves.pop((stage, microbatch))
        torch.autograd.backward(output, gradient)
        return leaf.grad

    def finish(self, stage: int) -> None:
        """Update a stage; the last one also adds up the loss."""
        lean_step(self._stages.optimizers[stage])
        if stage + 1 == len(self._stages.parts):
            self._loss.copy_(functools.reduce(operator.add, self._parts_of_loss))


class _Recording(NamedTuple):
    """A step that was recorded for mini-batches of one layout."""

    layout: Layout
    x: Tensor
    """Where the step reads its mini-batch."""
    y: Tensor
    replay: Callable[[], None]


class StageLanesTrainer(Trainer):
    """The BP twin, trained stage by stage and microbatch by microbatch on the lanes of one GPU."""

    components = None
    affiliated_parameters = 0
    device_types: ClassVar[frozenset[str]] = frozenset({"cuda"})
    """Devices that it runs on; tests add the CPU, where all lanes are one."""

    def __init__(self, options: TrainerOptions, *, clock: Clock, captured: bool) -> None:
        """`clock`: `albench.schedule.gpipe` or `one_f_one_b`. `captured`: engine ``graph``, else ``streams``.

        ``options.lanes`` is the number of stages, ``options.microbatches`` M. Raises `UsageError` for a device that is
        no GPU, for more lanes than linear layers, and for what `clock` refuses.
        """
        if torch.device(options.device).type not in self.device_types:
            raise UsageError(
                f"engine {options.engine!r} runs on a CUDA device, its stages on lanes of it, and device is "
                f"{options.device!r}: use device 'cuda'"
            )
        ticks = clock(options.lanes, options.microbatches)
        rate = fixed_rate(options)
        self._network = twin(options).to(options.device)
        self._stages = Stages(cut_stages(self._network, options.lanes), rate)
        self._like = next(self._network.parameters())
        self._device = self._like.device
        self._lanes = cuda_lanes(options.lanes, self._device, options.lane_kind, options.lane_sms)
        self._runner = TickRunner(ticks, self._lanes)
        self._microbatches = options.microbatches
        self._classes = options.classes
        self._captured = captured
        self._recording: _Recording | None = None
        self._strangers: tuple[Layout, int] = (None, 0)
        """The layout of the last mini-batches that were not recorded, and how many in a row had it."""
        self._minibatches_seen = 0
        self._loss = torch.zeros((), dtype=options.dtype, device=self._device)
        self.recordings = 0
        """Steps recorded so far; replays do not count."""
        self.lanes = options.lanes
        self.lane_kind = "sm-share" if options.lane_kind == "sm-share" else "cuda-stream"
        self.device = options.device
        self.notes = self._lanes.notes
        self.effective_parameters = sum(p.numel() for p in self._network.parameters())

    def warm_up(self, batches: Sequence[Batch]) -> None:
        """Train on mini-batches and go back to the first weights; what was recorded stays."""
        put_back = self._stages.snapshot()
        self.train(batches)
        put_back()
        self._stages.drop_gradients()
        self._minibatches_seen = 0

    def train(self, batches: Iterable[Batch]) -> None:
        """Train on mini-batches, one step each. The host does not wait for the device."""
        if not self._lanes.streams:
            raise UsageError("the trainer is closed and has given its lanes back: make another one")
        with torch.enable_grad(), intra_op_threads(1), exact_arithmetic(self._device):
            for batch in batches:
                x, y = check_batch(batch, minibatch=self._minibatches_seen, classes=self._classes, like=self._like)
                if x.is_cuda:
                    x, y = as_allocated(x), as_allocated(y)
                if self._captured and self._fits(x, y):
                    self._replay(x, y)
                else:
                    self._step(x, y)
                self._minibatches_seen += 1

    def _step(self, x: Tensor, y: Tensor) -> None:
        """Launch one step on the caller's stream and the lanes."""
        self._stages.drop_gradients()
        step = StageStep(self._stages, x, y, self._microbatches, self._loss)
        self._runner.run(step, step.microbatches)

    def _fits(self, x: Tensor, y: Tensor) -> bool:
        """Whether there is a recording for this mini-batch; makes one for the first, and where shapes have changed."""
        layout = layout_of(x, y)
        if self._recording is not None and self._recording.layout == layout:
            self._strangers = (None, 0)
            return True
        known, count = self._strangers
        self._strangers = (layout, count + 1 if layout == known else 1)
        if self._recording is not None and self._strangers[1] <= PATIENCE:
            return False
        self._record(x, y)
        self._strangers = (None, 0)
        return True

    def _replay(self, x: Tensor, y: Tensor) -> None:
        assert self._recording is not None
        self._recording.x.copy_(x)
        self._recording.y.copy_(y)
        self._recording.replay()

    def _record(self, x: Tensor, y: Tensor) -> None:
        """Record a step for mini-batches like this one, which is not trained on."""
        self._release()
        static_x, static_y = x.clone(), y.clone()
        put_back = self._stages.snapshot()  # the recorder runs the step a few times for real
        try:
            replay = record(
                lambda: self._step(static_x, static_y),
                device=self._device,
                stream=self._lanes.streams[0] if self._device.type == "cuda" else None,
            )
        except Exception:
            with contextlib.suppress(RuntimeError):  # the failure itself may have left the device unusable
                if self._device.type == "cuda":
                    torch.cuda.synchronize(self._device)  # lanes may still be at work on what is freed now
                put_back()
            raise
        put_back()
        self._stages.drop_gradients()  # they lie in the recording's memory
        self._recording = _Recording(layout_of(x, y), static_x, static_y, replay)
        self.recordings += 1

    def _release(self) -> None:
        """Forget the recording, and with it its memory."""
        if self._recording is not None and self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # its last replay may still be at work
        self._recording = None

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Return the logits for x ``[B, …]``, without a graph: its nodes would remember the caller's stream."""
        logits: Tensor = frozen_view(self._network)(x)
        return logits

    @property
    def network(self) -> nn.Module:
        """The whole network; its stages share its parameters."""
        return self._network

    @property
    def losses(self) -> list[dict[str, float]]:
        """The cross-entropy of the last mini-batch. Waits for the device."""
        return [{"cross-entropy": self._loss.item()}] if self._minibatches_seen else []

    def flops(self, batch: Batch) -> int:
        """Return the operations of one step on `batch`."""
        return back_propagation_flops(self._network, batch)

    def close(self) -> None:
        """Give back the recording and the lanes. The network stays usable."""
        self._release()
        self._lanes.close()
