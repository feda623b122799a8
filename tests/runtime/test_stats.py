"""The runtime's own numbers."""

from __future__ import annotations

import ctypes
import os
from typing import Any

from dormouse_api.runtime import RuntimeState, Stage, StageAt
from dormouse_runtime.supervisor import nvml, stats


def state(*stages: tuple[Stage, float]) -> RuntimeState:
    timeline = tuple(StageAt(stage=stage, at=at) for stage, at in stages)
    return RuntimeState(stage=timeline[-1].stage, model="tiny", commit="abc", timeline=timeline)


def test_the_last_start_is_told_by_stage() -> None:
    told = state(
        (Stage.STARTING, 0), (Stage.IMPORTING, 1), (Stage.STARTING, 10), (Stage.LOADING, 12), (Stage.READY, 15.5)
    )
    text = stats.exposition(told, None)
    assert 'dormouse_runtime_start_duration_seconds{stage="starting"} 2.000' in text
    assert 'dormouse_runtime_start_duration_seconds{stage="loading"} 3.500' in text
    assert 'stage="importing"} 9' not in text  # of the attempt before
    assert text.count("} 1\n") == 1  # one stage


def test_resident_memory_counts_the_session() -> None:
    assert stats.resident_bytes(os.getsid(0)) >= stats.resident_bytes(2**22 + 1) == 0
    assert stats.resident_bytes(os.getsid(0)) > 1_000_000


class Driver:
    """Two GPUs, the second split into instances: it does not tell its utilisation."""

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:  # noqa: N802 - the driver\'s name
        count._obj.value = 2
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: Any) -> int:  # noqa: N802 - the driver\'s name
        handle._obj.value = index + 1
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle: ctypes.c_void_p, memory: Any) -> int:  # noqa: N802 - the driver\'s name
        memory._obj.total, memory._obj.used = 80, 20 * (handle.value or 0)
        return 0

    def nvmlDeviceGetUtilizationRates(self, handle: ctypes.c_void_p, busy: Any) -> int:  # noqa: N802 - the driver\'s name
        if handle.value == 2:
            return 3
        busy._obj.gpu = 50
        return 0

    def nvmlDeviceGetTemperature(self, handle: ctypes.c_void_p, sensor: int, degrees: Any) -> int:  # noqa: N802 - the driver\'s name
        degrees._obj.value = 40
        return 0


def test_gpus_are_read_from_the_driver() -> None:
    assert nvml.read(Driver()) == [nvml.Gpu(20, 80, 0.5, 40), nvml.Gpu(40, 80, 0.0, 40)]


def test_no_driver_is_no_gpu() -> None:
    text = stats.exposition(state((Stage.STARTING, 0)), None)
    assert ("gpu" in text) == bool(nvml.read())
