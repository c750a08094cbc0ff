"""Ranks: what two of them agree on holds for both, however late one comes and whatever else is at work."""

import contextlib
import threading
import time

import pytest
import torch
from torch.distributed import HashStore

from albench.engines import EngineOptions, job
from albench.engines.engine import Input
from albench.engines.job import Job
from albench.engines.rank import Outcome, Plan, Rank
from albench.errors import UsageError
from tests.engines.made_up import FEATURES, network
from tests.engines.test_wire import in_threads

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch):
    monkeypatch.setattr(job, "LOOK_SECONDS", 0.02)


def joined(store, rank, size, net, timeout_seconds):
    own = Job(store, rank=rank, size=size, timeout_seconds=timeout_seconds)
    return Rank(own, net.components, EngineOptions(learning_rate=1e-2), local=True)


@contextlib.contextmanager
def ranks(size, *, hidden_layers=4, timeout_seconds=20.0):
    """All ranks of one job, each with a network of its own, in this process."""
    store, nets = HashStore(), [network(hidden_layers, seed=rank) for rank in range(size)]
    made = in_threads(*[lambda r=r, n=n: joined(store, r, size, n, timeout_seconds) for r, n in enumerate(nets)])
    try:
        yield made, nets
    finally:
        in_threads(*[rank.close for rank in made])


def no_error():
    return None


def test_a_rank_that_comes_late_to_a_run_is_waited_for_as_long_as_it_lives():
    """Longer than a silent one would be. The weights must reach it first, and their sender has a time limit."""
    with ranks(2, timeout_seconds=0.4) as ((one, two), nets):
        blocks = [range(0, 1), range(1, 2)]
        target = nets[0].first_target(torch.arange(4), dtype=torch.float32, distinct_targets=False)
        inputs = [Input(0, torch.randn(4, FEATURES), target)]
        outcomes = in_threads(
            lambda: one.run(inputs, Plan(blocks, push=False), no_error),
            lambda: time.sleep(1.2) or two.run([], None, no_error),
        )
        assert outcomes == [Outcome(1, "")] * 2
        for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
            assert torch.equal(a, b)


def test_a_run_of_nothing_ends_when_all_have_come_to_it():
    """Otherwise the first could be two calls ahead, and what the last has yet to read would be forgotten."""
    with ranks(8, hidden_layers=16) as (made, _):
        last, ended = made[7], threading.Event()

        def slow():
            time.sleep(0.4)
            assert not ended.is_set()
            return [last.run([], None, no_error) for _ in range(3)]

        def first():
            made[0].run([], Plan([], push=False), no_error)
            ended.set()
            for _ in range(2):
                made[0].run([], Plan([], push=False), no_error)

        others = [lambda rank=rank: [rank.run([], None, no_error) for _ in range(3)] for rank in made[1:7]]
        outcomes = in_threads(first, *others, slow)
        assert outcomes[1:] == [[Outcome(0, "")] * 3] * 7


@pytest.mark.parametrize("change", ["in place", "past the counter", "permuted", "new memory", "a generator"])
def test_whoever_writes_to_the_weights_is_noticed(change):
    """Also where the same bytes only change places: the other ranks would train on what was there before."""
    with ranks(1) as ((one,), (net,)):
        component, weight = net.components[1], net.components[1].f[0].weight
        component.generator = torch.Generator()
        before = one._look()
        assert one._look() == before
        if change == "in place":
            with torch.no_grad():
                weight.add_(1)
        elif change == "past the counter":
            weight.data.add_(1)
        elif change == "permuted":
            weight.data.copy_(weight.data.flip(0))
        elif change == "new memory":
            kept = weight.data  # noqa: F841 - so that its place is not given out again
            weight.data = weight.data.clone()
        else:
            component.generator.manual_seed(5)
        assert one._look() != before


@pytest.mark.parametrize(
    ("nets", "options", "words"),
    [
        ([network(4), network(6)], [{}, {}], "the network of rank 1 is not that of rank 0"),
        ([network(4), network(4)], [{}, {"weight_decay": 0.1}], "the options of rank 1 is not that of rank 0"),
    ],
    ids=["network", "options"],
)
def test_ranks_that_were_not_made_alike_are_refused(nets, options, words):
    store, refusals = HashStore(), []

    def make(rank):
        own = Job(store, rank=rank, size=2, timeout_seconds=20)
        try:
            Rank(own, nets[rank].components, EngineOptions(**options[rank]), local=True).close()
        except (UsageError, RuntimeError) as error:
            refusals.append(str(error))

    in_threads(lambda: make(0), lambda: make(1))
    assert len(refusals) == 2
    assert all(words in refusal for refusal in refusals)
    assert not [t for t in threading.enumerate() if t.name.startswith("albench")]
