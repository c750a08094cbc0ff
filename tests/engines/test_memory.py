"""Memory stays flat over a long run: nothing is kept of a mini-batch that has passed."""

import gc
from pathlib import Path

import psutil
import pytest

from albench.engines import make_engine
from tests.engines.made_up import batches, network

MINIBATCHES = 6_000
SETTLED = 2_000
"""By then every pool and cache has what it needs."""
GROWTH_BYTES = 600 * (MINIBATCHES - SETTLED)
"""600 bytes a mini-batch: a mini-batch that is kept takes more, and its activations many times that."""


def resident_bytes():
    """Return the memory of this process and of those that its forkserver made."""
    processes = [psutil.Process()] + [p for s in psutil.Process().children() for p in s.children()]
    return sum(p.memory_full_info().uss for p in processes)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["threads", "ranks"])
def test_thousands_of_mini_batches_hold_memory_flat(name):
    data = batches(1, batch_size=16)
    seen = {}

    def feed():
        for k in range(MINIBATCHES):
            if k in (SETTLED, MINIBATCHES - 1):
                gc.collect()
                seen[k] = resident_bytes(), sum(1 for _ in Path("/proc/self/fd").iterdir())
            yield data[0][0].clone(), data[0][1].clone()

    with make_engine(name, network(4), lanes=2) as engine:
        engine.fit(feed())
        assert engine.minibatches_seen == MINIBATCHES
    assert seen[MINIBATCHES - 1][0] - seen[SETTLED][0] < GROWTH_BYTES
    assert seen[MINIBATCHES - 1][1] == seen[SETTLED][1]
