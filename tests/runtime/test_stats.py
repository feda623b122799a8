"""The runtime's own numbers."""

from __future__ import annotations

import os

from dormouse_api.gpu import GpuReading, GpuReport, GpuWarningKind, Warned
from dormouse_api.runtime import RuntimeState, Stage, StageAt
from dormouse_runtime.supervisor import stats


def state(*stages: tuple[Stage, float]) -> RuntimeState:
    timeline = tuple(StageAt(stage=stage, at=at) for stage, at in stages)
    return RuntimeState(stage=timeline[-1].stage, model="tiny", commit="abc", timeline=timeline)


def test_the_last_start_is_told_by_stage() -> None:
    told = state(
        (Stage.STARTING, 0), (Stage.IMPORTING, 1), (Stage.STARTING, 10), (Stage.LOADING, 12), (Stage.READY, 15.5)
    )
    text = stats.exposition(told, None, GpuReport())
    assert 'dormouse_runtime_start_duration_seconds{stage="starting"} 2.000' in text
    assert 'dormouse_runtime_start_duration_seconds{stage="loading"} 3.500' in text
    assert 'stage="importing"} 9' not in text  # of the attempt before
    assert text.count("} 1\n") == 1  # one stage


def test_resident_memory_counts_the_session() -> None:
    assert stats.resident_bytes(os.getsid(0)) >= stats.resident_bytes(2**22 + 1) == 0
    assert stats.resident_bytes(os.getsid(0)) > 1_000_000


def test_gpus_are_in_the_exposition_as_far_as_they_tell() -> None:
    warned = Warned(kind=GpuWarningKind.TEMPERATURE, message="hot")
    told = GpuReading(gpu="0", memory_used=20, memory_total=80, temperature=88, slowdown=90, warnings=(warned,))
    text = stats.exposition(state((Stage.STARTING, 0)), None, GpuReport(gpus=(told, GpuReading(gpu="1", lost=True))))
    assert 'dormouse_runtime_gpu_memory_used_bytes{gpu="0"} 20' in text
    assert 'dormouse_runtime_gpu_slowdown_celsius{gpu="0"} 90' in text
    assert "utilization_ratio{" not in text  # an instance does not tell it, and 0 would be a lie
    assert 'dormouse_runtime_gpu_warning{gpu="0",kind="Temperature"} 1' in text
    assert 'dormouse_runtime_gpu_warning{gpu="0",kind="Lost"} 0' in text


def test_no_driver_is_no_gpu() -> None:
    assert "gpu" not in stats.exposition(state((Stage.STARTING, 0)), None, GpuReport())
