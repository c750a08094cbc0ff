"""Made-up sweeps: times from laws that are known, disturbed as clocks disturb them, to try the judge on.

What is made up is everything that a verdict can go wrong over: the law (with a start-up cost and a fixed part of each
step, as measured times have them), the grid of depths and lengths, the noise, and the number of rounds. Whoever judges
such a sweep can be told right or wrong.

Shares near a threshold are there on purpose. An interval that holds the true share in 95 of 100 sweeps puts a share
just over a threshold under it in up to 2.5 of 100: no judge that decides anything does better there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from albench.analysis.complexity import Complexity, Verdict, judge
from albench.analysis.laws import Array

BATCH_SIZE = 16
STEP_MILLISECONDS = 0.4
"""A step's fixed part, and a tick: about what a small network takes on a CPU."""
DRIFT = 0.3
"""How much slower the machine is at the end of a sweep than at its begin: twice what flags a case as off its pace."""
SPIKE_CHANCE = 0.1
SPIKE_EXPONENT = 1.5
"""One time in ten is longer by a Pareto variate of this exponent: half of those by over 60 %, one in a hundred by over
twenty times, with no variance that any number of them would show."""


@dataclass(frozen=True, kw_only=True)
class SweepGrid:
    """The depths and lengths that a sweep measures, each with each."""

    name: str
    hidden_layers: tuple[int, ...]
    minibatches: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class KnownLaw:
    """Times whose complexity is known."""

    name: str
    complexity: Complexity
    """The right verdict, where the grid can show it."""
    milliseconds: Callable[[Array, Array, float], Array]
    """Of N mini-batches at depth ℓ; the last argument is the deepest ℓ of the grid."""
    lanes: int | None = None
    """K, where the judge is told of lanes."""

    def complexity_on(self, grid: SweepGrid) -> Complexity:
        """Return the right verdict on a grid: lanes that are never full are a pipeline, for all that was measured."""
        if self.complexity == "O(nℓ/K)" and self.lanes and max(grid.hidden_layers) <= 2 * self.lanes:
            return "O(n+ℓ)"
        return self.complexity


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What a clock adds to a law."""

    name: str
    factors: Callable[[Array, np.random.Generator], Array]
    """Factors of the true times [rounds, cells], in a generator's next draws."""


def made_up_sweep(
    law: KnownLaw, grid: SweepGrid, noise: Noise, *, rounds: int, seed: int
) -> tuple[Array, Array, Array, Array | None]:
    """Return n, ℓ, seconds and lanes of each row of a sweep; lanes are None where the law has none.

    Lanes are those that really run: a network of ℓ/2 components has no work for more.
    """
    counts, depths = (axis.ravel().astype(float) for axis in np.meshgrid(grid.minibatches, grid.hidden_layers))
    true = np.tile(law.milliseconds(counts, depths, float(max(grid.hidden_layers))), (rounds, 1)) / 1e3
    seconds = true * noise.factors(true, np.random.default_rng(seed))
    lanes = None if law.lanes is None else np.tile(np.minimum(law.lanes, depths / 2), rounds)
    return np.tile(counts, rounds) * BATCH_SIZE, np.tile(depths, rounds), seconds.ravel(), lanes


def judge_made_up(law: KnownLaw, grid: SweepGrid, noise: Noise, *, rounds: int, seed: int) -> Verdict:
    """Return the verdict on a made-up sweep."""
    n, depths, seconds, lanes = made_up_sweep(law, grid, noise, rounds=rounds, seed=seed)
    return judge(n, depths, seconds, lanes)


def log_normal(size: float) -> Noise:
    """Return noise whose logarithm is normal with this standard deviation."""
    return Noise(name=f"{100 * size:g} %", factors=lambda true, draw: np.exp(size * draw.standard_normal(true.shape)))


def _spikes(true: Array, draw: np.random.Generator) -> Array:
    longer = np.where(draw.random(true.shape) < SPIKE_CHANCE, 1 + draw.pareto(SPIKE_EXPONENT, true.shape), 1.0)
    spiked: Array = longer * np.exp(0.03 * draw.standard_normal(true.shape))
    return spiked


