"""Real engines: the supervisor in the engine's Python environment, on the tiny trained models."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dev import enginevenv
from dev.models import store
from dormouse_api.model import Engine
from dormouse_api.names import ENV_QUANTIZE_CONFIG
from dormouse_api.results import Outcome
from dormouse_api.runtime import Attempt, QuantizeConfig
from tests.runtime.scripted.pod import Pod, free_port, make_config

ROOT = Path(__file__).parents[3]
CODE = {"PYTHONPATH": f"{ROOT / 'crds'}:{ROOT / 'runtime'}"}
COMMIT = "c0ffee"


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


Quantize = Callable[[str], Outcome]


@pytest.fixture(scope="module")
def quantize(volume: Path, python: str) -> Quantize:
    """Run the quantize Job for a method; the Outcome of its termination message."""

    def run(method: str) -> Outcome:
        message = volume / f"{method}.message"
        config = QuantizeConfig(
            source="hf://dormouse/tiny-chat",
            commit=COMMIT,
            model_dir=str(volume / COMMIT),
            out_dir=str(volume / f"{COMMIT}-{method}"),
            method=method,
            cache_dir=str(volume),
            admin_port=free_port(),
        )
        told = {
            ENV_QUANTIZE_CONFIG: config.model_dump_json(),
            "DORMOUSE_HOST": "127.0.0.1",
            "DORMOUSE_TERMINATION_LOG": str(message),
        }
        subprocess.run([python, "-m", "dormouse_runtime", "quantize"], env={**os.environ, **CODE, **told}, check=False)
        return Outcome.model_validate_json(message.read_text())

    return run


Serve = Callable[..., Pod]


@pytest.fixture
def serve(tmp_path: Path, volume: Path, python: str) -> Iterator[Serve]:
    """Start a runtime pod: `serve((engine, folder, quantization), ..., **config)`."""
    pods: list[Pod] = []

    def start(*attempts: tuple[str, Path, str], **fields: Any) -> Pod:
        folder = tmp_path / str(len(pods))
        folder.mkdir()
        tried = tuple(
            Attempt(engine=Engine(engine), model_dir=str(weights), quantization=quantization)
            for engine, weights, quantization in attempts
        )
        usual = {"max_model_len": 512, "start_seconds": 150, "cache_dir": str(volume / "cache"), "commit": COMMIT}
        config = make_config(attempts=tried, **{**usual, **fields})
        pods.append(Pod(folder, config, [python, "-m", "dormouse_runtime", "serve"], CODE))
        return pods[-1]

    yield start
    for pod in pods:
        pod.close()


def ready(pod: Pod) -> bool:
    """Hold probes, as the kubelet does, until the pod is ready or has ended."""
    while pod.process.poll() is None:
        if pod.get("/readyz", timeout=60)[0] == 200:
            return True
        if pod.state().failure:
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
