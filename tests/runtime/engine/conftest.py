"""Real engines: the supervisor in the engine's Python environment, on the tiny trained models."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dev import enginevenv
from dev.models import store
from dormouse_api.calibration import CalibrationConfig
from dormouse_api.model import Engine
from dormouse_api.names import ENV_QUANTIZE_CONFIG
from dormouse_api.results import Outcome
from dormouse_api.runtime import Attempt, QuantizeConfig, RuntimeState
from tests.runtime.scripted.pod import Pod, free_port, make_config

ROOT = Path(__file__).parents[3]
CODE = {
    "PYTHONPATH": f"{ROOT / 'crds'}:{ROOT / 'runtime'}",
    # Threads that spin for each other take the processor from what runs beside them, which they wait for.
    "OMP_WAIT_POLICY": "PASSIVE",
}
"""What the engine's Python is told in all tests."""
COMMIT = "c0ffee"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A start takes a minute, and some tests have four, where a whole cluster is tested on the same two processors."""
    for item in items:
        if item.get_closest_marker("engine"):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def python() -> str:
    """The engine environment's interpreter."""
    return str(enginevenv.python())


@pytest.fixture(scope="session")
def models() -> Path:
    """Folder of the tiny models."""
    return store.ensure() / "dormouse"


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Path:
    """A model volume as the puller leaves it, for all tests of a module."""
    root = tmp_path_factory.mktemp("volume")
    (root / COMMIT).symlink_to(models / "tiny-chat")
    return root


Quantize = Callable[..., Outcome]


@pytest.fixture(scope="module")
def quantize(volume: Path, python: str) -> Quantize:
    """Run the quantize Job for a method, by the quantizer's Python with texts; the Outcome it leaves."""

    def run(method: str, program: str = python, calibration: CalibrationConfig | None = None) -> Outcome:
        copy = f"{method}-{calibration.algorithm.value}" if calibration else method
        message = volume / f"{copy}.message"
        config = QuantizeConfig(
            source="hf://dormouse/tiny-chat",
            commit=COMMIT,
            model_dir=str(volume / COMMIT),
            out_dir=str(volume / f"{COMMIT}-{copy}"),
            method=method,
            calibration=calibration,
            cache_dir=str(volume),
            admin_port=free_port(),
        )
        told = {
            ENV_QUANTIZE_CONFIG: config.model_dump_json(),
            "DORMOUSE_HOST": "127.0.0.1",
            "DORMOUSE_TERMINATION_LOG": str(message),
        }
        command = [program, "-m", "dormouse_runtime.quantize", "quantize"]
        subprocess.run(command, env={**os.environ, **CODE, **told}, check=False)
        return Outcome.model_validate_json(message.read_text())

    return run


Serve = Callable[..., Pod]


@contextlib.contextmanager
def serving(folder: Path, volume: Path, python: str) -> Iterator[Serve]:
    """Start runtime pods below `folder`: `serve((engine, folder, quantization), ..., **config)`."""
    pods: list[Pod] = []
    ended = contextlib.ExitStack()

    def start(*attempts: tuple[str, Path, str], **fields: Any) -> Pod:
        below = folder / str(len(pods))
        below.mkdir()
        tried = tuple(
            Attempt(engine=Engine(engine), model_dir=str(weights), quantization=quantization)
            for engine, weights, quantization in attempts
        )
        usual = {"max_model_len": 512, "start_seconds": 280, "cache_dir": str(volume / "cache"), "commit": COMMIT}
        config = make_config(attempts=tried, **{**usual, **fields})
        # vLLM's sockets are in it, whose whole path may have 107 characters: a test's own folder can be too long
        scratch = {"TMPDIR": ended.enter_context(tempfile.TemporaryDirectory(prefix="pod-"))}
        pods.append(Pod(below, config, [python, "-m", "dormouse_runtime", "serve"], CODE | scratch))
        return pods[-1]

    try:
        yield start
    finally:
        for pod in pods:
            pod.close()
        ended.close()


@pytest.fixture
def serve(tmp_path: Path, volume: Path, python: str) -> Iterator[Serve]:
    """Start pods that end with the test."""
    with serving(tmp_path, volume, python) as start:
        yield start


def ready(pod: Pod) -> bool:
    """Hold probes, as the kubelet does, until the pod is ready or has ended."""
    while pod.process.poll() is None:
        if pod.get("/readyz", timeout=60)[0] == 200:
            return True
        status, said = pod.get("/state")
        if status == 200 and RuntimeState.model_validate_json(said).failure:
            return False
    return False


def ask(pod: Pod, question: str, **fields: Any) -> Any:
    """The whole answer to a greedy chat."""
    messages = [{"role": "user", "content": question}]
    return pod.post("/v1/chat/completions", {"model": "tiny", "messages": messages, "temperature": 0, **fields})


def words(answer: Any) -> str:
    """What a chat said."""
    return str(answer["choices"][0]["message"]["content"])


def events(text: str) -> list[Any]:
    """The JSON of each event of a stream."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: {")]
    return [json.loads(line) for line in lines]
