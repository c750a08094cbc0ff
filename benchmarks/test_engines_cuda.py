"""What the engines of a GPU are worth: launches that do not grow with depth, and the best BP of the same card.

BP is measured launched by the host, compiled, as one CUDA graph a step, and compiled in one; each is a baseline. Beside
every contest stands how far its subject is from the floor that the card sets (`albench.analysis.floor`): where that is
near 1, no engine could be faster. Without a CUDA device all of this is skipped; in a smoke run it is trained on the CPU
by what runs there, so that a machine without a GPU finds out whether this file still works.
"""

from __future__ import annotations

import functools
import statistics
import time

import pytest
import torch

from albench.analysis.floor import Floor, Machine, update_floor
from albench.engines import make_engine
from albench.harness.case import WARM_UP_MINIBATCHES
from albench.methods.trainer import TrainerOptions
from albench.networks import associated_mlp
from benchmarks.contest import Contender
from benchmarks.test_engines import CLASSES, LEARNING_RATE, batches

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
FEATURES = 64
DEPTHS = (2, 8, 32, 128)
MINIBATCHES = 96
"""Few enough launches for a GPU's queue to hold all of them: a full one makes the host wait."""
SMOKE_MINIBATCHES = 4
NARROW = {"hidden_layers": 64, "width": 256, "batch_size": 64}
SHALLOW = NARROW | {"hidden_layers": 4}
WIDE = {"hidden_layers": 32, "width": 1024, "batch_size": 128}
SMOKE = {"hidden_layers": 4, "width": 16, "batch_size": 8}
ENGINES = ("fused", "fused-compiled", "graph") if CUDA else ("fused",)
BP_STEPS = ("eager", "graph", "compiled", "compiled-graph") if CUDA else ("eager",)
LANES = 16
"""Lanes of `graph`; the others have one, the whole card."""


@pytest.fixture(autouse=True)
def _needs_a_device(request):
    if not CUDA and not request.config.getoption("--smoke"):
        pytest.skip("needs a CUDA device; torch sees none")


@pytest.fixture
def contender(ready):
    """Return a function that makes a contender of a method's engine and tells its floor; closed after the test."""

    def make(method: str, engine: str, sizes: dict[str, int]) -> tuple[Contender, Floor]:
        options = TrainerOptions(
            engine=engine,
            in_features=FEATURES,
            classes=CLASSES,
            width=sizes["width"],
            hidden_layers=sizes["hidden_layers"],
            lanes=LANES if (method, engine) == ("al", "graph") else 1,
            learning_rate=LEARNING_RATE,
            device=DEVICE,
        )
        data = on_device(sizes, MINIBATCHES)
        trainer, sent = ready(method, options, data)

        def run() -> None:
            trainer.train(sent)
            if CUDA:
                torch.cuda.synchronize()

        floor = update_floor(
            this_machine(),
            flops=trainer.flops(data[0]),
            parameters=trainer.effective_parameters + trainer.affiliated_parameters,
        )
        name = f"{method.upper()} {engine}, ℓ = {sizes['hidden_layers']}, width {sizes['width']}"
        return Contender(name=name, run=run, minibatches=MINIBATCHES), floor

    return make


