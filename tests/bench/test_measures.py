"""The bench's own clients and stand-ins still fit the router: small runs of each, on one core."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.routing import holding, measures
from bench.routing.measures import Place
from bench.routing.processes import BenchError, free_port, python, running
from bench.routing.streams import ANTHROPIC, OLLAMA, OPENAI, RESPONSES

pytestmark = pytest.mark.slow

CHUNKS = 5


def _said(module: str, *arguments: object) -> Any:
    argv = python(module, *arguments)
    return json.loads(subprocess.run(argv, capture_output=True, text=True, timeout=240, check=True).stdout)


@pytest.mark.parametrize(
    ("module", "paths"),
    [("bench.routing.proxy", (OPENAI, OLLAMA, ANTHROPIC, RESPONSES)), ("bench.routing.bare", (OPENAI,))],
)
def test_the_clients_get_every_answer(module: str, paths: tuple[str, ...]) -> None:
    engine, port = free_port(), free_port()
    with (
        running(python("bench.routing.engine", engine, CHUNKS), 0, engine),
        running(python(module, port, engine), 0, port),
    ):
        loop = _said("bench.routing.openloop", port, 100, 0.3, 8)
        assert loop["requests"] == 30
        assert 0 < loop["p50_ms"] <= loop["p99_ms"] <= loop["max_ms"]
        for path in paths:
            seen = _said("bench.routing.streams", port, 3, path)
            assert seen["chunks"] == 3 * CHUNKS
            assert 0 < seen["lag_p50_ms"] <= seen["lag_p99_ms"]


def test_who_cannot_bear_the_common_load_is_said_to(tmp_path: Path) -> None:
    place = Place(1, 1, None, tmp_path, 1, 1.0, {"rate": measures.SAME_RATE - 1})
    with pytest.raises(BenchError, match="6000 requests per second"):
        measures.same_load(place)


def test_held_requests_are_released(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (holding, measures):
        monkeypatch.setattr(module, "LOAD_CORE", 0)
    (figures,) = holding.releases(1, sys.executable, 20)
    assert 0 < figures["hold release p50"] <= figures["hold release p99"] <= figures["hold release max"]
