"""What the kernel's killer did, by the files of both versions of cgroups."""

from __future__ import annotations

from pathlib import Path

import pytest

from dormouse_runtime.supervisor.oom import Counts, Killed, between, counts


def test_the_present_version(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n")
    (tmp_path / "memory.max").write_text("1073741824\n")
    assert counts(tmp_path) == Counts(kills=1, at_limit=2, limit=2**30)
    (tmp_path / "memory.max").write_text("max\n")
    assert counts(tmp_path) == Counts(kills=1, at_limit=2, limit=None)


def test_the_older_version(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    (tmp_path / "memory" / "memory.failcnt").write_text("7\n")
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert counts(tmp_path) == Counts(kills=3, at_limit=7, limit=None)


def test_no_version(tmp_path: Path) -> None:
    assert counts(tmp_path) is None
    assert between(None, Counts(1, 1, None)) is None


@pytest.mark.parametrize(
    ("now", "killed"),
    [
        (Counts(0, 0, 5), Killed(False, False, 5)),
        (Counts(1, 1, 5), Killed(True, True, 5)),
        (Counts(1, 0, 5), Killed(True, False, 5)),
    ],
)
def test_what_happened_in_between(now: Counts, killed: Killed) -> None:
    assert between(Counts(0, 0, 5), now) == killed
