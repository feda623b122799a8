"""The supervisor with a custom class: it serves and unloads, and a class that cannot be loaded says why."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dormouse_api.conditions import Reason
from dormouse_api.model import Engine
from dormouse_api.runtime import Attempt, EntryPoint
from tests.runtime.custom.models import SCHEMA
from tests.runtime.scripted.pod import Pod, make_config, until

ROOT = Path(__file__).parents[3]
CODE = {"PYTHONPATH": f"{ROOT}:{ROOT / 'crds'}:{ROOT / 'runtime'}"}


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[list[Pod]]:
    made: list[Pod] = []
    yield made
    for pod in made:
        pod.close()


def started(pods: list[Pod], folder: Path, path: str, **config: str) -> Pod:
    weights = folder / "weights"
    weights.mkdir()
    told: dict[str, Any] = {
        "attempts": (Attempt(engine=Engine.CUSTOM, model_dir=str(weights)),),
        "custom": EntryPoint(path=path, config=config),
        "start_seconds": 60,
        "drain_seconds": 3,
        "cache_dir": str(folder / "cache"),
    }
    pods.append(Pod(folder, make_config(**told), [sys.executable, "-m", "dormouse_runtime", "serve"], CODE))
    return pods[-1]


def test_it_serves_tells_its_schema_and_unloads(pods: list[Pod], tmp_path: Path) -> None:
    pod = started(pods, tmp_path, "tests.runtime.custom.models:Everything", colour="blue")
    until(pod.ready)
    state = pod.state()
    assert (state.engine, state.quantization) == ("custom", "none")
    assert json.loads(state.input_schema or "") == SCHEMA
    answer = pod.post("/predict", {"input": {"do": "say"}})
    assert answer["output"] == f"{tmp_path / 'weights'} {{'colour': 'blue'}}"
    assert not (tmp_path / "weights" / "unloaded").exists()
    pod.terminate()
    assert pod.end() == 0
    assert (tmp_path / "weights" / "unloaded").exists()


def test_a_schema_that_load_makes(pods: list[Pod], tmp_path: Path) -> None:
    pod = started(pods, tmp_path, "tests.runtime.custom.models:Late", most="9")
    until(pod.ready)
    assert json.loads(pod.state().input_schema or "") == {"type": "integer", "maximum": 9}
    assert pod.post("/predict", {"input": 9})["output"] == 10
    assert "maximum of 9" in pod.post("/predict", {"input": 10})["error"]


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("Unloadable", Reason.ENGINE_FAILED, ":Unloadable.load raised ValueError: no such currency: XXX"),
        ("Unbuildable", Reason.ENGINE_FAILED, ":Unbuildable() raised RuntimeError: the licence server is away"),
        ("Missing", Reason.ENGINE_FAILED, "tests.runtime.custom.models has no class Missing"),
        ("NoPredict", Reason.ENGINE_FAILED, ":NoPredict has no method predict"),
        ("NoSchema", Reason.ENGINE_FAILED, ":NoSchema has no input_schema: set it to a JSON Schema"),
        ("WrongSchema", Reason.ENGINE_FAILED, ":WrongSchema.input_schema is no JSON Schema: 'objekt' is not valid"),
        ("OddSchema", Reason.ENGINE_FAILED, ":OddSchema.input_schema is not JSON"),
        ("LongSchema", Reason.ENGINE_FAILED, "16384 are the most"),
        ("TooBig", Reason.OUT_OF_MEMORY, "MemoryError: cannot allocate 40 GiB"),
    ],
)
def test_a_class_that_cannot_be_loaded_is_told_in_its_own_words(
    pods: list[Pod], tmp_path: Path, name: str, reason: Reason, words: str
) -> None:
    pod = started(pods, tmp_path, f"tests.runtime.custom.models:{name}", currency="XXX")
    assert pod.end() == 1
    failure = pod.last_word().failure
    assert failure is not None
    assert (failure.engine, failure.reason) == ("custom", reason)
    assert words in failure.message
    if reason is Reason.ENGINE_FAILED:
        assert failure.message.endswith("kubectl logs has its traceback")


def test_a_module_that_is_not_there(pods: list[Pod], tmp_path: Path) -> None:
    pod = started(pods, tmp_path, "house.prices:Model")
    assert pod.end() == 1
    failure = pod.last_word().failure
    assert failure is not None
    assert "importing house.prices raised ModuleNotFoundError: No module named 'house'" in failure.message
    assert "spec.image" in failure.message
