"""Shares of the SMs: refused in one line that names the remedy; on a GPU disjoint, usable from torch and in a graph."""

import gc

import pytest
import torch
from torch.utils import cpp_extension

from albench import green_contexts
from albench.engines import capture
from albench.engines.shares import share_streams, unavailable_reason
from albench.errors import UsageError
from albench.green_contexts import GreenContextError
from tests.fake_driver import CUresult, FakeDriver


class MadeUpStream:
    """Stands for ``torch.cuda.ExternalStream``, which needs a device."""

    def __init__(self, handle, device):
        self.cuda_stream, self.device = handle, device


@pytest.fixture
def driver(monkeypatch):
    """A made-up driver below a torch that believes in one CUDA device, whatever this machine has."""
    driver = FakeDriver()
    monkeypatch.setattr(green_contexts, "load_driver", lambda: driver)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: driver.calls.append(f"synchronize {device}"))
    monkeypatch.setattr(torch.cuda, "ExternalStream", MadeUpStream)
    return driver


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_streams_sizes_and_left_over(driver, name):
    made = share_streams(4, torch.device(name))
    assert [stream.cuda_stream for stream in made.streams] == list(driver.streams)
    assert {stream.device for stream in made.streams} == {torch.device("cuda:0")}
    assert (made.sms, made.leftover_sms) == ([32] * 4, 4)
    assert driver.calls.index("synchronize cuda:0") < driver.calls.index("cuGreenCtxCreate"), "torch's context first"
    made.close()
    made.close()
    assert (driver.contexts, driver.streams, driver.wrongs, made.streams) == ({}, {}, [], [])
    assert (made.sms, made.leftover_sms) == ([32] * 4, 4), "for the records, after the run"


def test_a_block_closes_them_and_does_not_hide_its_own_error(driver):
    with share_streams(2, torch.device("cuda")) as made:
        assert len(made.streams) == 2
    assert not driver.contexts

    driver.failures["cuStreamSynchronize", 3] = CUresult.CUDA_ERROR_ILLEGAL_ADDRESS  # 1 and 2 were above
    with pytest.raises(ZeroDivisionError) as caught, share_streams(2, torch.device("cuda")):
        _ = 1 / 0
    assert caught.value.__notes__[0].startswith("while closing the shares: cuStreamSynchronize: CUDA_ERROR_ILLEGAL")
    assert not driver.contexts

    driver.failures["cuStreamSynchronize", 5] = CUresult.CUDA_ERROR_ILLEGAL_ADDRESS
    with pytest.raises(GreenContextError, match="CUDA_ERROR_ILLEGAL"), share_streams(2, torch.device("cuda")):
        pass
    assert (driver.contexts, driver.streams, driver.wrongs) == ({}, {}, [])


def test_nothing_is_left_where_torch_refuses_a_stream(driver, monkeypatch):
    def refuse(handle, device):
        raise RuntimeError("torch says no")

    monkeypatch.setattr(torch.cuda, "ExternalStream", refuse)
    with pytest.raises(RuntimeError, match="torch says no"):
        share_streams(2, torch.device("cuda"))
    assert (driver.contexts, driver.streams, driver.wrongs) == ({}, {}, [])


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", None])
def test_a_count_that_makes_no_sense_is_refused(driver, count):
    with pytest.raises(UsageError, match=f"number of shares is {count!r}: give a whole number of at least 1"):
        share_streams(count, torch.device("cuda"))
    assert driver.calls == []


def test_more_shares_than_the_device_has_are_refused(driver):
    with pytest.raises(UsageError, match="^17 shares of the 132 SMs of cuda:0: .* give at most 16$"):
        share_streams(17, torch.device("cuda"))
    assert (driver.contexts, driver.streams) == ({}, {})


def patch(target, name, value):
    return lambda monkeypatch, driver: monkeypatch.setattr(target, name, value)


def fail(function, status):
    return lambda monkeypatch, driver: driver.failures.update({(function, 1): status})


def absent_package(monkeypatch, driver):
    def load():
        raise ModuleNotFoundError("No module named 'cuda'")

    monkeypatch.setattr(green_contexts, "load_driver", load)


def no_groups(monkeypatch, driver):
    driver.lost_groups = 99