def _drift(true: Array, draw: np.random.Generator) -> Array:
    # As the harness runs them: round after round, the cells of each in an order of its own.
    order = np.stack([draw.permutation(true.shape[1]) for _ in true]) + true.shape[1] * np.arange(len(true))[:, None]
    slower: Array = (1 + DRIFT * order / (true.size - 1)) * np.exp(0.03 * draw.standard_normal(true.shape))
    return slower


def _uneven(true: Array, draw: np.random.Generator) -> Array:
    uneven: Array = np.exp(0.03 * np.sqrt(true.max() / true) * draw.standard_normal(true.shape))
    return uneven


def _with_share(share: float) -> Callable[[Array, Array, float], Array]:
    """Return a law in which `share` of the steady cost at the deepest network is proportional to depth."""
    ratio = share / (1 - share)
    return lambda count, depth, deepest: 0.5 + 0.05 * depth + count * STEP_MILLISECONDS * (1 + ratio * depth / deepest)


def _ticks(share: float) -> Callable[[Array, Array, float], Array]:
    """Return a pipeline of ℓ/2 components whose tick lengthens with depth: its fill then grows with ℓ²."""
    ratio = share / (1 - share)
    return lambda count, depth, deepest: (
        0.5 + STEP_MILLISECONDS * (1 + ratio * depth / deepest) * (count + depth / 2 - 1)
    )


def _lanes(lanes: int) -> Callable[[Array, Array, float], Array]:
    """Return a perfect pipeline on K lanes: flat until they are full at ℓ = 2K."""
    return lambda count, depth, _: (
        0.5 + STEP_MILLISECONDS * np.maximum(1, depth / (2 * lanes)) * (count + np.minimum(lanes, depth / 2) - 1)
    )


def _back_propagation(count: Array, depth: Array, _: float) -> Array:
    return 0.5 + count * (0.19 + 0.0495 * depth)


LAWS = (
    KnownLaw(name="back-propagation", complexity="O(nℓ)", milliseconds=_back_propagation),
    KnownLaw(
        name="serial AL",
        complexity="O(nℓ)",
        milliseconds=lambda count, depth, _: 1 + count * (0.1 + 0.256 * depth) + 0.02 * depth,
    ),
    KnownLaw(name="just a product, p = 0.55", complexity="O(nℓ)", milliseconds=_with_share(0.55)),
    KnownLaw(name="mixed, p = 0.45", complexity="mixed", milliseconds=_with_share(0.45)),
    KnownLaw(name="mixed, p = 0.35", complexity="mixed", milliseconds=_with_share(0.35)),
    KnownLaw(name="mixed, p = 0.25", complexity="mixed", milliseconds=_with_share(0.25)),
    KnownLaw(name="just a sum, p = 0.15", complexity="O(n+ℓ)", milliseconds=_with_share(0.15)),
    KnownLaw(name="pipeline", complexity="O(n+ℓ)", milliseconds=_ticks(0.0)),
    KnownLaw(name="pipeline, ticks lengthen, p = 0.1", complexity="O(n+ℓ)", milliseconds=_ticks(0.1)),
    KnownLaw(name="two lanes", complexity="O(nℓ/K)", milliseconds=_lanes(2), lanes=2),
    KnownLaw(name="four lanes", complexity="O(nℓ/K)", milliseconds=_lanes(4), lanes=4),
    KnownLaw(name="two lanes that do not help", complexity="O(nℓ)", milliseconds=_back_propagation, lanes=2),
)
GRIDS = (
    SweepGrid(name="depth suite, small", hidden_layers=(2, 4, 8, 16, 32, 64), minibatches=(16, 48, 128)),
    SweepGrid(name="depth suite, large", hidden_layers=(2, 4, 8, 16), minibatches=(6, 16, 32)),
    SweepGrid(name="thin", hidden_layers=(2, 8, 32), minibatches=(8, 16, 32)),
    SweepGrid(name="quick suite", hidden_layers=(2, 4, 8), minibatches=(8, 16, 32)),
)
"""As the suites have them; three depths are the fewest that are judged at all."""
NOISES = (
    *map(log_normal, (0.01, 0.03, 0.1, 0.2)),
    Noise(name="3 % and spikes", factors=_spikes),
    Noise(name="3 % and drift", factors=_drift),
    Noise(name="3 % uneven", factors=_uneven),
)
"""The last has 3 % on the longest run, and more on shorter ones, as one over the root of their time."""
ROUNDS = (1, 3, 6)
