"""Green contexts: one split, disjoint contexts, nothing left behind whatever fails, the driver's own error names."""

import inspect
import itertools
import pickle

import pytest

from albench import green_contexts
from albench.errors import UsageError
from albench.green_contexts import FUNCTIONS, GreenContextError, GreenContexts
from tests.fake_driver import CUresult, FakeDriver

PROVISION = ["cuDevResourceGenerateDesc", "cuGreenCtxCreate", "cuGreenCtxGetDevResource", "cuGreenCtxStreamCreate"]
UNDO = ["cuStreamSynchronize", "cuStreamDestroy", "cuGreenCtxDestroy"]


@pytest.fixture
def use(monkeypatch):
    """Return a function that puts a made-up driver in the place of the real one and returns it."""

    def put(driver):
        monkeypatch.setattr(green_contexts, "load_driver", lambda: driver)
        return driver

    return put


def left_behind(driver):
    return driver.contexts, driver.streams, driver.wrongs


NOTHING = ({}, {}, [])


@pytest.mark.parametrize(
    ("options", "count", "sms", "leftover"),
    [
        ({"total": 132}, 1, 128, 4),  # 132 is no multiple of 8
        ({"total": 132}, 2, 64, 4),
        ({"total": 132}, 3, 40, 12),
        ({"total": 132}, 4, 32, 4),  # 33 each would be rounded up to 40, of which there are only three
        ({"total": 132}, 16, 8, 4),
        ({"total": 132, "lost_groups": 1}, 4, 24, 36),  # the driver makes three of 32, whatever division says
        ({"total": 46, "step": 2}, 4, 10, 6),
        ({"total": 128}, 4, 32, 0),  # no remainder: the driver leaves its fields undefined
        ({"total": 132, "refuses_large": True}, 1, 128, 4),
    ],
    ids=str,
)
def test_contexts_are_disjoint_equal_and_as_large_as_the_driver_makes_them(use, options, count, sms, leftover):
    driver = use(FakeDriver(**options))
    contexts = GreenContexts(count, 0)
    assert contexts.sms == [sms] * count
    assert contexts.leftover_sms == leftover
    assert sum(contexts.sms) + contexts.leftover_sms == contexts.total_sms == driver.total
    assert all(not set(a) & set(b) for a, b in itertools.combinations(driver.contexts.values(), 2))
    assert driver.splits == 1, "a second split begins with the same SMs again"
    assert contexts.streams == list(driver.streams), "a stream for each context, in order"
    assert list(driver.streams.values()) == list(driver.contexts)
    contexts.close()
    assert left_behind(driver) == NOTHING


@pytest.mark.parametrize(("asked", "made", "leftover"), [(8, 8, 116), (12, 16, 100), (64, 64, 4)])
def test_contexts_may_be_of_a_size_which_the_driver_rounds_up(use, asked, made, leftover):
    """One lane is then as large as one of many, and stands in for a device."""
    driver = use(FakeDriver(total=132))
    contexts = GreenContexts(2, 0, asked)
    assert (contexts.sms, contexts.leftover_sms) == ([made, made], leftover)
    assert driver.splits == 1
    contexts.close()
    assert left_behind(driver) == NOTHING


def test_more_of_a_size_than_there_are_is_refused(use):
    driver = use(FakeDriver(total=132))
    with pytest.raises(UsageError, match="at most 4 of 32 SMs, give at most 4, or smaller ones"):
        GreenContexts(5, 0, 32)
    assert left_behind(driver) == NOTHING


def test_calls_are_made_in_order_and_undone_in_reverse(use):
    driver = use(FakeDriver())
    contexts = GreenContexts(2, 0)
    questions = driver.calls.index("cuDevResourceGenerateDesc")
    assert driver.calls[:3] == ["cuInit", "cuDeviceGet", "cuDeviceGetDevResource"]
    assert set(driver.calls[3:questions]) == {"cuDevSmResourceSplitByCount"}
    assert driver.calls[questions:] == PROVISION * 2
    last, first = reversed(driver.streams.values())
    driver.calls.clear()
    order = []
    destroy = driver.cuGreenCtxDestroy
    driver.cuGreenCtxDestroy = lambda context: order.append(context) or destroy(context)
    contexts.close()
    assert driver.calls == UNDO * 2
    assert order == [last, first]
    contexts.close()
    assert driver.calls == UNDO * 2, "closing twice does nothing"
    assert contexts.streams == []
    assert contexts.sms == [64, 64], "for the records, after the run"


