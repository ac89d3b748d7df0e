"""The timed tests on a real device, through the driver's library; products through cuBLAS where there is one."""

from __future__ import annotations

import ctypes
import hashlib
import struct
import time
import uuid as uuids
from ctypes import byref, c_uint, c_uint64, c_void_p

from nodes.agent.measure.cublas import CuBlas, half_matrix
from nodes.agent.measure.cuda import CudaError, During, Numbers
from nodes.agent.measure.kernels import PAGE_BYTES, PTX, THREADS
from nodes.agent.measure.libcuda import OUT_OF_MEMORY, LibCuda, Stopwatch
from nodes.agent.measure.views import bus_of
from nodes.agent.passport import sampled_places

MIB = 1024 * 1024
CHUNK_BYTES, CHUNK_BYTES_MIN = 1024 * MIB, 64 * MIB
COVER_PERCENT = 96
COPY_BYTES, HOST_COPY_BYTES, COPIES, HOST_COPIES = 2048 * MIB, 256 * MIB, 40, 16
SIDE = 8192
WARM_SECONDS, PRODUCT_SECONDS, BATCH_SECONDS = 0.5, 3.0, 0.25
SM_COUNT, BUS_BITS, MAJOR, MINOR = 16, 37, 75, 76
NOTHING = 2**64 - 1


class DriverApi:
    """libcuda of this host; raises CudaError when there is none."""

    def __init__(self) -> None:
        self._cuda = LibCuda()

    def open(self, uuid: str) -> RealCard:
        """The device of a UUID; raises CudaError when CUDA does not see it."""
        for number in range(self._cuda.number("cuDeviceGetCount") & 0xFFFFFFFF):
            device = self._cuda.number("cuDeviceGet", number) & 0xFFFFFFFF
            if _uuid_of(self._cuda, device) == uuid:
                return RealCard(self._cuda, device, uuid)
        raise CudaError("CUDA sees no such device")


def _uuid_of(cuda: LibCuda, device: int) -> str:
    raw = ctypes.create_string_buffer(16)
    cuda("cuDeviceGetUuid", raw, device)
    return f"GPU-{uuids.UUID(bytes=raw.raw)}"


