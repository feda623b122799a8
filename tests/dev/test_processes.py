"""Processes known by name: found again, never mistaken for a stranger, gone when stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.cluster.layout import ClusterError
from dev.cluster.probe import Waiter
from dev.cluster.processes import Processes, resident_mib

SLEEP = ("sleep", "1000")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(1000)",
)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path / "pids", tmp_path / "logs")
    yield made
    for name in made.names():
        made.stop(name, patience=0)


def test_a_started_process_is_found_by_whoever_has_the_folder(processes: Processes) -> None:
    processes.start("one", SLEEP)
    again = Processes(processes.pids, processes.logs)
    assert again.alive("one") == processes.alive("one") > 0
    assert os.getsid(again.alive("one")) == again.alive("one")  # closing the terminal does not end it
    assert resident_mib(again.alive("one")) < 100


def test_starting_twice_starts_once(processes: Processes) -> None:
    processes.start("one", SLEEP)
    pid = processes.alive("one")
    processes.start("one", SLEEP)
    assert processes.alive("one") == pid


def test_a_killed_process_is_dead_and_still_known(processes: Processes) -> None:
    processes.start("one", SLEEP)
    processes.kill("one")
    assert processes.alive("one") == 0
    assert processes.dead() == ["one"]
    processes.start("one", SLEEP)
    assert processes.dead() == []


def test_a_stopped_process_is_forgotten(processes: Processes) -> None:
    processes.start("one", SLEEP)
    pid = processes.alive("one")
    processes.stop("one")
    assert processes.names() == []
    assert not Path(f"/proc/{pid}").exists()  # reaped as well, since it was our child


def test_who_does_not_listen_to_sigterm_gets_sigkill(processes: Processes) -> None:
    processes.start("one", STUBBORN)
    Waiter(processes).until("its word", lambda: "deaf" in processes.tail("one"), of="one", seconds=60)
    started = time.monotonic()
    processes.stop("one", patience=0.1)
    assert processes.names() == []
    assert time.monotonic() - started < 15, "it has 20 s where nothing else is said"


def test_a_pid_used_again_by_a_stranger_is_not_ours(processes: Processes) -> None:
    with subprocess.Popen(SLEEP) as stranger:
        processes.pids.mkdir()
        (processes.pids / "one").write_text(f"{stranger.pid} 1")  # the same pid, another start time
        assert processes.alive("one") == 0
        with pytest.raises(ProcessLookupError, match="one does not run"):
            processes.signal("one", signal.SIGTERM)
        processes.stop("one")
        assert stranger.poll() is None
        stranger.kill()


def test_a_zombie_is_dead(processes: Processes) -> None:
    processes.start("one", ("true",))
    deadline = time.monotonic() + 60
    while processes.alive("one"):  # nobody reaps it, so it stays a zombie
        assert time.monotonic() < deadline
    assert processes.dead() == ["one"]


@pytest.mark.parametrize("content", ["", "12", "x y z"])
def test_a_broken_pid_file_means_dead(processes: Processes, content: str) -> None:
    processes.pids.mkdir()
    (processes.pids / "one").write_text(content)
    assert processes.alive("one") == 0


def test_started_processes_see_no_proxy_and_no_kubeconfig(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    processes.start("one", ("sh", "-c", "env; pwd; exec sleep 1000"), env={"ADDED": "yes"})
    Waiter(processes).until("its words", lambda: processes.tail("one").endswith("/\n"), of="one", seconds=60)
    said = processes.tail("one")
    assert "ADDED=yes" in said
    assert "PROXY" not in said
    assert "KUBECONFIG" not in said


def test_waiting_for_a_dead_process_ends_at_once_with_its_log(processes: Processes) -> None:
    processes.start("one", ("sh", "-c", "echo bad flag; exit 1"))
    started = time.monotonic()
    with pytest.raises(ClusterError, match=r"one died before readiness[^$]*bad flag"):
        Waiter(processes).until("readiness", lambda: False, of="one")
    assert time.monotonic() - started < 60, "not when its 90 s are over"


def test_waiting_ends_at_the_deadline_and_says_what_was_last(processes: Processes) -> None:
    processes.start("one", SLEEP)

    def refused() -> object:
        raise ConnectionRefusedError("nobody there")

    with pytest.raises(ClusterError, match=r"no readiness within 0 s \(last: nobody there\)"):
        Waiter(processes).until("readiness", refused, of="one", seconds=0.2)
