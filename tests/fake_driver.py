# ruff: noqa: N802 - the functions have the names of the driver's
"""A driver in place of ``cuda.bindings.driver``, for machines without a GPU: the calls that green contexts need.

It has the rules of the documentation that our code depends on. Like the real one it gives every split the SMs from the
first on, so contexts of two splits overlap; it rounds sizes up, and says what is still alive and what was done wrong.
"""

from collections import Counter
from enum import IntEnum
from types import SimpleNamespace


class CUresult(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NOT_INITIALIZED = 3
    CUDA_ERROR_INVALID_DEVICE = 101
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_ILLEGAL_ADDRESS = 700
    CUDA_ERROR_CONTEXT_IS_DESTROYED = 709
    CUDA_ERROR_NOT_SUPPORTED = 801
    CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION = 915


OK = CUresult.CUDA_SUCCESS


class FakeDriver:
    """One device of `total` SMs that come in steps of `step`.

    `lost_groups`: how many groups less it makes than divide evenly, as a device with defective clusters does.
    `refuses_large`: whether a group too large is an error rather than no group. `version`: as cuDriverGetVersion's.
    """

    CUresult = CUresult
    CUdevResourceType = IntEnum(
        "CUdevResourceType", [("CU_DEV_RESOURCE_TYPE_INVALID", 0), ("CU_DEV_RESOURCE_TYPE_SM", 1)]
    )
    CUgreenCtxCreate_flags = IntEnum("CUgreenCtxCreate_flags", [("CU_GREEN_CTX_DEFAULT_STREAM", 1)])
    CUstream_flags = IntEnum("CUstream_flags", [("CU_STREAM_NON_BLOCKING", 1)])

    def __init__(self, total=132, *, step=8, version=13000, lost_groups=0, refuses_large=False):
        self.total, self.step, self.version = total, step, version
        self.lost_groups, self.refuses_large = lost_groups, refuses_large
        self.calls = []
        """Names of the functions in the order in which they were called, without those that ask for an error's name."""
        self.failures = {}
        """(function, how many-th call of it) → the status to return, or the exception to raise, instead of working."""
        self.contexts = {}
        """Live contexts → the SMs that they own."""
        self.streams = {}
        """Live streams → their context."""
        self.waited = set()
        self.wrongs = []
        """What a real driver would punish later, or only sometimes."""
        self.splits = 0
        self._counts = Counter()
        self._initialised = False
        self._last_handle = 1000

    def _begin(self, name):
        self.calls.append(name)
        self._counts[name] += 1
        failure = self.failures.get((name, self._counts[name]))
        if isinstance(failure, Exception):
            raise failure
        if failure is None and not self._initialised and name not in ("cuInit", "cuDriverGetVersion"):
            return CUresult.CUDA_ERROR_NOT_INITIALIZED
        return failure or OK

    def _handle(self):
        self._last_handle += 1
        return self._last_handle

    def _resource(self, sms):
        # The count is left undefined where there is nothing, so nobody should read it.
        kind = self.CUdevResourceType(1 if sms else 0)
        return SimpleNamespace(type=kind, sms=sms, sm=SimpleNamespace(smCount=len(sms) if sms else 0xDEAD))

    def cuInit(self, flags):
        status = self._begin("cuInit")
        self._initialised |= status == OK
        return (status,)

    def cuDriverGetVersion(self):
        status = self._begin("cuDriverGetVersion")
        return status, self.version

    def cuDeviceGet(self, ordinal):
        status = self._begin("cuDeviceGet")
        return (status, f"device {ordinal}") if ordinal == 0 else (CUresult.CUDA_ERROR_INVALID_DEVICE, None)

    def cuDeviceGetDevResource(self, device, typename):
        status = self._begin("cuDeviceGetDevResource")
        return status, self._resource(list(range(self.total))) if status == OK else None

    def cuDevSmResourceSplitByCount(self, groups, whole, flags, least):
        status = self._begin("cuDevSmResourceSplitByCount")
        size = max(1, -(-least // self.step)) * self.step
        most = max(0, len(whole.sms) // size - self.lost_groups)
        if not 0 <= least <= len(whole.sms):
            status = CUresult.CUDA_ERROR_INVALID_VALUE
        elif self.refuses_large and not most:
            status = CUresult.CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION
        if status != OK:
            return status, None, None, None
        if groups == 0:
            return OK, [], most, self._resource([])
        self.splits += 1
        made = min(groups, most)
        cuts = [whole.sms[i * size : (i + 1) * size] if i < made else [] for i in range(groups)]
        return OK, [self._resource(cut) for cut in cuts], made, self._resource(whole.sms[made * size :])

    def cuDevResourceGenerateDesc(self, resources, count):
        status = self._begin("cuDevResourceGenerateDesc")
        if count != len(resources) or not all(resource.sms for resource in resources):
            status = CUresult.CUDA_ERROR_INVALID_VALUE
        return (OK, [sm for resource in resources for sm in resource.sms]) if status == OK else (status, None)

    def cuGreenCtxCreate(self, description, device, flags):
        status = self._begin("cuGreenCtxCreate")
        if status == OK and flags != self.CUgreenCtxCreate_flags.CU_GREEN_CTX_DEFAULT_STREAM:
            status = CUresult.CUDA_ERROR_INVALID_VALUE
        if status != OK:
            return status, None
        context = self._handle()
        self.contexts[context] = description
        return OK, context

    def cuGreenCtxGetDevResource(self, context, typename):
        status = self._begin("cuGreenCtxGetDevResource")
        return (OK, self._resource(self.contexts[context])) if status == OK else (status, None)

    def cuGreenCtxStreamCreate(self, context, flags, priority):
        status = self._begin("cuGreenCtxStreamCreate")
        if status == OK and flags != self.CUstream_flags.CU_STREAM_NON_BLOCKING:
            status = CUresult.CUDA_ERROR_INVALID_VALUE
        if status != OK:
            return status, None
        stream = self._handle()
        self.streams[stream] = context
        return OK, stream

    def cuStreamSynchronize(self, stream):
        status = self._begin("cuStreamSynchronize")
        if stream not in self.streams:
            self.wrongs.append(f"waited for stream {stream}, which is not alive")
        self.waited.add(stream)
        return (status,)

    def cuStreamDestroy(self, stream):
        status = self._begin("cuStreamDestroy")
        if self.streams.pop(stream, None) is None:
            self.wrongs.append(f"destroyed stream {stream}, which is not alive")
        if stream not in self.waited:
            self.wrongs.append(f"destroyed stream {stream} without waiting for its work")
        return (status,)

    def cuGreenCtxDestroy(self, context):
        status = self._begin("cuGreenCtxDestroy")
        if context in self.streams.values():
            self.wrongs.append(f"destroyed context {context} before its stream")
        if self.contexts.pop(context, None) is None:
            return (CUresult.CUDA_ERROR_CONTEXT_IS_DESTROYED,)
        return (status,)

    def cuGetErrorName(self, status):
        known = status in list(CUresult)
        return (OK, CUresult(status).name.encode()) if known else (CUresult.CUDA_ERROR_INVALID_VALUE, None)

    def cuGetErrorString(self, status):
        known = status in list(CUresult)
        text = CUresult(status).name.removeprefix("CUDA_ERROR_").lower().replace("_", " ") if known else ""
        return (OK, text.encode()) if known else (CUresult.CUDA_ERROR_INVALID_VALUE, None)
