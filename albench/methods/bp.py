"""BP: back-propagation through the twin network, on one process and K intra-op threads.

The step that a user would write: softmax cross-entropy, backward, one fused Adam over all parameters. How it is
launched is the engine: "eager", "compiled", "graph" or "compiled-graph" (`albench.methods.step`). K threads share each
operator's work, which is the other way to use the hardware that AL uses for K lanes.

The last two can be held to one share of a GPU's multiprocessors (lane kind "sm-share"), which stands in for a device:
the BP of one lane, beside which pipelines on such shares are to be seen.

On a CUDA device the arithmetic is that of AL's engines: products in float32, fixed kernels, the learning rate a float32
on the device, in every engine of BP. So they end with the same bits, and neither method is timed with the faster sums.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from albench.decay import decay_groups
from albench.engines.adam import tensorflow_epsilon
from albench.engines.batch import Batch, as_allocated, check_batch
from albench.engines.engine import intra_op_threads
from albench.engines.lanes import Lanes, cuda_lanes
from albench.engines.options import EngineOptions
from albench.engines.precision import exact_arithmetic
from albench.engines.span_log import SPANS_KEPT, SpanLog, anchor_watches, watch_of
from albench.engines.state import load_moments, moments_fit, moments_of
from albench.errors import UsageError
from albench.methods.flops import back_propagation_flops
from albench.methods.kept_state import refuse_unfit
from albench.methods.network import twin
from albench.methods.step import Snapshot, make_step
from albench.methods.trainer import Trainer, TrainerOptions
from albench.prediction import frozen_view
from albench.trace import Span

FORMAT, VERSION = "albench-bp", 1


class BackPropagationTrainer(Trainer):
    """The twin of AL's prediction path, trained end to end."""

    lane_kind = "intra-op-thread"
    components = None
    affiliated_parameters = 0

    def __init__(self, options: TrainerOptions) -> None:
        self.device = options.device
        device = torch.device(options.device)
        self._network = twin(options).to(device)
        on_cuda = device.type == "cuda"
        if on_cuda:
            self.lane_kind = "cuda-stream"
        self._rates = EngineOptions(
            learning_rate=options.learning_rate, weight_decay=options.weight_decay, epsilon=options.epsilon
        )
        self._rate = rate = self._rates.rate_at(0)
        self._optimizer = torch.optim.Adam(
            decay_groups(self._network, options.decayed, self._rates.weight_decay),
            lr=torch.full((), rate, dtype=torch.float32, device=device) if on_cuda else rate,
            fused=True,
            capturable=on_cuda,
        )
        self._share: Lanes | None = None
        if options.lane_kind == "sm-share":
            self._share = cuda_lanes(1, device, options.lane_kind, options.lane_sms)
            self.lane_kind = "sm-share"
        stream = self._share.streams[0] if self._share else None
        self._step = make_step(options.engine, self._network, self._optimizer, device, stream=stream)
        if options.epsilon != "torch" and self._step.recorded:
            raise UsageError(
                f"epsilon is {options.epsilon!r} and engine {options.engine!r} records its update with torch's: "
                "give epsilon 'torch', or engine 'eager' or 'compiled'"
            )
        self._step.notes += self._share.notes if self._share else ()
        self.notes = self._step.notes
        self._log = SpanLog(watch_of(device), SPANS_KEPT) if options.trace else None
        self._advance = self._step if self._log is None else self._traced(self._log)
        self._classes = options.classes
        self._minibatches_seen = 0
        self._last_loss: Tensor | None = None
        self.lanes = options.lanes
        self.effective_parameters = sum(p.numel() for p in self._network.parameters())

    def warm_up(self, batches: Sequence[Batch]) -> None:
        """Train on mini-batches, which compiles or records the step, and go back to where training was."""
        before = Snapshot(self._network, self._optimizer)
        minibatches_seen, last_loss = self._minibatches_seen, self._last_loss
        self.train(batches)
        before.restore()
        self._minibatches_seen, self._last_loss = minibatches_seen, last_loss
        if self._log is not None:
            self._log.clear()
            anchor_watches()

    def train(self, batches: Iterable[Batch]) -> None:
        """Train on mini-batches, one step each."""
        like = next(self._network.parameters())
        own = self._share.in_turn(0) if self._share else contextlib.nullcontext()
        with torch.enable_grad(), intra_op_threads(self.lanes), exact_arithmetic(like.device), own:
            for batch in batches:
                # The same look at the input that AL's engines take, so that neither has the shorter way.
                x, y = check_batch(batch, minibatch=self._minibatches_seen, classes=self._classes, like=like)
                if x.is_cuda:
                    x, y = as_allocated(x), as_allocated(y)
                self._prepare_update()
                self._last_loss = self._advance(x, y)
                self._minibatches_seen += 1

    def _prepare_update(self) -> None:
        """Let the next update have the rate and the ε of its mini-batch."""
        groups, minibatch = self._optimizer.param_groups, self._minibatches_seen
        if (rate := self._rates.rate_at(minibatch)) != self._rate:
            for group in groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate)  # where a recording reads it
                else:
                    group["lr"] = rate
            self._rate = rate
        if self._rates.epsilon == "tensorflow":
            for group in groups:
                group["eps"] = tensorflow_epsilon(minibatch + 1)

    def state_dict(self) -> dict[str, Any]:
        """Return weights, buffers, Adam's state and mini-batches seen: what any engine of BP can go on from."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "minibatches": self._minibatches_seen,
            "weights": {name: value.clone() for name, value in self._network.state_dict().items()},
            "optimizer": moments_of(self._optimizer, dict(self._network.named_parameters())),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned. Everything stays where it lies, for recordings hold addresses."""
        parameters = dict(self._network.named_parameters())
        refuse_unfit(state, self._network, method="bp", version=VERSION, fields=set())
        if not moments_fit(state["optimizer"], parameters):
            raise UsageError("the optimizer's state does not fit the network's parameters")
        self._network.load_state_dict(state["weights"])
        load_moments(self._optimizer, parameters, state["optimizer"])
        self._optimizer.zero_grad(set_to_none=True)
        self._minibatches_seen, self._last_loss = state["minibatches"], None
        if self._log is not None:
            self._log.clear()

    @property
    def network(self) -> nn.Module:
        """The twin, with the weights that training has come to."""
        return self._network

    def _traced(self, log: SpanLog) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the step, with a span a call."""

        def advance(x: Tensor, y: Tensor) -> Tensor:
            start = log.mark()
            loss = self._step(x, y)
            log.add(start, log.mark(), 0, ((0, self._minibatches_seen),))
            return loss

        return advance

    @property
    def spans(self) -> list[Span]:
        """When each step since the warm-up ran, as the one task of its mini-batch."""
        return self._log.spans() if self._log is not None else []

    def predict(self, x: Tensor) -> Tensor:
        """Return the logits for x ``[B, …]``."""
        logits: Tensor = frozen_view(self._network)(x)
        return logits

    def close(self) -> None:
        """Give back the recording and the share of the multiprocessors. The network stays usable."""
        if self._share is not None:
            self._step.release()
            self._share.close()

    @property
    def losses(self) -> list[dict[str, float]]:
        """The cross-entropy of the last mini-batch."""
        return [{"cross-entropy": self._last_loss.item()}] if self._last_loss is not None else []

    def flops(self, batch: Batch) -> int:
        """Return the floating-point operations of the matrix products of one step on `batch`, whatever the engine."""
        return back_propagation_flops(self._network, batch)


def make_trainer(options: TrainerOptions) -> Trainer:
    """Return a BP trainer."""
    return BackPropagationTrainer(options)
