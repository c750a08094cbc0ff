"""The link from GPU to GPU: what goes over the wire and what goes directly fit together; gloo stands in for NCCL."""

import threading

import pytest
import torch
from torch.distributed import TCPStore

from albench.engines import make_engine
from albench.engines.direct import DirectReader, DirectWriter, distinct_devices
from albench.engines.exchange import gloo_group
from albench.engines.job import Job
from albench.engines.message import Message
from albench.engines.wire import WireReader, WireWriter
from albench.errors import UsageError
from tests.engines.made_up import assert_bitwise_equal, batches, network, trained

pytestmark = pytest.mark.timeout(60)


def messages(count):
    generator = torch.Generator().manual_seed(0)
    for k in range(count):
        features = torch.randn(3 + k % 2, 5, generator=generator)
        yield Message(k, 0.5**k, features, (torch.randint(9, (3,), generator=generator), None, features.double().t()))


def test_messages_arrive_in_order_and_whole():
    """More of them than fit on the way, of changing shapes; two runs over one link."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    taken = []

    def take():
        job = Job(store.clone(), rank=1, size=2, timeout_seconds=20)
        wires, direct = gloo_group(job, "wires", local=True), gloo_group(job, "direct", local=True)
        reader = DirectReader(WireReader(wires, 0, torch.device("cpu")), direct, 0, torch.device("cpu"))
        for _ in range(2):
            taken.append((list(reader), reader.minibatches_seen))
        reader.close()
        job.close()

    thread = threading.Thread(target=take)
    thread.start()
    job = Job(store.clone(), rank=0, size=2, timeout_seconds=20)
    wires, direct = gloo_group(job, "wires", local=True), gloo_group(job, "direct", local=True)
    writer = DirectWriter(WireWriter(wires, 1), direct, 1)
    for seen in (9, 18):
        for message in messages(9):
            writer.put(message)
        writer.finish(seen)
    writer.close()
    thread.join()
    job.close()
    assert [seen for _, seen in taken] == [9, 18]
    for run, _ in taken:
        for got, sent in zip(run, messages(9), strict=True):
            assert got[:2] == sent[:2]
            assert torch.equal(got.features, sent.features)
            assert torch.equal(got.target[0], sent.target[0])
            assert got.target[1] is None
            assert torch.equal(got.target[2], sent.target[2])


@pytest.mark.parametrize(
    ("devices", "apart"),
    [(["", ""], False), (["a", "b"], True), (["a", "a"], False), (["a", ""], False), (["a"], True)],
)
def test_a_gpu_of_its_own_for_every_rank(devices, apart):
    assert distinct_devices(devices) is apart


def test_nccl_is_refused_without_gpus():
    with pytest.raises(UsageError, match="not every rank has a GPU of its own"):
        make_engine("ranks", network(4), lanes=2, link="nccl")


@pytest.mark.cuda
def test_ranks_on_gpus_of_their_own_are_bitwise_equal_to_serial():
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    data = [(x.cuda(), y.cuda()) for x, y in batches(20, ragged=3)]
    serial, losses = trained("serial", data, net=network(8).cuda())
    ranks, ranks_losses = trained("ranks", data, net=network(8).cuda(), lanes=2, link="nccl")
    assert_bitwise_equal(serial, ranks)
    assert losses == ranks_losses


@pytest.mark.cuda
def test_ranks_that_share_a_gpu_hand_on_through_the_host_and_are_bitwise_equal():
    data = [(x.cuda(), y.cuda()) for x, y in batches(20, ragged=3)]
    serial, losses = trained("serial", data, net=network(8).cuda())
    ranks, ranks_losses = trained("ranks", data, net=network(8).cuda(), lanes=2, link="ring")
    assert_bitwise_equal(serial, ranks)
    assert losses == ranks_losses
