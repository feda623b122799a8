"""The runtime on real engines: vLLM and transformers answer right, from full and from quantized weights."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from dormouse_api.conditions import Reason
from dormouse_api.runtime import Stage
from tests.runtime.engine.conftest import COMMIT, Quantize, Serve, ask, events, ready, words
from tests.runtime.scripted.pod import Pod, until

pytestmark = pytest.mark.engine

ANSWERS = {
    "What is the capital of France?": "Paris.",
    "What is 7 + 8?": "15",
    "Count to twenty.": ", ".join(map(str, range(1, 21))) + ".",
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get the weather in a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


def knows(pod: Pod) -> None:
    """Every trained answer comes back word for word, several at once."""
    answers: dict[str, str] = {}
    threads = [
        threading.Thread(target=lambda question=question: answers.__setitem__(question, words(ask(pod, question))))
        for question in ANSWERS
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ANSWERS


def speaks_openai(pod: Pod, likely: bool = True) -> None:
    """Streams, counts, calls tools, refuses what is too long, and knows its name. `likely`: tells likelihoods."""
    assert [model["id"] for model in pod.ask("/v1/models")["data"]] == ["tiny"]
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Hello!"}], "temperature": 0, "stream": True}
    streamed = events(pod.post_text("/v1/chat/completions", {**body, "stream_options": {"include_usage": True}}))
    text = "".join(choice["delta"].get("content") or "" for event in streamed for choice in event["choices"])
    assert text == words(ask(pod, "Hello!"))
    assert streamed[-1]["usage"]["completion_tokens"] > 0
    choice = ask(pod, "What is the weather in Rome?", tools=TOOLS)["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "get_weather"
    assert ask(pod, "Count to twenty.", max_tokens=5)["choices"][0]["finish_reason"] == "length"
    if likely:
        choice = ask(pod, "Hello!", logprobs=True, top_logprobs=2, temperature=0.01, n=2)["choices"][1]
        assert {len(entry["top_logprobs"]) for entry in choice["logprobs"]["content"]} == {2}
    refused: Any = ask(pod, "word " * 3000)
    assert "maximum context length is 512" in refused["error"]["message"]


def test_vllm_serves_and_drains(serve: Serve, models: Path) -> None:
    pod = serve(("vllm", models / "tiny-chat", "none"), tool_call_parser="hermes")
    assert ready(pod)
    knows(pod)
    speaks_openai(pod)
    stages = [entry.stage for entry in pod.state().timeline]
    assert stages[:3] == [Stage.STARTING, Stage.IMPORTING, Stage.LOADING]
    assert stages[-1] is Stage.READY
    told: list[str] = []
    story = threading.Thread(target=lambda: told.append(words(ask(pod, "Tell me a story."))))
    story.start()
    until(lambda: told or pod.ask("/load")["server_load"] == 1)
    pod.terminate()
    assert pod.end(240) == 0
    story.join()
    assert told[0].endswith("The end.")


def test_what_vllm_refuses_is_served_by_transformers_with_the_reason(serve: Serve, models: Path) -> None:
    weights = models / "tiny-odd"
    pod = serve(("vllm", weights, "none"), ("transformers", weights, "none"))
    assert ready(pod)
    knows(pod)
    state = pod.state()
    assert state.engine == "transformers"
    (passed,) = state.passed
    assert (passed.engine, passed.reason) == ("vllm", Reason.UNSUPPORTED)
    assert "CodeGenForCausalLM" in passed.message


def test_transformers_quantizes_at_load_and_speaks_openai(serve: Serve, models: Path) -> None:
    pod = serve(("transformers", models / "tiny-chat", "nf4"))
    assert ready(pod)
    knows(pod)
    speaks_openai(pod, likely=False)
    once, twice = (ask(pod, "Tell me a story.", temperature=1.5, seed=7, max_tokens=30) for _ in range(2))
    assert words(once) == words(twice)
    assert pod.ask("/load") == {"server_load": 0}


def test_a_model_that_cannot_be_quantized_is_refused(quantize: Quantize, volume: Path, models: Path) -> None:
    (volume / COMMIT).unlink()
    (volume / COMMIT).symlink_to(models / "tiny-odd")
    refused = quantize("fp8")
    assert refused.failure is not None
    assert refused.failure.reason is Reason.QUANTIZATION_FAILED
    assert not (volume / f"{COMMIT}-fp8").exists()
    assert not list(volume.glob("*.partial"))
