"""What the transformers engine serves where vLLM does not: models that rewrite a text, and embeddings."""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dormouse_api.conditions import Reason
from tests.runtime.engine.conftest import CODE, ROOT, Serve, ready

PROMPTS = ("Tell me a story.", "What is the capital of France, and why?", "Hi")
TOKENS = 12

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def strange(python: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[str]]]:
    """The models' folder, and what transformers itself says with each."""
    folder = tmp_path_factory.mktemp("strange")
    env = {**os.environ, **CODE, "PYTHONPATH": f"{CODE['PYTHONPATH']}:{ROOT}"}
    command = [python, "-m", "tests.runtime.engine.strange", str(folder), str(TOKENS), *PROMPTS]
    done = subprocess.run(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    answers: dict[str, list[str]] = json.loads(done.stdout.decode().rpartition("ANSWERS ")[2])
    return folder, answers


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_a_model_that_rewrites_a_text_answers_in_a_batch_as_it_does_alone(
    serve: Serve, strange: tuple[Path, dict[str, list[str]]], kind: str
) -> None:
    folder, answers = strange
    engines = ("vllm", "transformers") if kind == "t5" else ("transformers",)
    pod = serve(*((engine, folder / kind, "none") for engine in engines), max_model_len=None, dtype="float32")
    assert ready(pod), pod.log()[-3000:]
    state = pod.state()
    assert state.engine == "transformers"
    assert [passed.reason for passed in state.passed] == [Reason.UNSUPPORTED] * (len(engines) - 1)
    body = {"model": "tiny", "prompt": list(PROMPTS), "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
    told = pod.post("/v1/completions", body)
    assert [choice["text"] for choice in sorted(told["choices"], key=lambda c: c["index"])] == answers[kind]
    assert len(set(answers[kind])) > 1  # what was asked makes a difference
    long = pod.post("/v1/completions", body | {"prompt": "a " * 5000, "max_tokens": 1 if kind == "t5" else 5000})
    assert ("choices" if kind == "t5" else "error") in long  # positions of a T5 are relative: no text is too long


def test_embeddings_are_pooled_as_the_repository_says(serve: Serve, models: Path) -> None:
    pod = serve(("transformers", models / "tiny-embed", "none"), task="embed", max_model_len=None)
    assert ready(pod), pod.log()[-3000:]

    def embedded(given: Any) -> list[list[float]]:
        answer = pod.post("/v1/embeddings", {"model": "tiny", "input": given})
        return [item["embedding"] for item in answer["data"]]

    texts = ["a cat", "the capital of France is a city on a river", "a"]
    together, alone = embedded(texts), [embedded(text)[0] for text in texts]
    for one, other in zip(together, alone, strict=True):
        assert one == pytest.approx(other, abs=1e-3)  # padding changes nothing
        assert math.hypot(*one) == pytest.approx(1, abs=1e-3)
    assert together[0] != pytest.approx(together[1], abs=1e-3)
