"""Compiled code on the cache volume: bounded, never of another version for long, and never taken from who uses it."""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

import pytest

from dormouse_api.runtime import CACHE_BYTES
from dormouse_runtime import engines
from dormouse_runtime.supervisor.caches import GOING, GRACE, KEEP, STAMP, Caches, Kept, surplus
from tests.runtime.scripted.pod import scripted, until

NOW = 1_000_000.0
MIB = 2**20


def kept(name: str, age: float, size: int = MIB, maker: str = "vllm 2") -> Kept:
    return Kept(name, maker, NOW - age, size)


@pytest.mark.parametrize(
    ("folders", "gone"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([kept(str(n), n) for n in range(KEEP)], [], id="as many as may stay"),
        pytest.param([kept(str(n), n) for n in range(KEEP + 2)], ["4", "5"], id="the oldest beyond that"),
        pytest.param([kept("big", 9, CACHE_BYTES), kept("new", 1)], ["big"], id="too many bytes: the older one"),
        pytest.param([kept("big", 1, CACHE_BYTES), kept("old", 9)], ["old"], id="too many bytes with the newest"),
        pytest.param([kept("huge", 1, CACHE_BYTES + 1)], ["huge"], id="one alone that is too large"),
        pytest.param([kept("v1", GRACE + 1, maker="vllm 1")], ["v1"], id="of another version"),
        pytest.param([kept("v1", GRACE - 1, maker="vllm 1")], [], id="of another version a moment ago"),
        pytest.param([kept("unknown", NOW, maker="")], ["unknown"], id="of a version that left no stamp"),
    ],
)
def test_what_is_too_much(folders: list[Kept], gone: list[str]) -> None:
    assert sorted(one.name for one in surplus(folders, "vllm 2", NOW)) == gone


def cache(root: Path, name: str, maker: str = "vllm 2", clock: float = NOW) -> Caches:
    found = Caches(root / name, maker, lambda: clock)
    found.use()
    (root / name / "kernel.so").write_bytes(b"x" * 1000)
    return found


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_what_nobody_uses_goes_and_what_a_pod_uses_stays(tmp_path: Path) -> None:
    ours = cache(tmp_path, "ours")
    cache(tmp_path, "old", "vllm 1", NOW - 2 * GRACE).release()
    other = cache(tmp_path, "serving", "vllm 1", NOW - 2 * GRACE)
    for n in range(KEEP):
        cache(tmp_path, f"same{n}", clock=NOW - n).release()
    assert ours.prune() == ("old",)
    assert names(tmp_path) == ["ours", *(f"same{n}" for n in range(KEEP)), "serving"]
    other.release()
    assert ours.prune() == ("serving",)
    assert ours.prune() == ()
    assert (tmp_path / "ours" / "kernel.so").exists()


def test_the_lock_ends_with_the_process_however_it_ends(tmp_path: Path) -> None:
    ours = cache(tmp_path, "ours")
    cache(tmp_path, "old", "vllm 1", 0.0).release()
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        held = os.open(tmp_path / "old", os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_SH)
        os.write(told, b".")
        signal.pause()
    os.read(ready, 1)
    assert ours.prune() == ()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert ours.prune() == ("old",)


def test_a_removal_that_was_cut_off_is_finished(tmp_path: Path) -> None:
    ours = cache(tmp_path, "ours")
    (tmp_path / f"{GOING}half").mkdir()
    (tmp_path / f"{GOING}half" / "kernel.so").write_text("x")
    assert ours.prune() == ()
    assert names(tmp_path) == ["ours"]


def test_a_start_from_a_cache_makes_it_the_newest(tmp_path: Path) -> None:
    cache(tmp_path, "again", clock=NOW - 50).release()
    for n in range(KEEP):
        cache(tmp_path, f"same{n}", clock=NOW - n - 1).release()
    cache(tmp_path, "again", clock=NOW - 0.5).release()
    assert cache(tmp_path, "ours").prune() == (f"same{KEEP - 1}",)
    assert (tmp_path / "again" / STAMP).read_text() == "vllm 2"


def test_a_volume_that_takes_no_writes_and_an_engine_that_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    blocked = Caches(tmp_path / "file" / "key", "vllm 2")
    blocked.use()
    assert blocked.prune() == ()
    nothing = Caches(None, "")
    nothing.use()
    assert nothing.prune() == ()


def test_processors_are_told_apart_by_what_they_can_do(tmp_path: Path) -> None:
    def of(text: str) -> str:
        (tmp_path / "cpuinfo").write_text(text)
        return engines.processor(tmp_path / "cpuinfo")

    old = "processor\t: 0\nmodel name\t: Xeon\ncpu MHz\t: {}\nflags\t: fpu avx2\n\nprocessor\t: 1\n"
    assert of(old.format(2000)) == of(old.format(2100))
    assert of(old.format(2000)) != of(old.replace("avx2", "avx512f").format(2000))
    assert of("CPU implementer\t: 0x41\nCPU part\t: 0xd0c\n") != of("CPU implementer\t: 0x41\nCPU part\t: 0xd40\n")
    assert engines.processor(tmp_path / "nothing") == engines.processor(tmp_path / "nothing either")


@pytest.mark.slow
@pytest.mark.parametrize(("part", "stay"), [("serve", ["serve"]), ("unsupported", ["other", "unsupported"])])
def test_a_pod_that_serves_removes_what_is_too_much_and_one_that_does_not_leaves_it(
    tmp_path: Path, part: str, stay: list[str]
) -> None:
    caches = tmp_path / "cache" / "scripted"
    cache(caches, "other", "scripted 0", 0.0).release()
    pod = scripted(tmp_path, part)
    try:
        if part == "serve":
            until(pod.ready)
            until(lambda: names(caches) == stay)
        else:
            assert pod.end() == 1
        assert names(caches) == stay
    finally:
        pod.close()
