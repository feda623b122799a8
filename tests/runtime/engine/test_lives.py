"""Sleep and wake with the real vLLM: several lives on one volume leave nothing, and each start is told to its end."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dormouse_api.runtime import Stage
from tests.runtime.engine.conftest import Serve, ask, ready, words
from tests.runtime.leftovers import Leftovers

pytestmark = pytest.mark.engine

LIVES = 4
BYTECODE = Path(__file__).parents[3] / "runtime" / "engine" / "bytecode.py"


def test_four_lives_leave_nothing(serve: Serve, models: Path, volume: Path, tmp_path: Path) -> None:
    left, seen = Leftovers(str(tmp_path), volume / "cache"), []
    for _ in range(LIVES):
        pod = serve(("vllm", models / "tiny-chat", "none"))
        assert ready(pod), pod.log()[-2000:]
        assert words(ask(pod, "What is the capital of France?")) == "Paris."
        stages = [entry.stage for entry in pod.state().timeline]
        assert stages == [Stage.STARTING, Stage.IMPORTING, Stage.LOADING, Stage.WARMING, Stage.READY]
        pod.terminate()
        assert pod.end() == 0
        seen.append(left.seen())
        assert (seen[-1].processes, seen[-1].shared_memory) == ([], [])
    assert all(one.files == seen[1].files for one in seen[2:])
    assert len(seen[1].files) <= len(seen[0].files) + 2


def test_the_engine_has_its_bytecode(python: str) -> None:
    """Without it each process compiles thousands of modules anew, on a file system that it cannot write to."""
    done = subprocess.run([python, BYTECODE, "check"], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout
