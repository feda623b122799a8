"""Reads the GPUs of this pod through the driver's library (nvidia-ml-py). Judges nothing.

The package is in images for GPUs only, and is imported when there is a driver to ask. A container sees the devices it
was given; where it sees more (a privileged one), NVIDIA_VISIBLE_DEVICES says which are its own. A device that is
divided (MIG) is read by instance: memory is an instance's own, temperature and errors are those of the whole device,
and utilization nobody tells.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from dormouse_api.gpu import MAX_GPUS, GpuReading, GpuReport

LIBRARY = "libnvidia-ml.so.1"
TEMPERATURE_GPU, THRESHOLD_SLOWDOWN = 0, 1
UNCORRECTED, SINCE_BOOT = 1, 0
XID_EVENT = 8
NOT_FOUND, GPU_IS_LOST = 6, 15
T = TypeVar("T")


class Nvml(Protocol):
    """The part of pynvml that is used, by its own names."""

    @property
    def NVMLError(self) -> type[Exception]: ...  # noqa: N802
    def nvmlInit(self) -> None: ...  # noqa: N802
    def nvmlDeviceGetCount(self) -> int: ...  # noqa: N802
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any: ...  # noqa: N802
    def nvmlDeviceGetName(self, handle: Any) -> str: ...  # noqa: N802
    def nvmlDeviceGetUUID(self, handle: Any) -> str: ...  # noqa: N802
    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any: ...  # noqa: N802
    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any: ...  # noqa: N802
    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int) -> int: ...  # noqa: N802
    def nvmlDeviceGetTemperatureThreshold(self, handle: Any, kind: int) -> int: ...  # noqa: N802
    def nvmlDeviceGetTotalEccErrors(self, handle: Any, kind: int, counter: int) -> int: ...  # noqa: N802
    def nvmlDeviceGetMigMode(self, handle: Any) -> list[int]: ...  # noqa: N802
    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Any) -> int: ...  # noqa: N802
    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, index: int) -> Any: ...  # noqa: N802
    def nvmlEventSetCreate(self) -> Any: ...  # noqa: N802
    def nvmlDeviceRegisterEvents(self, handle: Any, kinds: int, events: Any) -> None: ...  # noqa: N802
    def nvmlEventSetWait_v2(self, events: Any, milliseconds: int) -> Any: ...  # noqa: N802


@dataclass
class _Device:
    """One device, or an instance of one; `whole` is what temperature and errors are asked of."""

    gpu: str
    handle: Any
    whole: Any
    events: Any = None
    xid: int | None = None


class Reader:
    """The devices of this pod. `visible`: NVIDIA_VISIBLE_DEVICES, None for all."""

    def __init__(self, nvml: Nvml, visible: str | None = None) -> None:
        self._nvml = nvml
        self._wanted = _wanted(visible)
        self._known: dict[str, _Device] = {}

    def read(self) -> GpuReport:
        """Every device now. One that the driver has lost stays in the report, and says so."""
        try:
            found = {device.gpu: device for device in self._devices()}
        except self._nvml.NVMLError as error:
            if not self._known:
                return GpuReport(problem=f"the NVIDIA driver does not tell of its devices: {error}")
            found = {}
        for name, device in found.items():
            self._known.setdefault(name, device)
        return GpuReport(gpus=tuple(self._read(device) for device in self._known.values())[:MAX_GPUS])

    def _devices(self) -> Iterator[_Device]:
        nvml = self._nvml
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                uuid = nvml.nvmlDeviceGetUUID(handle)
            except nvml.NVMLError:
                continue  # lost: known ones say so themselves
            instances = list(self._instances(handle, index))
            for device in instances or [_Device(str(index), handle, handle)]:
                if self._mine(str(index), uuid, device):
                    yield device if device.gpu in self._known else self._listening(device)

    def _instances(self, handle: Any, index: int) -> Iterator[_Device]:
        nvml = self._nvml
        if not (self._told(lambda: nvml.nvmlDeviceGetMigMode(handle)) or [0])[0]:
            return
        for place in range(self._told(lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(handle)) or 0):
            try:
                instance = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)
                uuid = nvml.nvmlDeviceGetUUID(instance)
            except nvml.NVMLError:
                continue  # no instance in this place
            yield _Device(f"{index}/{uuid}", instance, handle)

    def _mine(self, index: str, uuid: str, device: _Device) -> bool:
        if self._wanted is None:
            return True
        names = {index, uuid, device.gpu.partition("/")[2]}
        return bool(names & self._wanted)

    def _listening(self, device: _Device) -> _Device:
        """Critical errors are told as events, from now on."""
        with contextlib.suppress(self._nvml.NVMLError):
            device.events = self._nvml.nvmlEventSetCreate()
            self._nvml.nvmlDeviceRegisterEvents(device.whole, XID_EVENT, device.events)
        return device

    def _read(self, device: _Device) -> GpuReading:
        nvml, handle, whole = self._nvml, device.handle, device.whole
        try:
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        except nvml.NVMLError as error:
            if getattr(error, "value", None) in (GPU_IS_LOST, NOT_FOUND):
                return GpuReading(gpu=device.gpu, lost=True, xid=self._xid(device))
            memory = None
        busy = self._told(lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
        return GpuReading(
            gpu=device.gpu,
            name=self._told(lambda: nvml.nvmlDeviceGetName(whole)) or "",
            uuid=self._told(lambda: nvml.nvmlDeviceGetUUID(handle)) or "",
            memory_used=memory.used if memory else None,
            memory_total=memory.total if memory else None,
            utilization=min(100, busy.gpu) / 100 if busy else None,
            temperature=self._told(lambda: nvml.nvmlDeviceGetTemperature(whole, TEMPERATURE_GPU)),
            slowdown=self._told(lambda: nvml.nvmlDeviceGetTemperatureThreshold(whole, THRESHOLD_SLOWDOWN)),
            ecc_errors=self._told(lambda: nvml.nvmlDeviceGetTotalEccErrors(whole, UNCORRECTED, SINCE_BOOT)),
            xid=self._xid(device),
        )

    def _xid(self, device: _Device) -> int | None:
        """The last critical error so far."""
        if device.events is not None and (
            event := self._told(lambda: self._nvml.nvmlEventSetWait_v2(device.events, 0))
        ):
            device.xid = int(event.eventData)
        return device.xid

    def _told(self, ask: Callable[[], T]) -> T | None:
        """None where the device does not tell this."""
        try:
            return ask()
        except self._nvml.NVMLError:
            return None


def reader(environ: Mapping[str, str] = os.environ) -> Reader | str | None:
    """A reader where there is a driver; None where there is none; a sentence where it cannot be asked."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    try:
        nvml = cast("Nvml", importlib.import_module("pynvml"))
    except ImportError:
        return "there is an NVIDIA driver and no nvidia-ml-py to ask it: add it to the image"
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return f"the NVIDIA driver does not answer: {error}"
    return Reader(nvml, environ.get("NVIDIA_VISIBLE_DEVICES"))


def _wanted(visible: str | None) -> frozenset[str] | None:
    """Indices and identities; None: whatever is there."""
    names = frozenset(name.strip() for name in (visible or "all").split(",") if name.strip())
    return None if not names or names & {"all", "void", "none"} else names
