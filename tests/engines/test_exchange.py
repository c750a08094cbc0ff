"""Exchange: after it, every rank has the same to the bit; a rank that is missing is waited for, a dead one is not."""

import contextlib
import functools
import threading
import time

import psutil
import pytest
import torch
from torch import nn
from torch.distributed import HashStore

from albench.engines import RankError, exchange, job
from albench.engines.errors import PeerGoneError
from albench.engines.exchange import Exchange, component_tensors, gloo_group, share_components
from albench.engines.job import Job, RankFailure
from albench.engines.message import as_bytes
from albench.errors import UsageError
from tests.engines.test_wire import in_threads

pytestmark = pytest.mark.timeout(60)


@contextlib.contextmanager
def ranks(size, *, timeout_seconds=20.0):
    """All ranks of one job, each with its exchange, in this process."""
    store = HashStore()
    jobs = [Job(store, rank=rank, size=size, timeout_seconds=timeout_seconds) for rank in range(size)]
    for one in jobs:
        one.start()
    try:
        yield jobs, in_threads(*[lambda one=one: Exchange(one, local=True) for one in jobs])
    finally:
        for one in jobs:
            one.close()


class Odd(nn.Module):
    """Every kind of tensor that a component may hold."""

    def __init__(self, seed):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)
        made = torch.Generator().manual_seed(seed)
        self.wide = nn.Parameter(torch.randn(5, 3, generator=made, dtype=torch.float64))
        self.turned = nn.Parameter(torch.randn(4, 6, generator=made).T)
        self.short = nn.Parameter(torch.randn(7, generator=made).to(torch.bfloat16))
        self.scalar = nn.Parameter(torch.randn((), generator=made))
        self.nothing = nn.Parameter(torch.empty(0, 3))
        self.tied = self.wide
        self.register_buffer("count", torch.tensor(seed))
        self.register_buffer("mask", torch.randint(2, (9,), generator=made).bool())
        self.register_buffer("unsaved", torch.randn(2, generator=made), persistent=False)

    def get_extra_state(self):
        return {"not": "a tensor"}

    def set_extra_state(self, state):
        pass


def bits(components):
    tensors, generators = component_tensors(components)
    return [as_bytes(t).tolist() for t in tensors], [g.get_state().tolist() for g in generators]


@pytest.mark.parametrize(("size", "root"), [(1, 0), (2, 1), (3, 1), (4, 0)])
def test_all_ranks_have_what_the_root_has(size, root):
    """Weights of any type and stride, tied ones, empty ones, buffers that are saved and that are not, generators."""
    components = [[Odd(10 * rank + i) for i in range(2)] for rank in range(size)]
    expected = bits(components[root])
    assert size == 1 or bits(components[root - 1]) != expected
    with ranks(size) as (_, exchanges):
        in_threads(*[lambda e=e, c=c: share_components(e, c, root) for e, c in zip(exchanges, components, strict=True)])
        assert [bits(c) for c in components] == [expected] * size
        assert all(c[0].tied is c[0].wide for c in components)


def test_values_of_any_form_are_shared():
    value = {
        "tensors": [torch.arange(3), torch.empty(0, 2), torch.tensor(1.5, dtype=torch.bfloat16)],
        "words": ("ünïcode", None, True),
        "numbers": [1, 2.5, 2**60],
    }
    with ranks(3) as (_, exchanges):
        for root in range(3):
            given = [value if rank == root else None for rank in range(3)]
            calls = [functools.partial(e.share, v, root) for e, v in zip(exchanges, given, strict=True)]
            for got in in_threads(*calls):
                assert [t.tolist() for t in got["tensors"]] == [t.tolist() for t in value["tensors"]]
                assert [t.dtype for t in got["tensors"]] == [t.dtype for t in value["tensors"]]
                assert (got["words"], got["numbers"]) == (value["words"], value["numbers"])


