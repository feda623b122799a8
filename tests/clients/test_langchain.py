"""LangChain's conformance suites against the router, in a process of their own (`tests/clients/langchain` says why)."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.clients.langchain.conftest import ADDRESS
from tests.clients.world import World

SUITES = Path(__file__).parent / "langchain"
ROOT = Path(__file__).parents[2]
BEYOND = {
    "test_stream_time": "needs a recording of a paid service",
    "test_pdf_inputs": "no engine here reads PDF",
    "test_pdf_tool_message": "no engine here reads PDF",
    "test_audio_inputs": "no engine here listens in a chat",
    "test_anthropic_inputs": "Anthropic's blocks in OpenAI's or Ollama's messages",
    "test_tool_choice": "Ollama's API has none",
    "test_json_mode": "Anthropic's API has none",
    "test_image_tool_message": "results of tools are text in Ollama's API",
}
"""What the suites skip, and why."""
PASSED = {"openai": 95, "ollama": 48, "anthropic": 45}
"""Cases by suite that were passed when this was written; newer suites may have more."""


@pytest.mark.slow
@pytest.mark.parametrize("suite", PASSED)
def test_the_suite_passes(router: World, tmp_path: Path, suite: str) -> None:
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(SUITES / "pytest.ini"), "--rootdir", str(ROOT)]
    done = subprocess.run(
        [*command, f"--junitxml={report}", str(SUITES / f"suite_{suite}.py")],
        cwd=ROOT,
        # not the worker of our own run: a plugin would warn that it is one
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        | {ADDRESS: router.url, "NO_PROXY": "127.0.0.1", "LANGSMITH_TRACING": "false"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    cases = ElementTree.parse(report).findall(".//testcase")  # noqa: S314 - our own child wrote it
    skipped = [str(case.get("name")).split("[")[0] for case in cases if case.find("skipped") is not None]
    assert set(skipped) <= set(BEYOND)
    assert len(cases) - len(skipped) >= PASSED[suite]
