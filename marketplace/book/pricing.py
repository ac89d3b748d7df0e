"""What hours cost. Pure: integer micros and milliseconds, rounded down: nobody pays for more than was proved."""

from __future__ import annotations

MS_PER_HOUR = 3_600_000


def charge_micros(*, price_micros_per_gpu_hour: int, gpu_ms: int) -> int:
    """What `gpu_ms` proven GPU-milliseconds cost: floor(price × hours), over the whole lease."""
    return price_micros_per_gpu_hour * gpu_ms // MS_PER_HOUR


def worst_case_micros(*, price_micros_per_gpu_hour: int, count: int, duration_seconds: int) -> int:
    """The most that `count` cards for `duration_seconds` can cost."""
    return charge_micros(price_micros_per_gpu_hour=price_micros_per_gpu_hour, gpu_ms=count * duration_seconds * 1000)