STEPS = [
    *[(name, 1) for name in ("cuInit", "cuDeviceGetDevResource", "cuDevSmResourceSplitByCount")],
    *[(name, nth) for nth in (1, 2, 3) for name in PROVISION],
]


@pytest.mark.parametrize(("function", "nth"), STEPS)
def test_a_failure_at_any_step_leaves_nothing_behind_and_names_the_error(use, function, nth):
    driver = use(FakeDriver())
    driver.failures[function, nth] = CUresult.CUDA_ERROR_OUT_OF_MEMORY
    with pytest.raises(GreenContextError, match=rf"^{function}: CUDA_ERROR_OUT_OF_MEMORY \(out of memory\)$") as caught:
        GreenContexts(3, 0)
    assert (caught.value.function, caught.value.error_name) == (function, "CUDA_ERROR_OUT_OF_MEMORY")
    assert left_behind(driver) == NOTHING
    assert not hasattr(caught.value, "__notes__")


def test_an_interrupt_in_the_middle_leaves_nothing_behind(use):
    driver = use(FakeDriver())
    create, made = driver.cuGreenCtxStreamCreate, []

    def interrupted(*arguments):
        if made:
            raise KeyboardInterrupt
        made.append(1)
        return create(*arguments)

    driver.cuGreenCtxStreamCreate = interrupted
    with pytest.raises(KeyboardInterrupt):
        GreenContexts(3, 0)
    assert left_behind(driver) == NOTHING


def test_a_failure_while_undoing_does_not_hide_the_first_error(use):
    driver = use(FakeDriver())
    driver.failures["cuGreenCtxCreate", 2] = CUresult.CUDA_ERROR_OUT_OF_MEMORY
    driver.failures["cuStreamDestroy", 1] = CUresult.CUDA_ERROR_INVALID_CONTEXT
    with pytest.raises(GreenContextError, match="CUDA_ERROR_OUT_OF_MEMORY") as caught:
        GreenContexts(2, 0)
    assert caught.value.__notes__ == ["while undoing: cuStreamDestroy: CUDA_ERROR_INVALID_CONTEXT (invalid context)"]
    assert left_behind(driver) == NOTHING


def test_close_tries_every_step_and_raises_the_first_error(use):
    driver = use(FakeDriver())
    contexts = GreenContexts(3, 0)
    driver.failures["cuStreamSynchronize", 1] = CUresult.CUDA_ERROR_ILLEGAL_ADDRESS
    driver.failures["cuGreenCtxDestroy", 2] = CUresult.CUDA_ERROR_ILLEGAL_ADDRESS
    with pytest.raises(GreenContextError, match="^cuStreamSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS") as caught:
        contexts.close()
    assert caught.value.__notes__ == ["and then: cuGreenCtxDestroy: CUDA_ERROR_ILLEGAL_ADDRESS (illegal address)"]
    assert left_behind(driver) == NOTHING
    contexts.close()


@pytest.mark.parametrize(
    ("options", "most"), [({"total": 132}, 16), ({"lost_groups": 3}, 13), ({"total": 46, "step": 2}, 23)], ids=str
)
def test_more_than_the_driver_makes_is_refused_with_its_number(use, options, most):
    driver = use(FakeDriver(**options))
    assert green_contexts.most_contexts(0) == most
    with pytest.raises(UsageError, match=f"^{most + 1} shares .* at most {most} .*give at most {most}$"):
        GreenContexts(most + 1, 0)
    assert left_behind(driver) == NOTHING
    GreenContexts(most, 0).close()


def test_an_error_other_than_too_large_is_not_taken_for_no_group(use):
    driver = use(FakeDriver())
    driver.failures["cuDevSmResourceSplitByCount", 2] = CUresult.CUDA_ERROR_NOT_SUPPORTED
    with pytest.raises(GreenContextError, match="CUDA_ERROR_NOT_SUPPORTED"):
        GreenContexts(4, 0)


