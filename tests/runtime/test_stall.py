"""When a start counts as hung: by an injected clock, and by what /proc really says."""

from __future__ import annotations

import subprocess
import sys

from dormouse_runtime.supervisor.stall import Pulse, Work, work
from tests.runtime.scripted.pod import until


class Session:
    """What a session has done, as the test says."""

    def __init__(self) -> None:
        self.cpu, self.read = 0.0, 0

    def __call__(self) -> Work:
        return Work(self.cpu, self.read)


def test_nothing_at_all_is_quiet() -> None:
    pulse = Pulse(Session(), 0)
    assert [pulse.quiet(now) for now in (0, 5, 60, 301)] == [0, 5, 60, 301]


def test_a_new_line_is_progress_and_the_same_one_again_is_not() -> None:
    pulse = Pulse(Session(), 0)
    pulse.heard("INFO 11-22 01:00:00 [core.py:1] Waiting for workers")
    assert pulse.quiet(10) == 0
    pulse.heard("INFO 11-22 01:00:10 [core.py:1] Waiting for workers")
    assert pulse.quiet(20) == 10
    pulse.heard("Loading shards: 12%")
    pulse.heard("Loading shards: 13%")
    assert pulse.quiet(30) == 0


def test_work_and_reading_are_progress_and_a_poll_that_waits_is_not() -> None:
    session = Session()
    pulse = Pulse(session, 0)
    pulse.quiet(0)
    session.cpu += 0.05  # of ten seconds: what waits in a poll
    assert pulse.quiet(10) == 10
    session.cpu += 3
    assert pulse.quiet(20) == 0
    session.read += 2**20
    assert pulse.quiet(30) == 0
    assert pulse.quiet(40) == 10


def test_work_is_that_of_the_whole_session() -> None:
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    process = subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
    try:
        until(lambda: work(process.pid).cpu > 0.3)
        assert work(process.pid).read > 0
    finally:
        subprocess.run(["kill", "-9", "--", f"-{process.pid}"], check=True)
        process.wait()
    until(lambda: work(process.pid) == Work(0.0, 0))
