"""libcuda by ctypes: the few calls that the tests need, each checked."""

from __future__ import annotations

import ctypes
import os
from ctypes import byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any

from nodes.agent.measure.cuda import CudaError

# Argument types by name; the suffixes are those that cuda.h maps the plain names to.
CALLS: dict[str, list[Any]] = {
    "cuGetErrorName": [c_int, c_void_p],
    "cuInit": [c_uint],
    "cuDeviceGetCount": [c_void_p],
    "cuDeviceGet": [c_void_p, c_int],
    "cuDeviceGetUuid": [c_void_p, c_int],
    "cuDeviceGetName": [c_char_p, c_int, c_int],
    "cuDeviceGetPCIBusId": [c_char_p, c_int, c_int],
    "cuDeviceTotalMem_v2": [c_void_p, c_int],
    "cuDeviceGetAttribute": [c_void_p, c_int, c_int],
    "cuDevicePrimaryCtxRetain": [c_void_p, c_int],
    "cuDevicePrimaryCtxRelease_v2": [c_int],
    "cuCtxSetCurrent": [c_void_p],
    "cuCtxSynchronize": [],
    "cuMemGetInfo_v2": [c_void_p, c_void_p],
    "cuMemAlloc_v2": [c_void_p, c_size_t],
    "cuMemFree_v2": [c_uint64],
    "cuMemAllocHost_v2": [c_void_p, c_size_t],
    "cuMemFreeHost": [c_void_p],
    "cuMemcpyHtoD_v2": [c_uint64, c_void_p, c_size_t],
    "cuMemcpyDtoH_v2": [c_void_p, c_uint64, c_size_t],
    "cuMemcpyHtoDAsync_v2": [c_uint64, c_void_p, c_size_t, c_void_p],
    "cuMemcpyDtoHAsync_v2": [c_void_p, c_uint64, c_size_t, c_void_p],
    "cuMemcpyDtoDAsync_v2": [c_uint64, c_uint64, c_size_t, c_void_p],
    "cuModuleLoadData": [c_void_p, c_char_p],
    "cuModuleGetFunction": [c_void_p, c_void_p, c_char_p],
    "cuLaunchKernel": [c_void_p, *[c_uint] * 7, c_void_p, c_void_p, c_void_p],
    "cuEventCreate": [c_void_p, c_uint],
    "cuEventRecord": [c_void_p, c_void_p],
    "cuEventSynchronize": [c_void_p],
    "cuEventElapsedTime": [c_void_p, c_void_p, c_void_p],
    "cuEventDestroy_v2": [c_void_p],
}
OUT_OF_MEMORY = 2


class LibCuda:
    """The driver's library; raises CudaError when it is not there or sees no device."""

    def __init__(self) -> None:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # an owner's shell may hide cards from his own programs
        try:
            self._library = ctypes.CDLL("libcuda.so.1")
            for name, types in CALLS.items():
                function = getattr(self._library, name)
                function.argtypes, function.restype = types, c_int
        except (OSError, AttributeError) as error:
            raise CudaError(f"no CUDA runtime: {error}") from error
        self("cuInit", 0)

    def __call__(self, name: str, *arguments: Any) -> None:
        """Make a call; raises CudaError with its name and code."""
        if code := self.tried(name, *arguments):
            raise CudaError(f"{name} failed with {code}{self._meaning(code)}")

    def tried(self, name: str, *arguments: Any) -> int:
        """The code of a call; 0 is well."""
        return int(getattr(self._library, name)(*arguments))

    def _meaning(self, code: int) -> str:
        """` CUDA_ERROR_…`, which a search finds: a missing PTX compiler, a fabric that is not up, a card in use."""
        name = c_char_p()
        failed = self.tried("cuGetErrorName", code, byref(name))
        return f" {name.value.decode(errors='replace')}" if not failed and name.value else ""

    def handle(self, name: str, *arguments: Any) -> c_void_p:
        """A call whose first argument is where the handle goes."""
        made = c_void_p()
        self(name, byref(made), *arguments)
        return made

    def number(self, name: str, *arguments: Any) -> int:
        """A call whose first argument is where a number goes."""
        found = c_size_t(0)
        self(name, byref(found), *arguments)
        return found.value


class Stopwatch:
    """The device's own time over what is enqueued between begin and end."""

    def __init__(self, cuda: LibCuda) -> None:
        self._cuda = cuda
        self._begin, self._end = (cuda.handle("cuEventCreate", 0) for _ in range(2))

    def begin(self) -> None:
        self._cuda("cuEventRecord", self._begin, None)

    def end(self) -> None:
        self._cuda("cuEventRecord", self._end, None)

    def seconds(self) -> float:
        """Waits for the end."""
        self._cuda("cuEventSynchronize", self._end)
        milliseconds = c_float()
        self._cuda("cuEventElapsedTime", byref(milliseconds), self._begin, self._end)
        return max(milliseconds.value / 1000, 1e-6)

    def close(self) -> None:
        for event in (self._begin, self._end):
            self._cuda.tried("cuEventDestroy_v2", event)
