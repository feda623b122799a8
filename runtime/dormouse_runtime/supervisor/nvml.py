"""The GPUs of this pod, read from the driver's own library (libnvidia-ml). Nothing where there is none.

ctypes instead of a package: the image that serves on GPUs is the user's, and five calls need no dependency in it.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
TEMPERATURE_GPU = 0
OK = 0


@dataclass(frozen=True)
class Gpu:
    """One device now."""

    memory_used: int
    memory_total: int
    utilization: float
    """0 to 1."""
    temperature: int


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


@cache
def _library() -> Any:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    return library if library.nvmlInit_v2() == OK else None


def read(library: Any = None) -> list[Gpu]:
    """Every GPU the driver shows this pod."""
    nvml = library or _library()
    if nvml is None:
        return []
    count = ctypes.c_uint()
    if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)) != OK:
        return []
    return [gpu for index in range(count.value) if (gpu := _gpu(nvml, index))]


def _gpu(nvml: Any, index: int) -> Gpu | None:
    handle, memory, busy, degrees = ctypes.c_void_p(), _Memory(), _Utilization(), ctypes.c_uint()
    if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) != OK:
        return None
    # A device split into instances does not tell its utilisation: what a call cannot read stays 0.
    nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
    nvml.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(busy))
    nvml.nvmlDeviceGetTemperature(handle, TEMPERATURE_GPU, ctypes.byref(degrees))
    return Gpu(memory.used, memory.total, busy.gpu / 100, degrees.value)
