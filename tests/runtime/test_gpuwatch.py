"""What the driver says of a pod's GPUs, and what that warns of."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from dormouse_api.gpu import GpuReading, GpuReport, GpuWarningKind
from dormouse_runtime.supervisor import gpuwatch, nvml
from dormouse_runtime.supervisor.gpuwatch import GpuWatch
from dormouse_runtime.supervisor.nvml import Reader
from tests.runtime.fakenvml import FakeNvml, Gpu
from tests.runtime.scripted.pod import scripted, until

GIB = 2**30
MEMORY, HEAT, BUSY = GpuWarningKind.MEMORY, GpuWarningKind.TEMPERATURE, GpuWarningKind.UTILIZATION


def test_a_device_is_read_whole() -> None:
    (told,) = Reader(FakeNvml(Gpu("GPU-a"))).read().gpus
    assert told == GpuReading(
        gpu="0", name="NVIDIA Fake", uuid="GPU-a", memory_used=10, memory_total=80, utilization=0.5, temperature=40,
        slowdown=90, ecc_errors=0,
    )  # fmt: skip


def test_what_a_device_does_not_tell_is_unset_and_never_0() -> None:
    (told,) = Reader(FakeNvml(Gpu("GPU-a", busy=None, temperature=None, slowdown=None, ecc=None))).read().gpus
    assert (told.utilization, told.temperature, told.slowdown, told.ecc_errors) == (None, None, None, None)
    assert told.memory_used == 10


def test_a_divided_device_is_read_by_instance_with_the_temperature_of_the_whole() -> None:
    parts = [Gpu("MIG-1", used=3, total=20, busy=None, temperature=None), Gpu("MIG-2", used=5, total=40, busy=None)]
    first, second = Reader(FakeNvml(Gpu("GPU-a", instances=parts, temperature=66))).read().gpus
    assert (first.gpu, first.memory_used, first.memory_total, first.utilization) == ("0/MIG-1", 3, 20, None)
    assert (first.temperature, second.temperature) == (66, 66)
    (mine,) = Reader(FakeNvml(Gpu("GPU-a", instances=parts)), "MIG-2").read().gpus
    assert mine.gpu == "0/MIG-2"


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        (None, ["0", "1"]),
        ("all", ["0", "1"]),
        ("void", ["0", "1"]),
        ("GPU-b", ["1"]),
        ("0", ["0"]),
        ("GPU-a, GPU-b", ["0", "1"]),
        ("GPU-other", []),
    ],
)
def test_only_the_devices_of_this_pod_are_read(visible: str | None, gpus: list[str]) -> None:
    report = Reader(FakeNvml(Gpu("GPU-a"), Gpu("GPU-b")), visible).read()
    assert [reading.gpu for reading in report.gpus] == gpus


def test_a_device_that_is_lost_stays_in_the_report() -> None:
    driver = FakeNvml(Gpu("GPU-a"), Gpu("GPU-b"))
    reader = Reader(driver)
    reader.read()
    driver.gpus[1].lost = True
    first, second = reader.read().gpus
    assert (first.lost, second.lost, second.memory_used) == (False, True, None)
    driver.broken = True  # the driver itself fails then, too
    assert [reading.lost for reading in reader.read().gpus] == [False, True]


def test_a_driver_that_fails_from_the_beginning_says_so() -> None:
    driver = FakeNvml(Gpu("GPU-a"))
    driver.broken = True
    assert "NVML error 999" in str(Reader(driver).read().problem)


def test_a_critical_error_is_told_from_then_on() -> None:
    gpu = Gpu("GPU-a")
    reader = Reader(FakeNvml(gpu))
    assert reader.read().gpus[0].xid is None
    gpu.xids.append(79)
    assert [reader.read().gpus[0].xid for _ in range(2)] == [79, 79]


def test_without_a_driver_there_is_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "LIBRARY", "libnone.so")
    assert nvml.reader({}) is None
    monkeypatch.setattr(nvml, "LIBRARY", "libc.so.6")  # a driver, and nothing to ask it with
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    assert "nvidia-ml-py" in str(nvml.reader({}))
    monkeypatch.setitem(__import__("sys").modules, "pynvml", FakeNvml(Gpu("GPU-a")))
    assert isinstance(nvml.reader({}), Reader)


@pytest.mark.parametrize(
    ("fields", "planned", "kind", "share"),
    [
        ({"memory_used": 60, "memory_total": 100}, None, MEMORY, 0.6),
        ({"memory_used": 90, "memory_total": 100}, 80, MEMORY, 0.5),  # as planned, and half of what was left
        ({"memory_used": 60, "memory_total": 100}, 80, MEMORY, 0.0),
        ({"memory_used": 100, "memory_total": 100}, 200, MEMORY, 1.0),
        ({"memory_used": 98, "memory_total": 100}, 100, MEMORY, 0.0),  # a plan that takes all leaves a fiftieth
        ({"temperature": 60, "slowdown": 90}, None, HEAT, 0.5),
        ({"temperature": 20, "slowdown": 90}, None, HEAT, 0.0),
        ({"temperature": 88}, None, HEAT, None),
        ({"utilization": 0.9}, None, BUSY, 0.9),
        ({"lost": True}, None, MEMORY, None),
    ],
)
def test_shares(fields: dict[str, float], planned: int | None, kind: GpuWarningKind, share: float | None) -> None:
    told = gpuwatch.shares(GpuReading.model_validate({"gpu": "0", **fields}), planned)
    assert told.get(kind) == (None if share is None else pytest.approx(share))


class Times:
    """A watch that is given readings at moments of a table."""

    def __init__(self, planned: int | None = None) -> None:
        self.now = 0.0
        self.watch = GpuWatch(None, planned, lambda: self.now)

    def after(self, seconds: float, **fields: float | bool) -> set[str]:
        """The kinds that stand."""
        self.now += seconds
        self.watch.take(GpuReport(gpus=(GpuReading.model_validate({"gpu": "0", **fields}),)))
        return {warned.kind.value for warned in self.watch.report.gpus[0].warnings}


def test_a_line_is_crossed_once_it_lasts_and_left_only_well_below() -> None:
    times = Times()
    seen = [
        times.after(0, memory_used=85, memory_total=100),
        times.after(10, memory_used=85, memory_total=100),
        times.after(5, memory_used=85, memory_total=100),
        times.after(5, memory_used=79, memory_total=100),  # below the line, not below the other one
        times.after(5, memory_used=69, memory_total=100),
        times.after(5, memory_used=79, memory_total=100),
        times.after(600, memory_used=79, memory_total=100),
    ]
    assert seen == [set(), set(), {"Memory"}, {"Memory"}, set(), set(), set()]


def test_a_moment_above_the_line_is_none() -> None:
    times = Times()
    assert [times.after(10, temperature=degrees, slowdown=90) for degrees in (88, 60, 88, 60, 88)] == [set()] * 5


def test_a_busy_device_is_told_of_after_five_minutes_without_a_break() -> None:
    times = Times()
    first = [times.after(5, utilization=1.0) for _ in range(60)]
    assert first == [set()] * 60
    assert times.after(5, utilization=1.0) == {"Utilization"}
    assert times.after(5, utilization=0.5) == set()
    assert times.after(5, utilization=1.0) == set()


def test_what_nothing_in_the_pod_mends_is_told_at_once() -> None:
    times = Times()
    assert times.after(0, lost=True) == {"Lost"}
    assert times.after(1, ecc_errors=2) == {"Errors"}
    assert times.after(1, xid=79) == {"Errors"}
    assert times.after(1, xid=31) == set()  # the program's fault, not the device's


@pytest.mark.parametrize(
    ("fields", "planned", "words"),
    [
        ({"memory_used": 79 * GIB, "memory_total": 80 * GIB}, 70 * GIB, ("79.0 of 80.0 GiB", "70.0 were", "adapt")),
        ({"temperature": 88, "slowdown": 90}, None, ("88 degrees", "at 90", "cooling")),
        ({"utilization": 1.0}, None, ("80%", "5 minutes", "maxReplicas")),
        ({"lost": True}, None, ("lost", "drain the node")),
        ({"ecc_errors": 3}, None, ("3 memory errors", "replaced")),
        ({"xid": 79}, None, ("79 (Xid)", "kernel log")),
    ],
)  # fmt: skip
def test_a_warning_names_the_numbers_and_the_way_out(
    fields: dict[str, float], planned: int | None, words: tuple[str, ...]
) -> None:
    times = Times(planned)
    for _ in range(2):
        times.after(301, **fields)
    (warned,) = times.watch.report.gpus[0].warnings
    assert all(word in warned.message for word in ("GPU 0 ", *words))


async def test_it_reads_by_itself_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu("GPU-a", used=10)
    watch, taken = GpuWatch(Reader(FakeNvml(gpu)), None, lambda: 0.0), asyncio.Event()
    take = watch.take

    def noted(report: GpuReport) -> None:
        take(report)
        taken.set()

    monkeypatch.setattr(watch, "take", noted)
    task = asyncio.create_task(watch.run())
    await asyncio.wait_for(taken.wait(), 10)
    task.cancel()
    assert watch.report.gpus[0].memory_used == 10
    await GpuWatch(None, None, lambda: 0.0).run()  # nothing to read: ends at once
    assert GpuWatch("no package", None, lambda: 0.0).report.problem == "no package"


@pytest.mark.slow
def test_a_pod_answers_for_its_gpus_on_the_admin_port(tmp_path: Path) -> None:
    pod = scripted(tmp_path, "serve")
    try:
        until(pod.ready)
        status, body = pod.get("/gpus")
        assert status == 200
        assert GpuReport.model_validate_json(body) == GpuReport()  # a pod for CPUs has none to tell of
        assert json.loads(pod.get("/diag")[1])["gpus"] == {"gpus": []}
    finally:
        pod.close()
