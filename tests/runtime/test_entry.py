"""The entry of the image: it must answer the admin port at once, so it must not import what takes long."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SLOW = ("torch", "vllm", "transformers", "huggingface_hub", "fastapi", "starlette", "uvicorn", "httpx", "numpy")


def test_pid_1_imports_nothing_that_takes_long() -> None:
    found = f"[name for name in {SLOW} if name in sys.modules]"
    script = f"import json, sys; import dormouse_runtime.__main__; print(json.dumps({found}))"
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize(("command", "variable"), [("serve", "DORMOUSE_RUNTIME"), ("quantize", "DORMOUSE_QUANTIZE")])
def test_a_missing_configuration_is_one_sentence_and_no_traceback(command: str, variable: str) -> None:
    run = [sys.executable, "-m", "dormouse_runtime", command]
    done = subprocess.run(run, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{variable} must hold the JSON of a ")
    assert "Traceback" not in done.stderr
