"""A driver that says what a test wants: `nvml.Nvml`, fulfilled without a GPU."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

NOT_SUPPORTED, TIMEOUT, GPU_IS_LOST, UNKNOWN = 3, 10, 15, 999


class FakeError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


@dataclass
class Gpu:
    """A device, or an instance of one. What is None the driver does not tell."""

    uuid: str
    used: int = 10
    total: int = 80
    busy: int | None = 50
    temperature: int | None = 40
    slowdown: int | None = 90
    ecc: int | None = 0
    lost: bool = False
    instances: list[Gpu] = field(default_factory=list)
    xids: list[int] = field(default_factory=list)
    """Critical errors that are still to be told."""


class FakeNvml:
    """The devices in a list, by pynvml's names."""

    NVMLError = FakeError

    def __init__(self, *gpus: Gpu) -> None:
        self.gpus = list(gpus)
        self.broken = False

    def nvmlInit(self) -> None:  # noqa: N802
        """Nothing to do."""

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        if self.broken:
            raise FakeError(UNKNOWN)
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Gpu:  # noqa: N802
        return self._alive(self.gpus[index])

    def nvmlDeviceGetName(self, handle: Gpu) -> str:  # noqa: N802
        return "NVIDIA Fake"

    def nvmlDeviceGetUUID(self, handle: Gpu) -> str:  # noqa: N802
        return handle.uuid

    def nvmlDeviceGetMemoryInfo(self, handle: Gpu) -> Any:  # noqa: N802
        self._alive(handle)
        return SimpleNamespace(used=handle.used, total=handle.total, free=handle.total - handle.used)

    def nvmlDeviceGetUtilizationRates(self, handle: Gpu) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=self._told(handle.busy), memory=0)

    def nvmlDeviceGetTemperature(self, handle: Gpu, sensor: int) -> int:  # noqa: N802
        assert sensor == 0
        return self._told(handle.temperature)

    def nvmlDeviceGetTemperatureThreshold(self, handle: Gpu, kind: int) -> int:  # noqa: N802
        assert kind == 1
        return self._told(handle.slowdown)

    def nvmlDeviceGetTotalEccErrors(self, handle: Gpu, kind: int, counter: int) -> int:  # noqa: N802
        assert (kind, counter) == (1, 0)
        return self._told(handle.ecc)

    def nvmlDeviceGetMigMode(self, handle: Gpu) -> list[int]:  # noqa: N802
        return [1, 1] if handle.instances else [0, 0]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Gpu) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Gpu, index: int) -> Gpu:  # noqa: N802
        if index >= len(handle.instances):
            raise FakeError(NOT_SUPPORTED)
        return handle.instances[index]

    def nvmlEventSetCreate(self) -> list[Gpu]:  # noqa: N802
        return []

    def nvmlDeviceRegisterEvents(self, handle: Gpu, kinds: int, events: list[Gpu]) -> None:  # noqa: N802
        assert kinds == 8
        events.append(handle)

    def nvmlEventSetWait_v2(self, events: list[Gpu], milliseconds: int) -> Any:  # noqa: N802
        assert milliseconds == 0  # the reading must not wait
        for gpu in events:
            if gpu.xids:
                return SimpleNamespace(eventType=8, eventData=gpu.xids.pop(0))
        raise FakeError(TIMEOUT)

    def _alive(self, gpu: Gpu) -> Gpu:
        if gpu.lost:
            raise FakeError(GPU_IS_LOST)
        return gpu

    @staticmethod
    def _told(value: int | None) -> int:
        if value is None:
            raise FakeError(NOT_SUPPORTED)
        return value
