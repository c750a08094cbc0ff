"""What each engine is worth: in turns with the engine, or the BP, that it has to beat.

Where arithmetic rules (width 1024, batch 256) lanes are the question; where launches rule (width 32, batch 16)
stacking is. BP is the twin network of the same depth and width; its best of eager and compiled is the baseline.
"""

from __future__ import annotations

import functools
import shutil

import pytest
import torch

from albench.engines import make_engine
from albench.methods.trainer import TrainerOptions
from albench.networks import associated_mlp
from benchmarks.contest import Contender

CLASSES = 10
LEARNING_RATE = 1e-3

WIDE = {"in_features": 784, "hidden_layers": 8, "width": 1024, "batch_size": 256, "minibatches": 48}
"""The width of the paper's MLPs, on inputs as large as MNIST's."""
NARROW = {"in_features": 64, "hidden_layers": 64, "width": 32, "batch_size": 16, "minibatches": 512}
SMOKE = {"in_features": 64, "hidden_layers": 4, "width": 16, "batch_size": 8, "minibatches": 8}
WIDTHS = (32, 64, 128, 256)


@functools.cache
def batches(in_features: int, batch_size: int, minibatches: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return random mini-batches: time does not depend on what is in them."""
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.randn(batch_size, in_features, generator=generator),
            torch.randint(CLASSES, (batch_size,), generator=generator),
        )
        for _ in range(minibatches)
    ]


@pytest.fixture
def al(request):
    """Return a function that makes a contender of an AL engine, closed after the test."""

    def make(engine: str, sizes: dict[str, int], **options) -> Contender:
        net = associated_mlp(
            in_features=sizes["in_features"],
            width=sizes["width"],
            hidden_layers=sizes["hidden_layers"],
            classes=CLASSES,
            seed=0,
        )
        made = make_engine(engine, net, learning_rate=LEARNING_RATE, **options)
        request.addfinalizer(made.close)
        data = batches(sizes["in_features"], sizes["batch_size"], sizes["minibatches"])
        lanes = f", {made.lanes} lanes" if made.lanes > 1 else ""
        rows = ", all target rows" if options.get("distinct_targets") is False else ""
        compiled = " compiled" if options.get("compile") is True else ""
        name = f"AL {engine}{compiled}{lanes}{rows}, ℓ = {sizes['hidden_layers']}"
        return Contender(name=name, run=lambda: made.fit(data), minibatches=len(data))

    return make


@pytest.fixture
def bp(ready):
    """Return a function that makes a contender of BP on the twin network, ready compiled if it is to be."""

    def make(sizes: dict[str, int], *, threads: int = 1, compiled: bool = False) -> Contender:
        options = TrainerOptions(
            engine="compiled" if compiled else "eager",
            in_features=sizes["in_features"],
            classes=CLASSES,
            width=sizes["width"],
            hidden_layers=sizes["hidden_layers"],
            lanes=threads,
            learning_rate=LEARNING_RATE,
        )
        data = batches(sizes["in_features"], sizes["batch_size"], sizes["minibatches"])
        trainer, sent = ready("bp", options, data)
        on = f", {threads} threads" if threads > 1 else ""
        return Contender(
            name=f"BP {options.engine}{on}, ℓ = {sizes['hidden_layers']}",
            run=lambda: trainer.train(sent),
            minibatches=len(data),
        )

    return make


@pytest.fixture
def compiles(request):
    """Whether what can be compiled is: not without a compiler, nor in a smoke run, which it would take minutes."""
    return shutil.which("g++") is not None and not request.config.getoption("--smoke")


@pytest.mark.parametrize(("engine", "target"), [("threads", "≥ 1.7"), ("ranks", "≥ 1.5")], ids=["threads", "ranks"])
def test_lanes_against_serial(al, contest, sizes, engine, target):
    wide = sizes(WIDE)
    contest("two lanes overlap", al(engine, wide, lanes=2), [(al("serial", wide), target)])


def test_distinct_targets_against_bp_on_one_thread(al, bp, contest, sizes):
    wide = sizes(WIDE)
    contest(
        "AL's step costs no more than BP's",
        al("serial", wide),
        [(bp(wide), "≥ 0.91"), (al("serial", wide, distinct_targets=False), "")],
    )


def test_lanes_against_intra_op_threads(al, bp, contest, sizes):
    """The same two cores used the other way."""
    wide = sizes(WIDE)
    contest("two lanes beat BP on two threads", al("threads", wide, lanes=2), [(bp(wide, threads=2), "> 1")])


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_depth_costs_fused_little(al, contest, sizes, compiles, compiled):
    """T(64)/T(2) is one over the ratio against its own shallow network."""
    if compiled and not compiles:
        pytest.skip("nothing is compiled in a smoke run, or without g++")
    made = [al("fused", sizes(NARROW, **depth), lanes=1, compile=compiled) for depth in ({}, {"hidden_layers": 2})]
    contest("T(ℓ = 2) / T(ℓ = 64), stacked", made[0], [(made[1], "≥ 0.40")])


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_depth_costs_bp_much(bp, contest, sizes, compiles, compiled):
    if compiled and not compiles:
        pytest.skip("nothing is compiled in a smoke run, or without g++")
    made = [bp(sizes(NARROW, **depth), compiled=compiled) for depth in ({}, {"hidden_layers": 2})]
    contest("T(ℓ = 2) / T(ℓ = 64), BP", made[0], [(made[1], "")])


@pytest.mark.parametrize("width", WIDTHS)
def test_fused_against_the_best_bp_at_depth_64(al, bp, contest, sizes, compiles, width):
    """Up to which width does stacking beat the best BP?"""
    deep = sizes(NARROW, width=width, minibatches=512 if width <= 64 else 128)
    target = "≥ 4" if width == 32 else ""
    rivals = [(bp(deep), target), (al("serial", deep), "")]
    if compiles:
        rivals += [(bp(deep, compiled=True), target), (al("fused", deep, lanes=1, compile=False), "")]
    contest(f"stacked, width {width}", al("fused", deep, lanes=1, compile=compiles), rivals)


@pytest.mark.parametrize(("engine", "lanes"), [("serial", 1), ("threads", 2), ("ranks", 2)])
def test_engine_overhead(benchmark, sizes, engine, lanes):
    """What of a step is no component's own update: reading, checking, handing on, waiting for the lane before.

    Taken from the spans of the tasks, on the lane that is busiest: from its first task's start to its last task's end,
    less its tasks.
    """
    wide = sizes(WIDE)
    net = associated_mlp(
        in_features=wide["in_features"],
        width=wide["width"],
        hidden_layers=wide["hidden_layers"],
        classes=CLASSES,
        seed=0,
    )
    data = batches(wide["in_features"], wide["batch_size"], wide["minibatches"])
    shares = []
    with make_engine(engine, net, learning_rate=LEARNING_RATE, lanes=lanes, trace=True) as made:
        made.fit(data[:2])
        seen = made.minibatches_seen

        def run() -> None:
            nonlocal seen
            made.fit(data)
            spans = [span for span in made.spans if span.minibatch >= seen]
            seen = made.minibatches_seen
            shares.append(min(idle_share([s for s in spans if s.lane == lane]) for lane in range(made.lanes)))

        benchmark.pedantic(run, rounds=1 if len(data) < 10 else 5, iterations=1)
    benchmark.group = "engine overhead"
    benchmark.extra_info["overhead"] = {"engine": engine, "lanes": lanes, "share_of_step": sorted(shares)}
    print(f"\n{engine}: {', '.join(f'{100 * share:.2f} %' for share in sorted(shares))} of a step is not a task's")


def idle_share(spans) -> float:
    """Return the share of a lane's time, first start to last end, in which none of its tasks ran."""
    spans = sorted(spans, key=lambda span: span.start_seconds)
    whole = spans[-1].end_seconds - spans[0].start_seconds
    return 1 - sum(span.end_seconds - span.start_seconds for span in spans) / whole
