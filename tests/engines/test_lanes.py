"""Lanes on a device: what they are, what is refused, what is said about them."""

import sys
import types

import pytest
import torch

from albench.engines import ENGINES, make_engine, shares
from albench.engines.lanes import NoStream, cuda_lanes, hardware_queues
from albench.errors import UsageError
from tests.engines.device_runs import ON_CPU, allowed_on_the_cpu, moved, trained_on
from tests.engines.made_up import batches, largest_difference, network

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("name", ON_CPU)
def test_a_network_on_the_cpu_is_refused_with_the_remedy(name):
    with pytest.raises(UsageError, match=r"on cpu: network.to\('cuda'\).*engine 'threads'") as caught:
        make_engine(name, network(4))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(set(ENGINES) - set(ON_CPU)))
def test_only_engines_of_streams_take_shares_of_the_multiprocessors(name):
    with pytest.raises(UsageError, match="lane_kind is 'sm-share' and engine .* use engine 'streams' or 'graph'"):
        make_engine(name, network(4), lane_kind="sm-share")


def test_an_unknown_kind_of_lane_is_refused():
    with pytest.raises(UsageError, match="lane_kind is 'green'"):
        make_engine("serial", network(4), lane_kind="green")


@pytest.mark.parametrize("name", ON_CPU)
def test_lanes_are_as_many_as_components_and_queues_allow(name, monkeypatch):
    monkeypatch.delenv("CUDA_DEVICE_MAX_CONNECTIONS", raising=False)
    with allowed_on_the_cpu():
        assert make_engine(name, network(6)).lanes == 3
        assert make_engine(name, network(40)).lanes == 8
        assert make_engine(name, network(40), lanes=12).lanes == 12
        capped = make_engine(name, network(6), lanes=7)
        assert capped.lanes == 3
        assert "7 lanes asked for, 3 used" in capped.notes[0]
        monkeypatch.setenv("CUDA_DEVICE_MAX_CONNECTIONS", "16")
        assert make_engine(name, network(40)).lanes == 16


@pytest.mark.parametrize(("setting", "queues"), [("", 8), ("none", 8), ("0", 8), ("1", 1), ("32", 32)])
def test_hardware_queues_are_read_from_the_environment(setting, queues, monkeypatch):
    monkeypatch.setenv("CUDA_DEVICE_MAX_CONNECTIONS", setting)
    assert hardware_queues() == queues


class FakeStream:
    def __init__(self, device):
        pass


def test_more_lanes_than_queues_or_streams_are_told(monkeypatch):
    """They would wait for each other without a reason that a user could see."""
    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.delenv("CUDA_DEVICE_MAX_CONNECTIONS", raising=False)
    device = torch.device("cuda:0")
    assert cuda_lanes(8, device).notes == ()
    (note,) = cuda_lanes(9, device).notes
    assert "9 lanes share 8 hardware queues" in note
    assert "CUDA_DEVICE_MAX_CONNECTIONS=9" in note
    assert len(cuda_lanes(33, device).notes) == 2
    monkeypatch.setenv("CUDA_DEVICE_MAX_CONNECTIONS", "16")
    assert cuda_lanes(9, device).notes == ()
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":0:0")
    assert "without workspaces" in cuda_lanes(2, device).notes[0]


def fake_shares(monkeypatch, reason=None):
    closed = []
    module = types.ModuleType("albench.engines.shares")
    module.unavailable_reason = lambda device: reason
    module.share_streams = lambda count, device, sms: types.SimpleNamespace(
        streams=[FakeStream(device) for _ in range(count)],
        sms=[sms or 16] * count,
        leftover_sms=4,
        close=lambda: closed.append(count),
    )
    monkeypatch.setitem(sys.modules, "albench.engines.shares", module)
    return closed


def test_shares_say_how_many_multiprocessors_a_lane_has_and_are_given_back_once(monkeypatch):
    closed = fake_shares(monkeypatch)
    lanes = cuda_lanes(3, torch.device("cuda:0"), "sm-share")
    assert len(lanes.streams) == 3
    assert lanes.notes == ("SMs of each lane: 16, 16, 16; 4 are left over",)
    assert not closed
    lanes.close()
    lanes.close()
    assert closed == [3]


def test_shares_may_be_of_a_size(monkeypatch):
    """So that one lane is as large as one of many: a stand-in for a device."""
    fake_shares(monkeypatch)
    assert cuda_lanes(2, torch.device("cuda:0"), "sm-share", 8).notes[0].startswith("SMs of each lane: 8, 8;")


def test_a_size_that_makes_no_sense_is_refused():
    for size in (0, -8, 1.5, "8"):
        with pytest.raises(UsageError, match=f"lane_sms is {size!r}: give a whole number of at least 1, or None"):
            make_engine("graph", network(4), lane_kind="sm-share", lane_sms=size)
    with pytest.raises(UsageError, match='lane_sms is 8: give lane_kind "sm-share" with it'):
        make_engine("graph", network(4), lane_sms=8)


def test_a_device_that_cannot_be_shared_is_refused_with_the_reason(monkeypatch):
    fake_shares(monkeypatch, reason="the driver is older than CUDA 12.4")
    with pytest.raises(UsageError, match=r"the driver is older than CUDA 12.4 \(or use lane_kind 'stream'\)"):
        cuda_lanes(2, torch.device("cuda:0"), "sm-share")


def test_on_the_cpu_lanes_are_nothing():
    lanes = cuda_lanes(2, torch.device("cpu"))
    assert all(isinstance(stream, NoStream) for stream in lanes.streams)
    with lanes.on(1):
        assert lanes.event() is None
    lanes.close()


@pytest.mark.parametrize("name", ON_CPU)
def test_a_closed_engine_has_no_lanes_to_run_on(name):
    with allowed_on_the_cpu(), make_engine(name, network(4)) as engine:
        engine.fit(batches(2))
    with pytest.raises(UsageError, match="the engine is closed"):
        engine.fit(batches(2))
    assert engine.state_dict()["minibatches"] == 2


@pytest.mark.cuda
@pytest.mark.parametrize("name", ON_CPU)
@pytest.mark.parametrize("sms", [None, 8])
def test_shares_of_the_multiprocessors_train_the_same_network(name, sms):
    """On a share the libraries may pick other kernels: a tolerance."""
    if reason := shares.unavailable_reason(torch.device("cuda", torch.cuda.current_device())):
        pytest.skip(reason)
    data = batches(30, ragged=3, dtype=torch.float64)
    serial, _ = trained_on("cuda", "serial", data, net=network(8, dtype=torch.float64))
    net = network(8, dtype=torch.float64).cuda()
    with make_engine(name, net, lanes=4, lane_kind="sm-share", lane_sms=sms, learning_rate=1e-2) as engine:
        engine.fit(moved(data, "cuda"))
        state = engine.state_dict()
        assert engine.lane_kind == "sm-share"
        assert any("SMs of each lane" in note for note in engine.notes)
    assert largest_difference(serial, state) <= 1e-10


@pytest.mark.cuda
@pytest.mark.parametrize("name", ON_CPU)
def test_a_network_that_moves_away_is_refused(name):
    net = network(4).cuda()
    with make_engine(name, net) as engine:
        net.cpu()
        with pytest.raises(UsageError, match="moved from cuda:0 to cpu"):
            engine.fit([])


@pytest.mark.cuda
def test_streams_are_distinct_and_not_the_callers():
    device = torch.device("cuda", torch.cuda.current_device())
    lanes = cuda_lanes(4, device)
    handles = {stream.cuda_stream for stream in [*lanes.streams, torch.cuda.current_stream(device)]}
    assert len(handles) == 5