class RealCard:
    """One device with its primary context."""

    def __init__(self, cuda: LibCuda, device: int, uuid: str) -> None:
        self._cuda, self._device, self._uuid = cuda, device, uuid
        context = cuda.handle("cuDevicePrimaryCtxRetain", device)
        try:
            cuda("cuCtxSetCurrent", context)
            module = cuda.handle("cuModuleLoadData", PTX.encode())
            self._kernels = {
                name: cuda.handle("cuModuleGetFunction", module, name.encode()) for name in ("fill", "check", "digest")
            }
        except CudaError:
            cuda.tried("cuDevicePrimaryCtxRelease_v2", device)
            raise
        self._batch = 1
        self._blas: CuBlas | None = None
        self._buffers: list[int] = []
        self._matrices: tuple[int, int, int] | None = None
        self._first_digest: int | None = None

    def facts(self) -> Numbers:
        name, bus = ctypes.create_string_buffer(100), ctypes.create_string_buffer(32)
        self._cuda("cuDeviceGetName", name, 100, self._device)
        self._cuda("cuDeviceGetPCIBusId", bus, 32, self._device)
        return {
            "uuid": self._uuid,
            "name": name.value.decode(errors="replace"),
            "pci_bus_id": bus_of(bus.value.decode()),
            "compute_capability": f"{self._attribute(MAJOR)}.{self._attribute(MINOR)}",
            "memory_total_mib": self._cuda.number("cuDeviceTotalMem_v2", self._device) // MIB,
            "sm_count": self._attribute(SM_COUNT),
            "memory_bus_bits": self._attribute(BUS_BITS),
        }

    def memory_truth(self, nonce: bytes, *, patterns: int) -> Numbers:
        chunks = self._all_memory()
        wrong, first = 0, NOTHING
        try:
            for pattern in range(patterns):
                seed = int.from_bytes(hashlib.sha256(nonce + bytes([pattern])).digest()[:8], "little")
                self._run_over(chunks, "fill", seed)
                found, at = self._checked(chunks, seed)
                wrong, first = max(wrong, found), min(first, at)
        finally:
            self._free([address for address, _ in chunks])
        covered = sum(size for _, size in chunks)
        return {
            "covered_mib": covered // MIB,
            "pages": covered // PAGE_BYTES,
            "patterns": patterns,
            "mismatched_pages": wrong,
            "first_mismatch_mib": None if first == NOTHING else first * 8 // MIB,
        }

    def copies(self, during: During) -> Numbers:
        size = min(COPY_BYTES, self._free_bytes() // 4 // MIB * MIB)
        source, target = self._allocated(size), self._allocated(size)
        try:
            on_device = self._copied(
                size, COPIES, lambda: self._cuda("cuMemcpyDtoDAsync_v2", target, source, size, None)
            )
            host_size = min(HOST_COPY_BYTES, size)
            host = self._cuda.handle("cuMemAllocHost_v2", host_size)
            try:
                to_device, to_host = (
                    self._copied(host_size, HOST_COPIES, copy, during)
                    for copy in (
                        lambda: self._cuda("cuMemcpyHtoDAsync_v2", target, host, host_size, None),
                        lambda: self._cuda("cuMemcpyDtoHAsync_v2", host, source, host_size, None),
                    )
                )
            finally:
                self._cuda.tried("cuMemFreeHost", host)
        finally:
            self._free([source, target])
        # Each byte on the device is read and written.
        return {
            "device_mb_s": 2 * on_device,
            "to_device_mb_s": to_device,
            "to_host_mb_s": to_host,
            "copy_mib": size // MIB,
        }

    def product(self, nonce: bytes, during: During) -> Numbers:
        blas = self._blas = self._blas or CuBlas()
        size = 2 * SIDE * SIDE
        a, b, c = self._matrices = (self._allocated(size), self._allocated(size), self._allocated(size))
        for address, matrix in ((a, "A"), (b, "B")):
            halves = half_matrix(nonce, matrix, SIDE)
            self._cuda("cuMemcpyHtoD_v2", address, (ctypes.c_char * size).from_buffer(halves), size)
        self._multiplied(blas, 1)  # the first one loads the library's kernels
        self._batch = max(1, int(BATCH_SECONDS / (self._multiplied(blas, 3) / 3)))
        repeats, seconds = self._timed_products(blas, during)
        result = ctypes.create_string_buffer(size)
        self._cuda("cuMemcpyDtoH_v2", result, c, size)
        digest = hashlib.sha256(result.raw).hexdigest()
        places = sampled_places(nonce, digest, SIDE)
        shown = [struct.unpack_from("<e", result.raw, 2 * (column * SIDE + row))[0] for row, column in places]
        return {
            "side": SIDE,
            "repeats": repeats,
            "gflops": int(2 * SIDE**3 * repeats / seconds / 1e9),
            "product_sha256": digest,
            "samples": [int(value) if abs(value) < 2**15 else 2**15 for value in shown],
        }

    def work(self, seconds: float) -> int:
        """Products where there is cuBLAS, and every result compared with the first by its digest."""
        until = time.monotonic() + seconds
        if self._blas is None or self._matrices is None:
            self._write_until(until)
            return 0
        wrong = 0
        while time.monotonic() < until:
            self._multiplied(self._blas, self._batch)
            digest = self._digest_of(self._matrices[2], 2 * SIDE * SIDE)
            self._first_digest = digest if self._first_digest is None else self._first_digest
            wrong += digest != self._first_digest
        return wrong

    def load(self) -> Numbers:
        return {}

    def close(self) -> None:
        if self._blas is not None:
            self._blas.close()
        self._free(list(self._buffers))
        self._cuda.tried("cuDevicePrimaryCtxRelease_v2", self._device)

    def _attribute(self, number: int) -> int:
        return self._cuda.number("cuDeviceGetAttribute", number, self._device) & 0xFFFFFFFF

    def _free_bytes(self) -> int:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._cuda("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value

    def _allocated(self, size: int) -> int:
        address = self._cuda.number("cuMemAlloc_v2", size)
        self._buffers.append(address)
        return address

    def _free(self, addresses: list[int]) -> None:
        for address in addresses:
            self._cuda.tried("cuMemFree_v2", address)
            self._buffers.remove(address)

    def _all_memory(self) -> list[tuple[int, int]]:
        """Nearly all that is free, in chunks that get smaller when no larger one fits."""
        left, size = self._free_bytes() * COVER_PERCENT // 100, CHUNK_BYTES
        chunks: list[tuple[int, int]] = []
        while size >= CHUNK_BYTES_MIN:
            address = c_uint64()
            if left < size or (code := self._cuda.tried("cuMemAlloc_v2", byref(address), size)) == OUT_OF_MEMORY:
                size //= 2
                continue
            if code:
                raise CudaError(f"cuMemAlloc failed with {code}")
            self._buffers.append(address.value)
            chunks.append((address.value, size))
            left -= size
        if not chunks:
            raise CudaError("no memory is free")
        return chunks

    def _launch(self, name: str, pages: int, *arguments: ctypes._SimpleCData[int]) -> None:
        pointers = (c_void_p * len(arguments))(*(ctypes.addressof(each) for each in arguments))
        self._cuda("cuLaunchKernel", self._kernels[name], pages, 1, 1, THREADS, 1, 1, 0, None, pointers, None)

    def _run_over(self, chunks: list[tuple[int, int]], name: str, seed: int) -> None:
        first = 0
        for address, size in chunks:
            self._launch(name, size // PAGE_BYTES, c_uint64(address), c_uint64(first), c_uint64(seed))
            first += size // 8
        self._cuda("cuCtxSynchronize")

    def _checked(self, chunks: list[tuple[int, int]], seed: int) -> tuple[int, int]:
        """Wrong pages and the first wrong word, read from the last chunk to the first, each backwards."""
        result = (c_uint64 * 2)(0, NOTHING)
        place = self._allocated(ctypes.sizeof(result))
        try:
            self._cuda("cuMemcpyHtoD_v2", place, result, ctypes.sizeof(result))
            first = sum(size for _, size in chunks) // 8
            for address, size in reversed(chunks):
                first -= size // 8
                pages = size // PAGE_BYTES
                self._launch(
                    "check", pages, c_uint64(address), c_uint64(first), c_uint64(seed), c_uint(pages), c_uint64(place)
                )
            self._cuda("cuMemcpyDtoH_v2", result, place, ctypes.sizeof(result))
        finally:
            self._free([place])
        return int(result[0]), int(result[1])

    def _digest_of(self, address: int, size: int) -> int:
        result = c_uint64(0)
        place = self._allocated(8)
        try:
            self._cuda("cuMemcpyHtoD_v2", place, byref(result), 8)
            self._launch("digest", size // PAGE_BYTES, c_uint64(address), c_uint64(0), c_uint64(0), c_uint64(place))
            self._cuda("cuMemcpyDtoH_v2", byref(result), place, 8)
        finally:
            self._free([place])
        return result.value

    def _copied(self, size: int, repeats: int, copy: During, during: During = lambda: None) -> int:
        """MB/s of copies; `during` looks at the card while they run."""
        self._warm_up(copy)
        watch = Stopwatch(self._cuda)
        try:
            watch.begin()
            for _ in range(repeats):
                copy()
            watch.end()
            during()
            return int(size * repeats / watch.seconds() / 1e6)
        finally:
            watch.close()

    def _warm_up(self, copy: During) -> None:
        """Until the clocks and the link are awake: timed at once, an H200 at rest did 3.8 of its 4.3 TB/s."""
        until = time.monotonic() + WARM_SECONDS
        while time.monotonic() < until:
            copy()
            self._cuda("cuCtxSynchronize")

    def _multiplied(self, blas: CuBlas, repeats: int, during: During = lambda: None) -> float:
        assert self._matrices is not None
        watch = Stopwatch(self._cuda)
        try:
            watch.begin()
            for _ in range(repeats):
                blas.multiply(*self._matrices, SIDE)
            watch.end()
            during()
            return watch.seconds()
        finally:
            watch.close()

    def _timed_products(self, blas: CuBlas, during: During) -> tuple[int, float]:
        """How many in how many seconds, in batches, so that the card is looked at all along.

        The clock of a card that is cold rises, and that of one whose power is capped moves up and down.
        """
        repeats, seconds = 0, 0.0
        while seconds < PRODUCT_SECONDS:
            seconds += self._multiplied(blas, self._batch, during)
            repeats += self._batch
        return repeats, seconds

    def _write_until(self, until: float) -> None:
        """Without cuBLAS the memory is kept busy, which heats it and little else."""
        size = min(COPY_BYTES, self._free_bytes() // 4 // MIB * MIB)
        address = self._allocated(size)
        try:
            while time.monotonic() < until:
                self._run_over([(address, size)] * 10, "fill", 1)
        finally:
            self._free([address])
