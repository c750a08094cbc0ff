"""Pipelined back-propagation: the schedules of torch.distributed.pipelining, one process a lane.

The BP twin is cut into stages. A mini-batch is cut into M microbatches, which follow each other through the stages
forward and backward; when the last gradient is there each process updates its own stages. Then the pipeline is empty:
the next mini-batch needs the weights that this one leaves. That is the bubble, and more microbatches make it smaller
and each matrix product less efficient. The schedules differ in the order:

    GPipe              all forward passes, then all backward passes
    1F1B               backward as soon as possible: the same bubble, fewer activations held
    interleaved 1F1B   two stages a process, K apart: half the bubble, twice the messages
    zero bubble        two stages a process in a V; weight gradients are put off to fill the bubble (ZBV)

The gradient is that of the mean loss of the mini-batch, so all of them train as back-propagation does, to rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed import pipelining
from torch.nn import functional as F

from albench.engines.adam import forget, lean_step
from albench.engines.batch import check_batch
from albench.engines.precision import exact_arithmetic
from albench.engines.span_log import SPANS_KEPT, SpanLog, anchor_watches, in_order, watch_of
from albench.errors import UsageError
from albench.methods.network import twin
from albench.methods.stages import cut_stages
from albench.methods.team_trainer import Member, TeamTrainer
from albench.methods.trainer import TrainerOptions, fixed_rate
from albench.trace import Span

SCHEDULES: dict[str, tuple[str, str]] = {
    "gpipe": ("ScheduleGPipe", "one"),
    "1f1b": ("Schedule1F1B", "one"),
    "interleaved-1f1b": ("ScheduleInterleaved1F1B", "loop"),
    "zero-bubble": ("ScheduleZBVZeroBubble", "v"),
}
"""torch's class of each method, and which stages a process holds (`stages_of`)."""


def stages_of(rank: int, size: int, layout: str) -> list[int]:
    """Return the stages of a process: one; two that are `size` apart ("loop"); or two that mirror each other ("v")."""
    return {"one": [rank], "loop": [rank, rank + size], "v": [rank, 2 * size - 1 - rank]}[layout]


class Stage(pipelining.PipelineStage):
    """torch's stage, which may be a neighbour of its own process."""

    def _get_init_p2p_neighbors_ops(self) -> list[distributed.P2POp]:
        # Before 2.12 torch opens connections by sending to both neighbours, and fails where a V turns: one of them is
        # on the same process, which gets what it hands itself without a connection.
        ops = super()._get_init_p2p_neighbors_ops()  # type: ignore[misc]
        return [op for op in ops if op.group_peer != self.group_rank]


class TracedStage(Stage):
    """torch's stage with a log of when it went forward and backward; what it waits for lies outside of these calls."""

    timed: Callable[..., Any]
    """Makes a call, and keeps the span of an action of a stage (`PipelineMember`)."""

    def forward_one_chunk(self, fwd_chunk_id: int, *arguments: Any, **named: Any) -> Any:
        """Go forward on a microbatch."""
        go = super().forward_one_chunk
        return self.timed(self.stage_index, f"F{fwd_chunk_id}", go, fwd_chunk_id, *arguments, **named)

    def backward_one_chunk(self, bwd_chunk_id: int, *arguments: Any, full_backward: bool = True, **named: Any) -> Any:
        """Go backward on a microbatch, to the weights too or to the input alone."""
        action = f"{'B' if full_backward else 'I'}{bwd_chunk_id}"
        go = functools.partial(super().backward_one_chunk, full_backward=full_backward)
        return self.timed(self.stage_index, action, go, bwd_chunk_id, *arguments, **named)

    def backward_weight_one_chunk(self, bwd_chunk_id: int, *arguments: Any, **named: Any) -> Any:
        """Go backward on a microbatch, from where the input's gradient has been found, to the weights."""
        go = super().backward_weight_one_chunk
        return self.timed(self.stage_index, f"W{bwd_chunk_id}", go, bwd_chunk_id, *arguments, **named)


