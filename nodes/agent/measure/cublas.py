"""Matrix products through cuBLAS, where a host has it; the optional extra `measure` brings it."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
from collections.abc import Iterable, Iterator
from ctypes import byref, c_int, c_uint16, c_uint64, c_void_p
from pathlib import Path
from typing import Any

from nodes.agent.measure.cuda import CudaError
from nodes.agent.passport import line_of

NAMES = ("libcublas.so.13", "libcublas.so.12", "libcublas.so.11")
HALF, COMPUTE_HALF, DEFAULT_ALGORITHM = 2, 64, -1
TRANSPOSED, AS_IT_IS = 1, 0
ONE, ZERO = c_uint16(0x3C00), c_uint16(0)
# The high byte of 0, 1 and −1 in FP16; their low byte is 0. 255 stands for −1.
_HIGH = bytes({0: 0x00, 1: 0x3C, 255: 0xBC}.get(value, 0) for value in range(256))


def half_matrix(nonce: bytes, matrix: str, side: int) -> bytearray:
    """Every line of a matrix as FP16, one after the other. Sums of products of 0 and ±1 stay exact in FP16."""
    lines = b"".join(line_of(nonce, matrix, number, side) for number in range(side))
    halves = bytearray(2 * len(lines))
    halves[1::2] = lines.translate(_HIGH)
    return halves


class CuBlas:
    """The library with a handle for the current context; raises CudaError when there is none."""

    def __init__(self) -> None:
        self._library, self._handle = opened(_libraries())
        self._library.cublasGemmEx.argtypes = [
            c_void_p, c_int, c_int, c_int, c_int, c_int, c_void_p, c_uint64, c_int, c_int, c_uint64, c_int, c_int,
            c_void_p, c_uint64, c_int, c_int, c_int, c_int,
        ]  # fmt: skip

    def multiply(self, a: int, b: int, product: int, side: int) -> None:
        """Enqueue product = A × B, A by rows and B by columns as `line_of` makes them, the product by columns."""
        code = self._library.cublasGemmEx(
            self._handle, TRANSPOSED, AS_IT_IS, side, side, side, byref(ONE), a, HALF, side, b, HALF, side,
            byref(ZERO), product, HALF, side, COMPUTE_HALF, DEFAULT_ALGORITHM,
        )  # fmt: skip
        self._check("cublasGemmEx", code)

    def close(self) -> None:
        self._library.cublasDestroy_v2(self._handle)

    def _check(self, name: str, code: int) -> None:
        if code:
            raise CudaError(f"{name} failed with {code}")


def opened(libraries: Iterable[Any]) -> tuple[Any, c_void_p]:
    """The first that works, with its handle: a host may have one that is too new for its driver; or CudaError."""
    why = "no cuBLAS on this host: pip install 'fallow-agent[measure]'"
    for library in libraries:
        handle = c_void_p()
        code = library.cublasCreate_v2(byref(handle))
        if not code:
            return library, handle
        why = f"cublasCreate_v2 failed with {code}"
    raise CudaError(why)


def _libraries() -> Iterator[ctypes.CDLL]:
    for name in NAMES:
        for folder in (*wheel_folders(), None):
            with contextlib.suppress(OSError):
                if folder is not None:  # the wheel's own libraries find each other only once they are loaded
                    ctypes.CDLL(str(folder / name.replace("cublas", "cublasLt")), mode=ctypes.RTLD_GLOBAL)
                yield ctypes.CDLL(str(folder / name) if folder is not None else name)


def wheel_folders() -> list[Path]:
    """Where NVIDIA's wheels put their libraries: those of CUDA 12 each by itself, those of CUDA 13 together."""
    spec = importlib.util.find_spec("nvidia")
    places = spec.submodule_search_locations if spec else None
    return [Path(place) / folder for place in places or [] for folder in ("cublas/lib", "cu13/lib")]