def test_nothing_is_unpickled_that_could_run():
    class Harmful:
        def __reduce__(self):
            return (pytest.fail, ("was called",))

    with ranks(2) as (_, (one, two)):

        def take():
            with pytest.raises(UsageError, match=r"other ranks cannot take \(.*Fail"):
                two.share(None, 0)

        in_threads(lambda: one.share(Harmful(), 0), take)


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 5000])
def test_long_transfers_go_in_pieces(count, monkeypatch):
    monkeypatch.setattr(exchange, "PIECE_BYTES", 1000)
    tensors = [torch.zeros(count, dtype=torch.uint8) for _ in range(2)]
    tensors[0].random_(256)
    with ranks(2) as (_, exchanges):
        in_threads(*[lambda e=e, t=t: e.share_tensors([t], 0) for e, t in zip(exchanges, tensors, strict=True)])
    assert torch.equal(*tensors)


def test_tensors_of_another_size_are_refused_before_gloo_ends_the_process():
    """The rank that sees it says so; one that sends waits until the other has left."""
    with ranks(2, timeout_seconds=2.0) as (_, (one, two)):

        def give():
            with pytest.raises(PeerGoneError):
                one.share_tensors([torch.zeros(3)], 0)

        def take():
            with pytest.raises(UsageError, match="tensors of 12 bytes on rank 0 and of 8 on rank 1: keep the size"):
                two.share_tensors([torch.zeros(2)], 0)

        in_threads(give, take)


def test_no_tensor_is_no_exchange():
    """Only one of two ranks calls: it would wait for the other one."""
    with ranks(2) as (_, (one, _two)):
        one.share_tensors([], 0)


def test_a_meeting_leaves_one_key_behind():
    with ranks(2) as (jobs, exchanges):
        for _ in range(10):
            in_threads(*[e.meet for e in exchanges])
        assert [k for k in range(20) if jobs[0].store.check([f"met/{k}"])] == [11]
        assert [k for k in range(20) if jobs[0].store.check([f"met/{k}/arrived"])] == [11]


def test_a_rank_that_is_late_is_waited_for_as_long_as_it_lives():
    """Longer than a silent one would be: it may be evaluating."""
    with ranks(2, timeout_seconds=0.3) as (_, (one, two)):
        start = time.monotonic()
        in_threads(one.meet, lambda: time.sleep(0.9) or two.meet())
        assert time.monotonic() - start >= 0.9


def test_a_rank_that_fails_before_it_meets_is_not_waited_for():
    with ranks(2) as (jobs, (one, _)):
        threading.Timer(0.1, lambda: jobs[1].fail(RankFailure(rank=1, reason="failed: made up"))).start()
        with pytest.raises(RankError, match="rank 1 failed: made up"):
            one.meet()


def test_a_rank_that_dies_in_the_middle_breaks_the_exchange():
    """Its connections close, and whoever waits for its bytes is told of a broken link."""
    with ranks(2) as (_, exchanges):
        one = exchanges[0]
        threading.Timer(0.1, exchanges.clear).start()
        with pytest.raises(PeerGoneError):
            one.share_tensors([torch.zeros(10)], 1)


def test_a_rank_that_does_not_come_to_the_group_is_a_broken_link(monkeypatch):
    """It met the others and died before the connections were made; meanwhile the job can be told why."""
    monkeypatch.setattr(job, "LOOK_SECONDS", 0.02)
    one, two = (Job(store, rank=rank, size=2, timeout_seconds=1) for store in [HashStore()] for rank in range(2))
    one.start()
    two.start()
    try:
        with pytest.raises(PeerGoneError):
            gloo_group(one, "exchange", local=True)
    finally:
        one.close()
        two.close()


def test_exchanges_leave_no_descriptor_and_no_thread():
    process, counts = psutil.Process(), []
    for _ in range(4):
        with ranks(3) as (jobs, exchanges):
            in_threads(*[lambda e=e: e.share([1, 2], 0) for e in exchanges])
        del jobs, exchanges
        counts.append((process.num_fds(), process.num_threads()))
    assert counts[-1] <= counts[0]
