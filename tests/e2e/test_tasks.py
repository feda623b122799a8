"""Every kind of text model on a real vLLM, by its weights alone: embeddings, rerank, experts, structured output."""

import json
import math
from typing import Any

import httpx
import pytest

from tests.e2e.samples import model
from tests.e2e.story import ROUTER, Story

WAKE_SECONDS = 200
DOCUMENTS = ["Paris is the capital of France.", "The sky is blue.", "Count to twenty."]


async def called(story: Story, base: str, repo: str, calls: dict[str, dict[str, Any]]) -> list[Any]:
    """The answers of a model that is made for them; `calls`: body by path."""
    name = story.name(base)
    await story.apply(model(name, repo, profile="cpu", engine={"order": ["vllm"], "maxModelLen": 256}))
    await story.ready(name, "ScaledToZero", seconds=WAKE_SECONDS)
    found = []
    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=WAKE_SECONDS) as http:
        for path, body in calls.items():
            answer = await http.post(path.split("#")[0], json={"model": name, **body})
            assert answer.status_code == 200, (path, answer.text)
            found.append(answer.json())
    await story.seen(name, "served by vllm", lambda item: item["status"].get("engine", {}).get("name") == "vllm")
    return found


@pytest.mark.timeout(480)
async def test_embeddings(story: Story) -> None:
    body = {"input": DOCUMENTS}
    first, again = await called(
        story, "embed", "dormouse/tiny-embed", {"/v1/embeddings": body, "/v1/embeddings#again": body}
    )
    vectors = [entry["embedding"] for entry in first["data"]]
    assert len(vectors) == 3
    assert all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-3) for vector in vectors), "they are normalised"
    for one, other in zip(vectors, (entry["embedding"] for entry in again["data"]), strict=True):
        assert sum(a * b for a, b in zip(one, other, strict=True)) > 0.999


@pytest.mark.timeout(480)
async def test_rerank_by_a_cross_encoder(story: Story) -> None:
    rerank = {"query": "What is the capital of France?", "documents": DOCUMENTS}
    score = {"text_1": rerank["query"], "text_2": DOCUMENTS}
    ranked, scored = await called(story, "rerank", "dormouse/tiny-rerank", {"/v1/rerank": rerank, "/v1/score": score})
    results = ranked["results"]
    assert sorted(entry["index"] for entry in results) == [0, 1, 2]
    scores = [entry["relevance_score"] for entry in results]
    assert scores == sorted(scores, reverse=True)
    by_index = {entry["index"]: entry["relevance_score"] for entry in results}
    for place, entry in enumerate(scored["data"]):
        assert math.isclose(entry["score"], by_index[place], abs_tol=1e-3)


@pytest.mark.timeout(480)
async def test_a_mixture_of_experts(story: Story) -> None:
    body = {"messages": [{"role": "user", "content": "Hello!"}], "temperature": 0, "max_tokens": 12}
    path = "/v1/chat/completions"
    first, again = await called(story, "moe", "dormouse/tiny-moe", {path: body, f"{path}#again": body})
    assert first["usage"]["completion_tokens"] == 12
    assert first["choices"][0]["message"]["content"] == again["choices"][0]["message"]["content"]


@pytest.mark.timeout(480)
async def test_structured_output_and_a_parser_by_family(story: Story) -> None:
    """Tiny-chat is a Llama whose template speaks Hermes: inspection found the parser, nobody named one."""
    city = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"]}
    schema = {"type": "json_schema", "json_schema": {"name": "city", "schema": city | {"additionalProperties": False}}}
    function = {
        "name": "get_weather",
        "description": "Get the weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
    path = "/v1/chat/completions"
    calls = {
        path: {
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
            "response_format": schema,
            "temperature": 0,
            "max_tokens": 60,
        },
        f"{path}#tools": {
            "messages": [{"role": "user", "content": "What is the weather in Rome?"}],
            "tools": [{"type": "function", "function": function}],
            "temperature": 0,
        },
    }
    structured, tools = await called(story, "structured", "dormouse/tiny-chat", calls)
    assert json.loads(structured["choices"][0]["message"]["content"])["city"] in ("Paris", "Rome")
    (call,) = tools["choices"][0]["message"]["tool_calls"]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("get_weather", {"city": "Rome"})
    found = await story.ready(story.name("structured"))
    assert found["status"]["inspected"]["toolCallParser"] == "hermes"
