"""Methods: what is compared, one file a method, all behind one interface.

A method turns a network description into a `Trainer`: something that trains on mini-batches and predicts. Which
engines a method can run on is said here, without importing torch, so that bad names are refused in a millisecond.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from albench.errors import UsageError, unknown_name
from albench.trace import SpanUnit

if TYPE_CHECKING:
    from albench.methods.trainer import Trainer, TrainerOptions


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method as the command line knows it."""

    title: str
    """Its name in tables and figures."""
    engines: tuple[str, ...]
    """The engines that can run it, the default first."""
    cuda_engines: tuple[str, ...] = ()
    """Those of them that run on a CUDA device only."""
    lane_engines: tuple[str, ...] = ()
    """Those of them whose lanes each run a part of the network (or a copy of it) of their own, rather than sharing
    every operator as intra-op threads do."""
    microbatches: tuple[int, ...] = ()
    """M that a suite tries, where the method cuts a mini-batch into microbatches; empty: it does not."""
    chunks: int = 1
    """Stages that each lane holds, where the method cuts the network into stages."""
    module: str
    """The module that makes its trainer: a function ``make_trainer(options)``."""


METHODS: dict[str, Method] = {
    "al": Method(
        title="AL",
        engines=("serial", "threads", "ranks", "fused", "fused-compiled", "streams", "graph"),
        cuda_engines=("streams", "graph"),
        lane_engines=("threads", "ranks", "streams", "graph"),
        module="albench.methods.al",
    ),
    "bp": Method(
        title="BP",
        engines=("eager", "compiled", "graph", "compiled-graph"),
        cuda_engines=("graph", "compiled-graph"),
        module="albench.methods.bp",
    ),
    "gpipe": Method(
        title="GPipe",
        engines=("ranks", "streams", "graph"),
        cuda_engines=("streams", "graph"),
        lane_engines=("ranks", "streams", "graph"),
        microbatches=(1, 2, 4, 8, 32),
        module="albench.methods.gpipe",
    ),
    "1f1b": Method(
        title="1F1B",
        engines=("ranks", "streams", "graph"),
        cuda_engines=("streams", "graph"),
        lane_engines=("ranks", "streams", "graph"),
        microbatches=(2, 4, 8, 32),
        module="albench.methods.one_f_one_b",
    ),
    "interleaved-1f1b": Method(
        title="Interleaved 1F1B",
        engines=("ranks",),
        lane_engines=("ranks",),
        microbatches=(2, 4, 8, 32),
        chunks=2,
        module="albench.methods.interleaved",
    ),
    "zero-bubble": Method(
        title="Zero bubble",
        engines=("ranks",),
        lane_engines=("ranks",),
        microbatches=(2, 4, 8, 32),
        chunks=2,
        module="albench.methods.zero_bubble",
    ),
    "ddp": Method(title="DDP", engines=("ranks",), lane_engines=("ranks",), module="albench.methods.ddp"),
    "al-ddp": Method(
        title="AL + DDP", engines=("threads",), lane_engines=("threads",), module="albench.methods.al_ddp"
    ),
    "dtp": Method(title="DTP", engines=("eager",), module="albench.methods.dtp"),
    "idle": Method(title="Idle", engines=("eager",), module="albench.methods.idle"),
}
FOLDED = ("al", "al-ddp")
"""The methods that train the folded AL network; all others train its BP twin."""
ANY_NETWORK = ("al", "bp", "idle")
"""The methods that take every kind of network; all others take the MLP only."""
SCHEDULED = ("al", "bp", "dtp")
"""The methods whose learning rate may change from one mini-batch to the next."""
KEPT = ("al", "bp", "dtp")
"""The methods whose state can be kept, so that a run that was stopped goes on."""
WITH_ADAM_OPTIONS = ("al", "bp")
"""The methods that take weight decay and TensorFlow's ε; all others have Adam without, or no Adam."""


SPAN_UNITS: dict[str, dict[str, SpanUnit]] = {
    "al": {
        "serial": "task",
        "threads": "task",
        "ranks": "task",
        "streams": "task",
        "fused": "tick",
        "fused-compiled": "tick",
        "graph": "tick",
    },
    "bp": {"eager": "step", "compiled": "step", "graph": "step", "compiled-graph": "step"},
    **{name: {"ranks": "action"} for name in ("gpipe", "1f1b", "interleaved-1f1b", "zero-bubble")},
}
"""By method and engine: what has a start and an end of its own, where that is known; all else cannot be traced."""


def method_named(name: str) -> Method:
    """Return the method called `name`; an unknown name is a `UsageError` with the nearest names."""
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name]


def lanes_run_components(method: str, engine: str) -> bool:
    """Whether the lanes of this engine each run a part of the network, rather than sharing every operator."""
    return engine in method_named(method).lane_engines


def lanes_of_one_gpu(method: str, engine: str) -> bool:
    """Whether the lanes of this engine are streams of one GPU, which may each have multiprocessors of their own.

    BP's recorded step is one lane of them.
    """
    return engine in method_named(method).cuda_engines


def span_unit(method: str, engine: str) -> SpanUnit:
    """Return what a span of a trace is; `UsageError` where this method on this engine cannot be traced."""
    found = SPAN_UNITS.get(method, {}).get(engine)
    if found is None:
        known = "; ".join(f"{method_named(name).title} on {', '.join(units)}" for name, units in SPAN_UNITS.items())
        raise UsageError(
            f"{method_named(method).title} on engine {engine!r} does not tell when its parts ran, and cannot be "
            f"traced: what can be is {known}"
        )
    return found


def make_trainer(method: str, options: TrainerOptions) -> Trainer:
    """Return a trainer of `method`, freshly initialised from ``options.seed``."""
    module = importlib.import_module(method_named(method).module)
    trainer: Trainer = module.make_trainer(options)
    return trainer