def test_a_device_that_cannot_be_split_is_an_error_not_zero_groups(use):
    use(FakeDriver(6, refuses_large=True))
    with pytest.raises(GreenContextError, match="CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION"):
        green_contexts.most_contexts(0)


def test_fewer_groups_than_announced_is_an_error(use):
    driver = use(FakeDriver())
    split = driver.cuDevSmResourceSplitByCount

    def fewer(groups, whole, flags, least):
        status, cuts, made, remainder = split(groups, whole, flags, least)
        return status, cuts, made - (groups > 0), remainder

    driver.cuDevSmResourceSplitByCount = fewer
    with pytest.raises(GreenContextError, match="3 of 32 SMs where it had announced 4"):
        GreenContexts(4, 0)
    assert left_behind(driver) == NOTHING


def test_contexts_that_overlap_are_refused(use):
    driver = use(FakeDriver())
    driver.cuGreenCtxGetDevResource = lambda context, kind: (CUresult.CUDA_SUCCESS, driver._resource(list(range(132))))
    with pytest.raises(GreenContextError, match="overlap"):
        GreenContexts(2, 0)
    assert left_behind(driver) == NOTHING


def test_unknown_errors_and_unknown_devices_are_named_too(use):
    driver = use(FakeDriver())
    with pytest.raises(GreenContextError, match="^cuDeviceGet: CUDA_ERROR_INVALID_DEVICE"):
        GreenContexts(1, 5)
    driver.failures["cuGreenCtxCreate", 1] = 4242
    with pytest.raises(GreenContextError, match=r"^cuGreenCtxCreate: error 4242 \(no description\)$"):
        GreenContexts(1, 0)


def test_the_error_crosses_processes():
    error = pickle.loads(pickle.dumps(GreenContextError("cuInit", "CUDA_ERROR_NO_DEVICE", "none")))
    assert (error.function, error.error_name, str(error)) == (
        "cuInit",
        "CUDA_ERROR_NO_DEVICE",
        "cuInit: CUDA_ERROR_NO_DEVICE (none)",
    )


def test_reasons_against(use, monkeypatch):
    use(FakeDriver(version=12080))
    assert green_contexts.unavailable_reason() is None
    use(FakeDriver(version=12060))
    assert green_contexts.unavailable_reason() == (
        "the GPU's driver supports CUDA 12.6: install one that supports 12.8 or newer"
    )
    driver = use(FakeDriver())
    driver.failures["cuDriverGetVersion", 1] = RuntimeError("libcuda.so.1 is not there")
    reason = green_contexts.unavailable_reason()
    assert "cuDriverGetVersion: RuntimeError (libcuda.so.1 is not there)" in reason
    assert "install NVIDIA's driver" in reason

    class Old(FakeDriver):
        @property
        def cuGreenCtxStreamCreate(self):  # noqa: N802
            raise AttributeError

    use(Old())
    assert green_contexts.unavailable_reason() == (
        "cuda-bindings lacks cuGreenCtxStreamCreate: install version 12.8 or newer"
    )

    def absent():
        raise ModuleNotFoundError("No module named 'cuda'")

    monkeypatch.setattr(green_contexts, "load_driver", absent)
    assert "cuda-bindings cannot be imported (No module named 'cuda')" in green_contexts.unavailable_reason()


def test_the_made_up_driver_has_the_signatures_and_names_of_the_real_one():
    """Else every test above could pass with calls that the real driver refuses."""
    real = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed: no CUDA build of torch")
    fake = FakeDriver()
    for name in FUNCTIONS:
        real_parameters = inspect.signature(getattr(real, name)).parameters
        assert len(inspect.signature(getattr(fake, name)).parameters) == len(real_parameters), name
    for name in ("CUdevResourceType", "CUgreenCtxCreate_flags", "CUstream_flags", "CUresult"):
        for member in getattr(fake, name):
            assert getattr(getattr(real, name), member.name) == member.value, member
    assert hasattr(real.CUdevResource(), "type")
    assert hasattr(real.CUdevResource().sm, "smCount")
    assert int(real.CUstream(7)) == 7