class PipelineMember(Member):
    """One process's stages, their schedule and their optimizer."""

    def __init__(self, options: TrainerOptions, rank: int, size: int, *, method: str) -> None:
        super().__init__(f"cuda:{torch.cuda.current_device()}" if options.device == "cuda" else "cpu")
        schedule, layout = SCHEDULES[method]
        self._mine = stages_of(rank, size, layout)
        self._count = size * len(self._mine)
        self._classes = options.classes
        self._microbatches = options.microbatches
        network = twin(options).to(self.device)
        cut = cut_stages(network, self._count)
        self._modules = {i: cut[i] for i in self._mine}
        # Named as in the whole network: stages keep the names.
        self._parameters = {name: p for m in self._modules.values() for name, p in m.named_parameters()}
        self._first_weights = {name: p.detach().clone() for name, p in self._parameters.items()}
        self._like = next(iter(self._parameters.values()))
        self._optimizer = torch.optim.Adam(self._parameters.values(), lr=fixed_rate(options), fused=True)
        self._rank = rank
        self._log = SpanLog(watch_of(self.device), SPANS_KEPT) if options.trace else None
        self._update: Callable[[], object] = functools.partial(lean_step, self._optimizer)
        stages = [self._stage(i, module) for i, module in self._modules.items()]
        if self._log is not None:
            self._update = functools.partial(self._timed, self._log, self._mine[0], "U", self._update)
        make = getattr(pipelining, schedule)
        self._schedule: Any = make(stages[0] if layout == "one" else stages, options.microbatches, F.cross_entropy)
        self._last_rank = next(r for r in range(size) if self._count - 1 in stages_of(r, size, layout))
        self._instances: int | None = None

    def train(self, key: int) -> list[dict[str, float]]:
        """Train on mini-batches that were taken; all of them must have as many instances as the first ever."""
        loss = torch.zeros((), dtype=self._like.dtype, device=self.device)
        with torch.enable_grad(), exact_arithmetic(self.device):
            for batch in self._batches[key]:
                x, y = check_batch(batch, minibatch=self.minibatches_seen, classes=self._classes, like=self._like)
                self._check_size(len(y))
                self._optimizer.zero_grad(set_to_none=True)
                losses: list[torch.Tensor] = []
                inputs = (x,) if 0 in self._mine else ()
                if self._count - 1 in self._mine:
                    self._schedule.step(*inputs, target=y, losses=losses, return_outputs=False)
                    loss = torch.stack([one.detach() for one in losses]).mean()
                else:
                    self._schedule.step(*inputs, return_outputs=False)
                self._update()
                self.minibatches_seen += 1
        distributed.broadcast(loss, self._last_rank)
        return [{"cross-entropy": loss.item()}]

    def _stage(self, index: int, module: nn.Module) -> Stage:
        if self._log is None:
            return Stage(module, index, self._count, self.device)
        stage = TracedStage(module, index, self._count, self.device)
        stage.timed = functools.partial(self._timed, self._log)
        return stage

    def _timed(
        self, log: SpanLog, stage: int, action: str, call: Callable[..., Any], *arguments: Any, **named: Any
    ) -> Any:
        """Make a call, and keep when it began and ended."""
        start = log.mark()
        result = call(*arguments, **named)
        log.add(start, log.mark(), self._rank, ((stage, self.minibatches_seen),), action)
        return result

    def spans(self) -> list[tuple[Any, ...]]:
        """Return when every action of every stage ran, on all members, as plain tuples."""
        parts: list[Any] = [None] * distributed.get_world_size()
        own = [tuple(span) for span in in_order([self._log] if self._log is not None else [])]
        distributed.all_gather_object(parts, own)
        return [span for part in parts for span in part]

    def _check_size(self, instances: int) -> None:
        if self._instances not in (None, instances):
            raise UsageError(
                f"mini-batch {self.minibatches_seen} has {instances} instances and the first had {self._instances}: "
                "pipeline stages exchange tensors of one shape, drop the last mini-batch of an epoch"
            )
        if instances % self._microbatches:
            raise UsageError(
                f"a mini-batch of {instances} cannot be cut into {self._microbatches} equal microbatches: "
                "give a number that divides it"
            )
        self._instances = instances

    def gradients(self) -> dict[str, torch.Tensor]:
        """Return the gradients that the last step left, of all stages, by the network's names; None are left out."""
        return self._of_all({name: p.grad.cpu() for name, p in self._parameters.items() if p.grad is not None})

    def reset(self) -> None:
        """Go back to the first weights and an optimizer that has seen nothing."""
        with torch.no_grad():
            for name, p in self._parameters.items():
                p.copy_(self._first_weights[name])
        forget(self._optimizer)
        self.minibatches_seen = 0
        if self._log is not None:
            self._log.clear()
            anchor_watches()

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the state of the whole network."""
        return self._of_all({name: p.detach().cpu() for name, p in self._parameters.items()})

    def _of_all(self, own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        parts: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(parts, own)
        return {name: tensor for part in parts for name, tensor in part.items()}


class PipelineTrainer(TeamTrainer):
    """One of the schedules above, as the harness sees it."""

    def __init__(self, options: TrainerOptions, *, method: str) -> None:
        self.stages = options.lanes * len(stages_of(0, options.lanes, SCHEDULES[method][1]))
        fixed_rate(options)
        network = twin(options)
        cut = cut_stages(network, self.stages)  # refused here, before a process is started
        member = functools.partial(PipelineMember, method=method)
        super().__init__(options, member, network, processes=options.lanes)
        self.notes = [f"linear layers of each stage: {', '.join(map(str, _linear_layers(cut)))}"]

    @property
    def spans(self) -> list[Span]:
        """When each action of each stage since the warm-up ran."""
        return [Span(*span) for span in self.team.call("spans")] if self._options.trace else []


def _linear_layers(stages: Sequence[nn.Module]) -> list[int]:
    return [sum(isinstance(layer, nn.Linear) for layer in stage.modules()) for stage in stages]
