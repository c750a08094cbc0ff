"""Options that every engine takes, checked where they are made."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, get_args

from albench.errors import UsageError
from albench.machine import LANE_KINDS, LaneKind

LearningRate = float | Callable[[int], float]
"""A rate, or a function of the mini-batch index k (not of the tick), so that every engine sees the same rates."""

Epsilon = Literal["torch", "tensorflow"]
"""Where Adam's ε stands: added to √v after the bias correction, or before it as TensorFlow 1 does."""


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How an engine trains."""

    learning_rate: LearningRate = 1e-4
    """Base rate of Adam, or a function of the mini-batch index k, counted from 0 over all calls of ``fit``."""
    weight_decay: float = 0.0
    """L2 penalty, added to the gradient as ``torch.optim.Adam`` does; each parameter group has a factor of it."""
    epsilon: Epsilon = "torch"
    """Where Adam's ε stands (`albench.engines.adam.tensorflow_epsilon`); it matters where gradients come near 1e-8."""
    distinct_targets: bool | Literal["auto"] = "auto"
    """Whether the target side runs on the distinct rows of a mini-batch; "auto": where they are fewer."""
    lanes: int | None = None
    """K; None: as many as are useful on this machine. More than there are components are capped."""
    lane_kind: LaneKind = "stream"
    """What a lane on a GPU is: a stream, or a stream on its own share of the multiprocessors. CPU lanes ignore it."""
    lane_sms: int | None = None
    """Multiprocessors of each such share; None: as many as an even split gives."""
    trace: bool = False
    """Whether to record an `albench.trace.Span` for every task."""
    compile: bool | Literal["auto"] = "auto"
    """Whether `fused` compiles its tick, which takes ten to thirty seconds once; "auto": in long runs. Others ignore
    it."""

    link: Literal["auto", "ring", "gloo", "nccl"] = "auto"
    """Between processes: memory that both see ("ring"), the network ("gloo"), or from GPU to GPU ("nccl"); "auto": the
    last where every process has a GPU of its own, else a ring on one host."""
    rank_timeout_seconds: float = 30.0
    """A process of a job that shows no life for so long is taken for dead, and the job ends."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense, in one line; make plain numbers of numpy's and others."""
        if not callable(self.learning_rate):
            _check_rate(self.learning_rate)
        if not (isinstance(self.weight_decay, Real) and math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise UsageError(f"weight_decay is {self.weight_decay!r}: give a finite number of at least 0")
        if self.epsilon not in get_args(Epsilon):
            raise UsageError(f'epsilon is {self.epsilon!r}: give "torch" or "tensorflow"')
        if self.distinct_targets not in (True, False, "auto"):
            raise UsageError(f'distinct_targets is {self.distinct_targets!r}: give True, False or "auto"')
        if self.trace not in (True, False):
            raise UsageError(f"trace is {self.trace!r}: give True or False")
        if self.compile not in (True, False, "auto"):
            raise UsageError(f'compile is {self.compile!r}: give True, False or "auto"')
        if self.lanes is not None and not (isinstance(self.lanes, Integral) and self.lanes >= 1):
            raise UsageError(f"lanes is {self.lanes!r}: give a whole number of at least 1")
        if self.lane_kind not in LANE_KINDS:
            raise UsageError(f'lane_kind is {self.lane_kind!r}: give "stream" or "sm-share"')

        if self.lane_sms is not None:
            if not (isinstance(self.lane_sms, Integral) and self.lane_sms >= 1):
                raise UsageError(f"lane_sms is {self.lane_sms!r}: give a whole number of at least 1, or None")
            if self.lane_kind != "sm-share":
                raise UsageError(f'lane_sms is {self.lane_sms}: give lane_kind "sm-share" with it')
        if self.link not in ("auto", "ring", "gloo", "nccl"):
            raise UsageError(f'link is {self.link!r}: give "auto", "ring", "gloo" or "nccl"')
        seconds = self.rank_timeout_seconds
        if not (isinstance(seconds, Real) and math.isfinite(seconds) and seconds >= 1):
            raise UsageError(f"rank_timeout_seconds is {seconds!r}: give a finite number of at least 1")
        # Engines compute with these and send them: a float32 or a fraction would be another number in some of them.
        plain: dict[str, Any] = {"weight_decay": float(self.weight_decay), "rank_timeout_seconds": float(seconds)}
        plain["trace"] = bool(self.trace)
        if not callable(self.learning_rate):
            plain["learning_rate"] = float(self.learning_rate)
        for name in ("lanes", "lane_sms"):
            if getattr(self, name) is not None:
                plain[name] = int(getattr(self, name))
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def replaced(self, **changes: Any) -> EngineOptions:
        """Return a copy with some options changed."""
        return dataclasses.replace(self, **changes)

    def rate_at(self, minibatch: int) -> float:
        """Return the base rate for mini-batch k."""
        if not callable(self.learning_rate):
            return self.learning_rate
        rate = self.learning_rate(minibatch)
        try:
            number = float(rate)
        except (TypeError, ValueError):
            raise UsageError(f"learning_rate of mini-batch {minibatch} is {rate!r}: return a finite number") from None
        _check_rate(number)
        return number


def _check_rate(rate: float) -> None:
    # A tensor is refused too: its rate would differ from a float's in the last bit, and so would the engines.
    if not (isinstance(rate, Real) and math.isfinite(rate) and rate > 0):
        raise UsageError(f"learning_rate is {rate!r}: give a finite number above 0")