def on_device(sizes: dict[str, int], minibatches: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return random mini-batches that are on the device already: what is timed is training."""
    return [(x.to(DEVICE), y.to(DEVICE)) for x, y in batches(FEATURES, sizes["batch_size"], minibatches)]


@functools.cache
def this_machine() -> Machine:
    """Measure the two rates that floors are counted with: large products in float32, and large copies."""
    size = 8192 if CUDA else 512
    a, b = (torch.randn(size, size, device=DEVICE) for _ in range(2))
    product, copied = torch.empty_like(a), torch.empty_like(a)
    products = best_seconds(lambda: torch.mm(a, b, out=product))
    copies = best_seconds(lambda: copied.copy_(a))
    return Machine(flops_per_second=2 * size**3 / products, bytes_per_second=2 * a.numel() * a.element_size() / copies)


def best_seconds(body) -> float:
    """Return the shortest of a few runs: a rate that was reached once can be reached."""
    seconds = []
    for _ in range(10):
        if CUDA:
            torch.cuda.synchronize()
        start = time.perf_counter()
        body()
        if CUDA:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def tell_floor(benchmark, contender: Contender, floor: Floor) -> None:
    """Put measured over floor beside the times, and print it."""
    measured = statistics.median(benchmark.stats.stats.data) / contender.minibatches
    benchmark.extra_info["floor"] = {
        "arithmetic_seconds": floor.arithmetic_seconds,
        "memory_seconds": floor.memory_seconds,
        "limit": floor.limit,
        "measured_over_floor": measured / floor.seconds,
        "machine": vars(this_machine()),
    }
    print(
        f"\n{contender.name}: {1e3 * measured:.3g} ms, {measured / floor.seconds:.2f} times the floor of "
        f"{1e3 * floor.seconds:.3g} ms, which {floor.limit} sets"
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_depth_costs_little(contest, contender, benchmark, sizes, engine):
    """T(64)/T(4) is one over the ratio against its own shallow network; 1.5 was hoped for of `fused`."""
    deep, floor = contender("al", engine, sizes(NARROW))
    shallow, _ = contender("al", engine, sizes(SHALLOW))
    contest("T(ℓ = 4) / T(ℓ = 64)", deep, [(shallow, "≥ 0.67" if engine.startswith("fused") else "")])
    tell_floor(benchmark, deep, floor)


@pytest.mark.parametrize("step", BP_STEPS)
def test_depth_costs_bp_much(contest, contender, sizes, step):
    deep, _ = contender("bp", step, sizes(NARROW))
    shallow, _ = contender("bp", step, sizes(SHALLOW))
    contest("T(ℓ = 4) / T(ℓ = 64), BP", deep, [(shallow, "")])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("regime", "target"), [(NARROW, "≥ 5"), (WIDE, "≥ 1.5")], ids=["narrow", "wide"])
def test_against_the_best_bp(contest, contender, benchmark, sizes, engine, regime, target):
    subject, floor = contender("al", engine, sizes(regime))
    hoped = target if engine.startswith("fused") else ""
    contest("AL against BP", subject, [(contender("bp", step, sizes(regime))[0], hoped) for step in BP_STEPS])
    tell_floor(benchmark, subject, floor)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("engine", ["fused", "graph"] if CUDA else ["fused"])
def test_host_time_of_a_tick(benchmark, request, sizes, engine, depth):
    """How long the host is busy with one tick, which should be the same at any depth.

    A pipelined engine takes the next mini-batch when it has launched a tick, and waits for nothing: so the time between
    two that it takes is the host's. The median of those with a full pipeline is told.
    """
    smoke = request.config.getoption("--smoke")
    size = sizes(NARROW, hidden_layers=depth)
    net = associated_mlp(in_features=FEATURES, width=size["width"], hidden_layers=depth, classes=CLASSES, seed=0).to(
        DEVICE
    )
    data = on_device(size, depth // 2 + (SMOKE_MINIBATCHES if smoke else MINIBATCHES))
    gaps: list[float] = []
    with make_engine(engine, net, learning_rate=LEARNING_RATE) as made:
        made.fit(data[:WARM_UP_MINIBATCHES])

        def taken():
            before = None
            for number, batch in enumerate(data):
                now = time.perf_counter()
                if before is not None and number > depth // 2:
                    gaps.append(now - before)
                before = now
                yield batch

        benchmark.pedantic(lambda: made.fit(taken()), rounds=1 if smoke else 3, iterations=1)
    tick = statistics.median(gaps)
    benchmark.group = f"host time of a tick, {engine}"
    benchmark.extra_info["host_seconds_per_tick"] = tick
    print(f"\n{engine}, ℓ = {depth}: the host is busy for {1e6 * tick:.1f} µs a tick")