REASONS = {
    "torch without CUDA": (patch(torch.version, "cuda", None), "cuda", "built without CUDA: install a CUDA build"),
    "no device": (patch(torch.cuda, "is_available", lambda: False), "cuda", "torch sees no CUDA device: run where"),
    "the CPU": (lambda *_: None, "cpu", "cpu has no SMs: give a CUDA device"),
    "no such device": (lambda *_: None, "cuda:3", "there is no cuda:3: give cuda:0 to cuda:0"),
    "no package": (absent_package, "cuda", "cuda-bindings cannot be imported (No module named 'cuda'): install"),
    "old driver": (patch(FakeDriver, "cuDriverGetVersion", lambda _: (0, 12040)), "cuda", "supports CUDA 12.4: inst"),
    "function missing": (
        fail("cuDeviceGetDevResource", RuntimeError("Function not found")),
        "cuda",
        "cannot split cuda:0 (cuDeviceGetDevResource: RuntimeError (Function not found)): use plain streams there",
    ),
    "not supported": (
        fail("cuDeviceGetDevResource", CUresult.CUDA_ERROR_NOT_SUPPORTED),
        "cuda:0",
        "CUDA_ERROR_NOT_SUPPORTED (not supported)): use plain streams there",
    ),
    "not divisible": (no_groups, "cuda", "makes no group of SMs of cuda:0: use plain streams there"),
}


