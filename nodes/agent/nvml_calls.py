"""NVML calls that may fail alone, and a memory of those that this host does not have."""

from __future__ import annotations

from typing import Any

import pynvml

# A missing symbol or a card without the feature: an answer, not a failure.
ABSENT = frozenset({pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND})


class Signal:
    """One call by its name, bound when it is tried so that an older binding may lack it."""

    __slots__ = ("arguments", "name")

    def __init__(self, name: str, *arguments: Any) -> None:
        self.name = name
        self.arguments = arguments


def attempt(signal: Signal, codes: set[int] | None = None) -> Any:
    """The answer, or None when NVML gives none; the error's code other than "absent" is added to `codes`."""
    function = getattr(pynvml, signal.name, None)
    if function is None:
        return None
    try:
        return function(*signal.arguments)
    except pynvml.NVMLError as error:
        if codes is not None and error.value not in ABSENT:
            codes.add(error.value)
        return None


def text(value: Any) -> str | None:
    """A string of NVML, None when it is empty."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return str(value) if value else None
