"""The entry of the image: it must answer the admin port at once, so it must not import what takes long."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SLOW = ("torch", "vllm", "transformers", "huggingface_hub", "fastapi", "starlette", "uvicorn", "httpx", "numpy")


def test_pid_1_imports_nothing_that_takes_long() -> None:
    found = f"[name for name in {SLOW} if name in sys.modules]"
    script = f"import json, sys; import dormouse_runtime.entry; print(json.dumps({found}))"
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize(("command", "variable"), [("serve", "DORMOUSE_RUNTIME"), ("quantize", "DORMOUSE_QUANTIZE")])
def test_a_missing_configuration_is_one_sentence_and_no_traceback(command: str, variable: str) -> None:
    run = [sys.executable, "-m", "dormouse_runtime", command]
    done = subprocess.run(run, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{variable} must hold the JSON of a ")
    assert "Traceback" not in done.stderr


def test_sigterm_is_heard_before_anything_else_is_imported() -> None:
    """The kernel would keep it from pid 1 otherwise."""
    script = """
import signal, sys, types
class Entry(types.ModuleType):
    def __getattr__(self, name):
        assert name == "main", name
        signal.raise_signal(signal.SIGTERM)  # as if it came now
sys.modules["dormouse_runtime.entry"] = Entry("entry")
import dormouse_runtime
dormouse_runtime.entry = sys.modules["dormouse_runtime.entry"]
from dormouse_runtime.__main__ import main
sys.exit(main() or 3)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
