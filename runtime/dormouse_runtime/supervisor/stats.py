"""The runtime's own metrics: stage, start seconds, resident memory, and the GPUs where there are any."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from dormouse_api import metrics
from dormouse_api.runtime import RuntimeState, Stage
from dormouse_runtime.supervisor import nvml

PAGE = 4096


def exposition(state: RuntimeState, leader: int | None) -> str:
    """All metrics in Prometheus' text format."""
    return "".join(f"{line}\n" for line in (*_stage(state), *_start(state), *_memory(leader), *_gpus()))


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


def resident_bytes(leader: int, proc: Path = Path("/proc")) -> int:
    """Resident bytes of every process in the session that `leader` opened (shared pages count once each)."""
    total = 0
    for folder in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                total += int(fields[21]) * PAGE
    return total


def _gpus() -> Iterator[str]:
    gpus = nvml.read()
    if not gpus:
        return
    for name, words, field in (
        (metrics.GPU_MEMORY_USED, "memory in use", "memory_used"),
        (metrics.GPU_MEMORY_TOTAL, "memory there is", "memory_total"),
        (metrics.GPU_UTILIZATION, "share of time the GPU was busy", "utilization"),
        (metrics.GPU_TEMPERATURE, "temperature in degrees Celsius", "temperature"),
    ):
        yield from _head(name, words)
        for index, gpu in enumerate(gpus):
            yield f'{name}{{gpu="{index}"}} {getattr(gpu, field)}'


def _head(name: str, words: str) -> Iterator[str]:
    yield f"# HELP {name} {words}"
    yield f"# TYPE {name} gauge"
