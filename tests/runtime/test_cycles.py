"""Three days of sleep and wake in fast-forward: five hundred lives of a runtime pod on one volume leave nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dormouse_api.model import Engine
from dormouse_api.names import ENV_RUNTIME_CONFIG
from dormouse_api.runtime import Attempt, RuntimeConfig
from tests.runtime.leftovers import Leftovers, Seen
from tests.runtime.scripted.pod import ask, make_config, until

pytestmark = pytest.mark.slow

CYCLES = int(os.environ.get("DORMOUSE_LIVES", "100"))
"""0.3 s each on two cores that have nothing else to do; 500 are three days of one every nine minutes."""
STUBBORN = 10
"""Every so many lives the engine ignores SIGTERM and has to be killed with its worker."""


@contextmanager
def nursery() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.runtime.scripted.nursery"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1, start_new_session=True) as process:
        try:
            yield process
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(20) == 0
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise


class Lives:
    """Pods one after the other, on one volume, at the same ports."""

    def __init__(self, volume: Path, nursery: subprocess.Popen[str]) -> None:
        self.volume, self.nursery = volume, nursery
        self.tag = f"dormouse-{volume.parent.name}-{os.getpid()}"
        self.configs: dict[str, RuntimeConfig] = {}
        usual = make_config(attempts=(Attempt(engine=Engine.VLLM, model_dir="/nowhere"),))
        for part in ("serve", "stubborn"):
            weights = volume / "models" / part
            weights.mkdir(parents=True)
            (weights / "config.json").write_text("{}")
            (weights / "weights").write_bytes(bytes(2**20))
            attempts = (Attempt(engine=Engine.VLLM, model_dir=str(weights)),)
            self.configs[part] = usual.model_copy(update={"attempts": attempts, "cache_dir": str(volume / "cache")})

    def one(self, scratch: Path, part: str) -> int:
        """Start, ready, answer, SIGTERM, end. The exit code."""
        config = self.configs[part]
        told = {
            ENV_RUNTIME_CONFIG: config.model_dump_json(),
            "DORMOUSE_HOST": "127.0.0.1",
            "DORMOUSE_TERMINATION_LOG": str(scratch / "termination"),
            "TMPDIR": str(scratch),
            "QUICK_TAG": self.tag,
        }
        assert self.nursery.stdin is not None
        assert self.nursery.stdout is not None
        self.nursery.stdin.write(f"{json.dumps(told)}\n")
        pod = int(self.nursery.stdout.readline())
        until(lambda: ask(config.admin_port, "/readyz") == (200, "ready\n"))
        assert ask(config.serving_port, "/v1/models")[0] == 200
        os.kill(pod, signal.SIGTERM)
        return int(self.nursery.stdout.readline())


def closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.timeout(900)
def test_hundreds_of_lives_leave_nothing(tmp_path: Path) -> None:
    volume, scratch = tmp_path / "volume", tmp_path / "scratch"
    scratch.mkdir()
    began = time.monotonic()
    with nursery() as process:
        lives = Lives(volume, process)
        left = Leftovers(lives.tag, volume, scratch)
        seen: list[Seen] = []
        for cycle in range(1, CYCLES + 1):
            part = "stubborn" if cycle % STUBBORN == 0 else "serve"
            assert lives.one(scratch, part) == 0, f"cycle {cycle}"
            if cycle in (STUBBORN, CYCLES // 2, CYCLES):
                seen.append(left.seen())
                assert (seen[-1].processes, seen[-1].shared_memory) == ([], [])
                assert seen[-1].files == seen[0].files, f"cycle {cycle}"
        for config in lives.configs.values():
            assert closed(config.admin_port)
            assert closed(config.serving_port)
    assert left.seen().processes == []
    seconds = time.monotonic() - began
    print(f"{CYCLES} lives in {seconds:.0f} s, {1000 * seconds / CYCLES:.0f} ms each; {len(seen[0].files)} files stay")  # noqa: T201
