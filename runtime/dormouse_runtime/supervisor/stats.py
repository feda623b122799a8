"""The runtime's own metrics: stage, start seconds, resident memory, and the GPUs where there are any."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from dormouse_api import metrics
from dormouse_api.gpu import GpuReport, GpuWarningKind
from dormouse_api.runtime import RuntimeState, Stage

PAGE = 4096


def exposition(state: RuntimeState, leader: int | None, gpus: GpuReport) -> str:
    """All metrics in Prometheus' text format."""
    return "".join(f"{line}\n" for line in (*_stage(state), *_start(state), *_memory(leader), *_gpus(gpus)))


def _stage(state: RuntimeState) -> Iterator[str]:
    yield from _head(metrics.RUNTIME_STAGE, "1 for the stage the runtime is in")
    for stage in Stage:
        yield f'{metrics.RUNTIME_STAGE}{{stage="{stage.value}"}} {int(stage is state.stage)}'


def _start(state: RuntimeState) -> Iterator[str]:
    """Seconds spent in each stage of the last start."""
    yield from _head(metrics.RUNTIME_START_SECONDS, "seconds the last start spent in a stage")
    spent: dict[str, float] = {}
    for here, after in zip(state.timeline, state.timeline[1:], strict=False):
        if here.stage is Stage.STARTING:
            spent = {}
        if here.stage not in (Stage.READY, Stage.DRAINING, Stage.FAILED):
            spent[here.stage.value] = after.at - here.at
    for stage, seconds in spent.items():
        yield f'{metrics.RUNTIME_START_SECONDS}{{stage="{stage}"}} {seconds:.3f}'


def _memory(leader: int | None) -> Iterator[str]:
    yield from _head(metrics.RUNTIME_RESIDENT_BYTES, "resident memory of the engine's processes")
    yield f"{metrics.RUNTIME_RESIDENT_BYTES} {resident_bytes(leader) if leader else 0}"
    yield from _head(metrics.RUNTIME_SUPERVISOR_BYTES, "resident memory of the supervisor itself")
    yield f"{metrics.RUNTIME_SUPERVISOR_BYTES} {int(Path('/proc/self/statm').read_text().split()[1]) * PAGE}"


def resident_bytes(leader: int, proc: Path = Path("/proc")) -> int:
    """Resident bytes of every process in the session that `leader` opened (shared pages count once each)."""
    total = 0
    for folder in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                total += int(fields[21]) * PAGE
    return total


def _gpus(report: GpuReport) -> Iterator[str]:
    if not report.gpus:
        return
    for name, words, field in (
        (metrics.GPU_MEMORY_USED, "memory in use", "memory_used"),
        (metrics.GPU_MEMORY_TOTAL, "memory there is", "memory_total"),
        (metrics.GPU_UTILIZATION, "share of time the GPU was busy", "utilization"),
        (metrics.GPU_TEMPERATURE, "temperature in degrees Celsius", "temperature"),
        (metrics.GPU_SLOWDOWN, "temperature at which the GPU slows itself down", "slowdown"),
    ):
        yield from _head(name, words)
        for reading in report.gpus:
            if (value := getattr(reading, field)) is not None:
                yield f'{name}{{gpu="{reading.gpu}"}} {value}'
    yield from _head(metrics.GPU_WARNING, "1 for each warning of a GPU that stands")
    for reading in report.gpus:
        standing = {warned.kind for warned in reading.warnings}
        for kind in GpuWarningKind:
            yield f'{metrics.GPU_WARNING}{{gpu="{reading.gpu}",kind="{kind.value}"}} {int(kind in standing)}'


def _head(name: str, words: str) -> Iterator[str]:
    yield f"# HELP {name} {words}"
    yield f"# TYPE {name} gauge"
