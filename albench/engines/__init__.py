"""Engines: what really runs a schedule on lanes, one file an engine.

from albench.engines import make_engine
with make_engine("threads", network, learning_rate=1e-4, lanes=2) as engine:
    engine.fit(batches)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Literal

import torch

from albench.engines.engine import Engine, as_network
from albench.engines.errors import ComponentError, RankError
from albench.engines.options import EngineOptions, Epsilon, LearningRate
from albench.errors import unknown_name
from albench.machine import LaneKind

if TYPE_CHECKING:
    from albench.component import ComponentNetwork

ENGINES: dict[str, tuple[str, str]] = {
    "serial": ("albench.engines.serial", "SerialEngine"),
    "threads": ("albench.engines.threads", "ThreadsEngine"),
    "ranks": ("albench.engines.ranks", "RanksEngine"),
    "fused": ("albench.engines.fused", "FusedEngine"),
    "streams": ("albench.engines.streams", "StreamsEngine"),
    "graph": ("albench.engines.graph", "GraphEngine"),
}
"""Name → module and class; a module is imported when its engine is made."""

__all__ = [
    "ENGINES",
    "ComponentError",
    "Engine",
    "EngineOptions",
    "Epsilon",
    "LearningRate",
    "RankError",
    "make_engine",
]


def make_engine(
    name: str,
    network: ComponentNetwork,
    *,
    learning_rate: LearningRate = 1e-4,
    weight_decay: float = 0.0,
    epsilon: Epsilon = "torch",
    distinct_targets: bool | Literal["auto"] = "auto",
    lanes: int | None = None,
    lane_kind: LaneKind = "stream",
    lane_sms: int | None = None,
    trace: bool = False,
    link: Literal["auto", "ring", "gloo", "nccl"] = "auto",
    rank_timeout_seconds: float = 30.0,
    compile: bool | Literal["auto"] = "auto",
) -> Engine:
    """Return the engine called `name` for `network`, ready to ``fit``.

    `learning_rate` is the base rate of Adam or a function of the mini-batch index. `epsilon` "tensorflow" puts Adam's ε
    where TensorFlow 1 has it, on engines that launch updates one by one. `lanes` None stands for as many as
    are useful here; more lanes than components are capped, which ``engine.notes`` says. `lane_kind` "sm-share" gives
    each lane of `streams` and `graph` multiprocessors of its own, `lane_sms` of them where that is given. `trace`: keep
    in ``engine.spans`` when each task ran and on which lane (`albench.trace.Span`); the results are the same to the
    bit, and without it tasks run as if there were no such thing. `link` and `rank_timeout_seconds` are for "ranks": how
    its processes hand on, and when a silent one is taken for dead. `compile` is for "fused": when it compiles its tick.

    Raises `UsageError` for an unknown name, an option out of range, or a network that the engine cannot run.
    """
    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)
    options = EngineOptions(
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        epsilon=epsilon,
        distinct_targets=distinct_targets,
        lanes=lanes,
        lane_kind=lane_kind,
        lane_sms=lane_sms,
        trace=trace,
        link=link,
        rank_timeout_seconds=rank_timeout_seconds,
        compile=compile,
    )
    module, kind = ENGINES[name]
    engine_class: type[Engine] = getattr(importlib.import_module(module), kind)
    with torch.inference_mode(False):  # what an engine allocates outlives the caller's mode
        return engine_class(as_network(network), options)