@pytest.mark.parametrize("case", REASONS)
def test_reasons_are_given_and_refused_with(driver, monkeypatch, case):
    spoil, device, words = REASONS[case]
    assert unavailable_reason(torch.device("cuda")) is None
    spoil(monkeypatch, driver)
    driver._counts.clear()
    assert words in unavailable_reason(torch.device(device))
    driver._counts.clear()
    with pytest.raises(UsageError) as caught:
        share_streams(2, torch.device(device))
    assert str(caught.value).startswith("shares of the SMs are not available: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert driver.contexts == {}


def test_without_a_device_the_current_one_is_asked(driver):
    assert unavailable_reason() is None
    driver.failures["cuDeviceGetDevResource", 2] = CUresult.CUDA_ERROR_NOT_SUPPORTED
    assert "cuda:0" in unavailable_reason()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_machine_without_a_gpu_says_so():
    assert "CUDA" in unavailable_reason()
    with pytest.raises(UsageError, match="not available"):
        share_streams(2, torch.device("cuda"))


CUDA = torch.device("cuda")
SM_OF_EACH_BLOCK = r"""
extern "C" __global__ void sm_of_each_block(int* sm) {
    unsigned id;
    asm volatile("mov.u32 %0, %%smid;" : "=r"(id));
    // Long enough that blocks spread over every SM that they may run on, instead of following one another on a few.
    for (long long start = clock64(); clock64() - start < 200000;) {}
    if (threadIdx.x == 0) sm[blockIdx.x] = (int)id;
}
"""


@pytest.fixture
def cuda_shares():
    """Return a function that makes shares of the real device, or skips, and closes them after the test."""
    reason = unavailable_reason(CUDA)
    if reason is not None:
        pytest.skip(reason)
    made = []

    def make(count):
        made.append(share_streams(count, CUDA))
        return made[-1]

    yield make
    gc.collect()  # graphs first
    for each in made:
        each.close()


@pytest.fixture
def where(cuda_shares, monkeypatch):
    """Return a function that runs a kernel on the current stream, which writes the SM of each of its blocks."""
    if cpp_extension.CUDA_HOME is None:  # torch asks for the toolkit's headers; this source includes none
        monkeypatch.setattr(cpp_extension, "CUDA_HOME", "/nonexistent")
    if not hasattr(torch.cuda, "_compile_kernel"):
        pytest.skip("this torch compiles no CUDA source")
    kernel = torch.cuda._compile_kernel(SM_OF_EACH_BLOCK, "sm_of_each_block")
    return lambda sm: kernel(grid=(sm.numel(), 1, 1), block=(1024, 1, 1), args=[sm])


def blocks(count):
    multiprocessors = torch.cuda.get_device_properties(CUDA).multi_processor_count
    return [torch.full((4 * multiprocessors,), -1, dtype=torch.int32, device=CUDA) for _ in range(count)]


def assert_disjoint(written, sms):
    used = [set(each.tolist()) for each in written]
    assert all(-1 not in each for each in used), "every block ran"
    assert [len(each) for each in used] == sms, "all SMs of a share are used, and no other"
    assert len(set.union(*used)) == sum(sms), "no SM is in two shares"


@pytest.mark.cuda
@pytest.mark.parametrize("count", [1, 2, 4])
def test_cuda_sms_add_up(cuda_shares, count):
    made = cuda_shares(count)
    assert len(made.streams) == len(made.sms) == count
    assert len(set(made.sms)) == 1
    assert made.sms[0] > 0
    assert sum(made.sms) + made.leftover_sms == torch.cuda.get_device_properties(CUDA).multi_processor_count


@pytest.mark.cuda
def test_cuda_shares_can_be_made_again_and_too_many_are_refused(cuda_shares):
    most = green_contexts.most_contexts(torch.cuda.current_device())
    cuda_shares(most).close()
    first = cuda_shares(2)
    first.close()
    assert cuda_shares(2).sms == first.sms
    with pytest.raises(UsageError, match=f"at most {most}"):
        share_streams(most + 1, CUDA)


@pytest.mark.cuda
def test_cuda_kernels_stay_on_their_share(cuda_shares, where):
    """The purpose of it all: each stream's blocks run on SMs that no other stream's blocks run on."""
    made = cuda_shares(2)
    written = blocks(2)
    torch.cuda.synchronize()
    for stream, sm in zip(made.streams, written, strict=True):
        with torch.cuda.stream(stream):
            where(sm)
    torch.cuda.synchronize()
    assert_disjoint(written, made.sms)


@pytest.mark.cuda
def test_cuda_matmul_and_backward_on_a_share_are_right(cuda_shares):
    a = torch.randn(256, 128, dtype=torch.float64)
    b = torch.randn(128, 64, dtype=torch.float64)
    right = a @ b
    for stream in cuda_shares(2).streams:
        with torch.cuda.stream(stream):
            left, other = a.to(CUDA).requires_grad_(), b.to(CUDA)
            assert torch.cuda.current_stream().cuda_stream == stream.cuda_stream
            product = left @ other
            product.square().sum().backward()
        stream.synchronize()
        torch.testing.assert_close(product.detach().cpu(), right)
        torch.testing.assert_close(left.grad.cpu(), 2 * right @ b.T)


@pytest.mark.cuda
def test_cuda_a_stream_waits_for_another_share(cuda_shares):
    """Lanes hand over by events: a share must see what another has written before its event."""
    first, second = cuda_shares(2).streams
    x = torch.zeros(1 << 20, device=CUDA)
    y = torch.empty_like(x)
    torch.cuda.synchronize()
    with torch.cuda.stream(first):
        for _ in range(50):
            x += 1
    second.wait_event(first.record_event())
    with torch.cuda.stream(second):
        y.copy_(x)
    second.synchronize()
    assert bool((y == 50).all())


@pytest.mark.cuda
def test_cuda_a_recording_on_shares_replays_with_new_values_on_the_same_sms(cuda_shares, where):
    """Recorded on one share with a branch on the other, as a tick of the pipeline is."""
    made = cuda_shares(2)
    first, second = made.streams
    a, b = (torch.randn(64, 64, device=CUDA, dtype=torch.float64) for _ in range(2))
    product, total = torch.empty_like(a), torch.empty_like(a)
    written = blocks(2)

    def body():
        second.wait_stream(torch.cuda.current_stream())
        torch.matmul(a, b, out=product)
        where(written[0])
        with torch.cuda.stream(second):
            torch.add(a, b, out=total)
            where(written[1])
        torch.cuda.current_stream().wait_stream(second)

    replay = capture.record(body, device=CUDA, stream=first)
    torch.cuda.synchronize()
    for sm in written:
        sm.fill_(-1)
    for _ in range(3):
        a.copy_(torch.randn(64, 64, dtype=torch.float64))
        replay()
        torch.cuda.synchronize()
        torch.testing.assert_close(product.cpu(), a.cpu() @ b.cpu())
        torch.testing.assert_close(total.cpu(), a.cpu() + b.cpu())
    assert_disjoint(written, made.sms)
