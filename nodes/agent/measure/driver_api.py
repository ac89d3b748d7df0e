"""CUDA through the driver's own library."""

from __future__ import annotations

from nodes.agent.measure.cuda import CudaCard, CudaError


class DriverApi:
    """libcuda of this host; raises CudaError when there is none."""

    def __init__(self) -> None:
        raise CudaError("no libcuda on this host")

    def open(self, uuid: str) -> CudaCard:
        raise CudaError(uuid)
