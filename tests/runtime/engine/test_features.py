"""What vLLM does beside plain chats: adapters at run time, guessed tokens with the same answers, parsers by family."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from dormouse_api.adapters import ADAPTERS_DIR, AdapterEntry, AdapterList, LoraConfig
from dormouse_api.speculative import Method, SpeculativeConfig
from dormouse_runtime.pull import families
from tests.runtime.engine.conftest import COMMIT, Serve, ask, ready, serving, words
from tests.runtime.scripted.pod import Pod, until

pytestmark = pytest.mark.engine

FRANCE = "What is the capital of France?"
LONG = ("Count to twenty.", "Tell me a story.")


def say(pod: Pod, model: str, question: str) -> Any:
    messages = [{"role": "user", "content": question}]
    return pod.post("/v1/chat/completions", {"model": model, "messages": messages, "temperature": 0})


def write(volume: Path, **adapters: str) -> None:
    entries = tuple(AdapterEntry(name=name, commit=commit) for name, commit in adapters.items())
    path = volume / ADAPTERS_DIR / "uid.json"
    path.with_suffix(".part").write_text(AdapterList(adapters=entries).model_dump_json())
    path.with_suffix(".part").rename(path)


def test_adapters_come_change_and_go_in_a_running_vllm(serve: Serve, volume: Path, models: Path) -> None:
    (volume / ADAPTERS_DIR).mkdir()
    for commit, name in (("c1", "tiny-lora"), ("c2", "tiny-lora-two")):
        (volume / ADAPTERS_DIR / commit).symlink_to(models / name)
    write(volume, a="c1")
    pod = serve(("vllm", volume / COMMIT, "none"), lora=LoraConfig(list="uid", max_rank=64, max_active=2))
    assert ready(pod), pod.log()
    assert [state.loaded for state in pod.state().adapters] == [True], pod.state().adapters
    assert words(say(pod, "tiny:a", FRANCE)) == "Rome."
    assert words(say(pod, "tiny", FRANCE)) == "Paris."
    write(volume, a="c2", b="c1")
    until(lambda: {s.commit for s in pod.state().adapters if s.loaded} == {"c1", "c2"})
    assert (words(say(pod, "tiny:a", FRANCE)), words(say(pod, "tiny:b", FRANCE))) == ("Oslo.", "Rome.")
    cards = {card["id"]: card for card in pod.ask("/v1/models")["data"]}
    assert cards["tiny:b"]["parent"] == "tiny"
    write(volume)
    until(lambda: pod.state().adapters == ())
    assert say(pod, "tiny:a", FRANCE)["error"]["code"] == 404
    assert words(ask(pod, FRANCE)) == "Paris."


def measured(pod: Pod) -> tuple[list[str], float]:
    """(answers, tokens a second) of the long questions, once the first call has been answered: it compiles, 3 s."""
    words(ask(pod, FRANCE))
    began, tokens, said = time.monotonic(), 0, []
    for question in LONG * 3:
        answer = ask(pod, question)
        said.append(words(answer))
        tokens += answer["usage"]["completion_tokens"]
    return said, tokens / (time.monotonic() - began)


def accepted(pod: Pod) -> tuple[float, float]:
    """(guessed, right) tokens, as the engine counts them."""
    text = pod.get("/metrics", pod.serving)[1]
    found = {}
    for name in ("draft", "accepted"):
        lines = [line for line in text.splitlines() if line.startswith(f"vllm:spec_decode_num_{name}_tokens_total")]
        found[name] = sum(float(line.rpartition(" ")[2]) for line in lines)
    return found["draft"], found["accepted"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, volume: Path, models: Path, python: str) -> tuple[list[str], float]:
    """The same of an engine that guesses nothing."""
    with serving(tmp_path_factory.mktemp("plain"), volume, python) as serve:
        pod = serve(("vllm", models / "tiny-chat", "none"))
        assert ready(pod), pod.log()
        return measured(pod)


@pytest.mark.parametrize("method", list(Method))
def test_guessed_tokens_leave_the_answers_as_they_are(
    serve: Serve, models: Path, method: Method, plain: tuple[list[str], float], capsys: pytest.CaptureFixture[str]
) -> None:
    told = SpeculativeConfig(
        method=method,
        tokens=4,
        prompt_lookup_min=2,
        prompt_lookup_max=4,
        draft_dir=str(models / "tiny-draft") if method is Method.DRAFT else None,
    )
    pod = serve(("vllm", models / "tiny-chat", "none"), speculative=told)
    assert ready(pod), pod.log()
    said, speed = measured(pod)
    guessed, right = accepted(pod)
    same, speed_without = plain
    assert said == same
    assert guessed > 0
    with capsys.disabled():
        print(  # noqa: T201 - the figures are what it is for
            f"\n{method.value}: {speed:.0f} tokens/s against {speed_without:.0f} without, "
            f"{right:.0f} of {guessed:.0f} guesses right"
        )


def test_vllm_has_every_parser_that_families_name(python: str) -> None:
    code = (
        "import json, vllm.tool_parsers as t, vllm.reasoning as r;"
        "print(json.dumps([sorted(t._TOOL_PARSERS_TO_REGISTER), sorted(r._REASONING_PARSERS_TO_REGISTER)]))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    tools, reasoning = map(set, json.loads(done.stdout.splitlines()[-1]))
    named = [*families.FAMILIES.values(), *(found for _, found in families.MARKS)]
    assert {found.tools for found in named if found.tools} <= tools
    assert {found.reasoning for found in named if found.reasoning} | {families.THINKS} <= reasoning
