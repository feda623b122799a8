"""What readings of GPUs warn of: a line at 80 %, crossed upwards, and one at 70 % that ends it; and when to read.

Eighty per cent of what:

    memory        of what the plan leaves free. vLLM takes its KV cache at the start, so a device that is nearly full is
                  as planned; what uses up the rest (fragments, another process) ends in an engine out of memory.
    temperature   of the way from 30 degrees to where the device slows itself down, which it says itself.
    utilization   of the time, without a break for five minutes: callers who wait would be served sooner by another pod.

A lost device and an error that could not be corrected are told at once, and stay: nothing in the pod mends them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from dormouse_api.gpu import GpuReading, GpuReport, GpuWarningKind, Warned
from dormouse_runtime.supervisor.nvml import Reader

RAISE, CLEAR = 0.8, 0.7
IDLE_CELSIUS = 30
LEAST_MARGIN = 50
"""Part of a device (one in so many) that counts as left free even where the plan takes it all."""
EVERY_SECONDS = 5.0
GIB = 2**30
LASTS = {GpuWarningKind.MEMORY: 15.0, GpuWarningKind.TEMPERATURE: 15.0, GpuWarningKind.UTILIZATION: 300.0}
"""Seconds for which a share must be over the line."""
PROGRAM_FAULTS = frozenset({13, 31, 43, 45})
"""Xids of a program that did wrong or was ended, not of the device."""


@dataclass(frozen=True)
class Above:
    """A share that is over the line, from a moment on; `standing` once it has lasted."""

    since: float
    standing: bool = False


Lines = dict[tuple[str, GpuWarningKind], Above]


def shares(reading: GpuReading, planned: int | None) -> dict[GpuWarningKind, float]:
    """How far each is used up, 1 being all; what the device does not tell is left out."""
    found = {}
    used, total = reading.memory_used, reading.memory_total
    if used is not None and total:
        taken = min(planned or 0, total - total // LEAST_MARGIN)
        found[GpuWarningKind.MEMORY] = max(0, used - taken) / (total - taken)
    if reading.temperature is not None and reading.slowdown is not None and reading.slowdown > IDLE_CELSIUS:
        span = reading.slowdown - IDLE_CELSIUS
        found[GpuWarningKind.TEMPERATURE] = max(0, reading.temperature - IDLE_CELSIUS) / span
    if reading.utilization is not None:
        found[GpuWarningKind.UTILIZATION] = reading.utilization
    return found


def cross(lines: Lines, reading: GpuReading, planned: int | None, now: float) -> Lines:
    """The lines of this device after one more reading."""
    after: Lines = {}
    for kind, share in shares(reading, planned).items():
        known = lines.get((reading.gpu, kind))
        if known is not None and known.standing and share >= CLEAR:
            after[reading.gpu, kind] = known
        elif share >= RAISE:
            since = known.since if known is not None else now
            after[reading.gpu, kind] = Above(since, standing=now - since >= LASTS[kind])
    return after


def warnings(lines: Lines, reading: GpuReading, planned: int | None) -> tuple[Warned, ...]:
    """What stands, in words."""
    gpu, found = f"GPU {reading.gpu}", []
    if reading.lost:
        message = f"{gpu} is lost to its driver: drain the node, then reset the device or restart the node"
        found.append(Warned(kind=GpuWarningKind.LOST, message=message))
    if errors := _errors(reading):
        found.append(Warned(kind=GpuWarningKind.ERRORS, message=f"{gpu} {errors}"))
    for kind in LASTS:
        line = lines.get((reading.gpu, kind))
        if line is not None and line.standing:
            found.append(Warned(kind=kind, message=f"{gpu} {_words(kind, reading, planned)}"))
    return tuple(found)


def _errors(reading: GpuReading) -> str:
    if reading.ecc_errors:
        fix = "drain the node and reset the device; if they come back, it is to be replaced"
        return f"has had {reading.ecc_errors} memory errors that could not be corrected: {fix}"
    if reading.xid is not None and reading.xid not in PROGRAM_FAULTS:
        fix = "look the number up in the driver's list of Xid errors, and at the node's kernel log"
        return f"has had the driver's critical error {reading.xid} (Xid): {fix}"
    return ""


def _words(kind: GpuWarningKind, reading: GpuReading, planned: int | None) -> str:
    if kind is GpuWarningKind.MEMORY:
        plan = f" where {planned / GIB:.1f} were planned" if planned else ""
        return (
            f"has {(reading.memory_used or 0) / GIB:.1f} of {(reading.memory_total or 0) / GIB:.1f} GiB in use{plan}: "
            "see whether another process has the device (nvidia-smi), lower the profile's kvCacheMemory, or set "
            "spec.engine.adapt: true"
        )
    if kind is GpuWarningKind.TEMPERATURE:
        return (
            f"has {reading.temperature} degrees Celsius and slows itself down at {reading.slowdown}: see to the node's "
            "cooling, or lower the device's power limit"
        )
    return (
        f"has been busy {RAISE:.0%} of the time and more for {LASTS[kind] / 60:.0f} minutes: where callers wait, raise "
        "scaling.maxReplicas, or use a profile with more devices"
    )


class GpuWatch:
    """Reads every few seconds, and keeps the last report. `reader`: see `nvml.reader`."""

    def __init__(self, reader: Reader | str | None, planned: int | None, now: Callable[[], float]) -> None:
        self._reader, self._planned, self._now = reader, planned, now
        self._lines: Lines = {}
        self.report = GpuReport(problem=reader if isinstance(reader, str) else None)

    async def run(self) -> None:
        """Until cancelled; at once where there is nothing to read."""
        while isinstance(self._reader, Reader):
            # the driver may take its time, and the probes must not wait for it
            self.take(await asyncio.to_thread(self._reader.read))
            await asyncio.sleep(EVERY_SECONDS)

    def take(self, report: GpuReport) -> None:
        """One more reading of all devices."""
        now, told = self._now(), []
        lines: Lines = {}
        for reading in report.gpus:
            mine = cross(self._lines, reading, self._planned, now)
            lines |= mine
            told.append(reading.model_copy(update={"warnings": warnings(mine, reading, self._planned)}))
        self._lines = lines
        self.report = report.model_copy(update={"gpus": tuple(told)})
