"""What the router says to vLLM for OpenAI's clients, and what it makes of vLLM's words: against vLLM itself.

The table tests play vLLM from its source; this holds them to it.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.e2e.samples import FRANCE
from tests.e2e.story import ROUTER
from tests.e2e.test_quickstart import applied

NAME = "tiny-chat"
URL = "/v1/chat/completions"
WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "Get the weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
NAMED = {"type": "function", "function": {"name": "get_weather"}}
CHAT: dict[str, Any] = {
    "model": NAME,
    "temperature": 0,
    "max_tokens": 60,
    "messages": [{"role": "user", "content": FRANCE}],
}
ASKED = CHAT | {"messages": [{"role": "user", "content": "What is the weather in Oslo?"}]}


@pytest.fixture(autouse=True)
def quickstart(testbed: object) -> None:
    applied()


@pytest_asyncio.fixture(loop_scope="session")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=120) as client:
        yield client


def chunks(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    datas = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
    assert datas.pop() == "[DONE]"
    return [json.loads(data) for data in datas]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_that_was_forced_ends_for_it(http: httpx.AsyncClient, stream: bool) -> None:
    tools = [{"type": "function", "function": WEATHER}]
    answer = await http.post(URL, json=ASKED | {"tools": tools, "tool_choice": NAMED, "stream": stream})
    choices = [c["choices"][0] for c in chunks(answer)] if stream else answer.json()["choices"]
    assert choices[-1]["finish_reason"] == "tool_calls"
    said = [choice["delta" if stream else "message"] for choice in choices]
    calls = [call for part in said for call in part.get("tool_calls") or ()]
    assert calls[0]["function"]["name"] == "get_weather"
    assert "city" in json.loads("".join(call["function"].get("arguments") or "" for call in calls))


@pytest.mark.parametrize("stream", [False, True])
async def test_functions_of_old_are_called(http: httpx.AsyncClient, stream: bool) -> None:
    wish = {"functions": [WEATHER], "function_call": {"name": "get_weather"}, "stream": stream}
    answer = await http.post(URL, json=ASKED | wish)
    choices = [c["choices"][0] for c in chunks(answer)] if stream else answer.json()["choices"]
    said = [choice["delta" if stream else "message"] for choice in choices]
    calls = [part["function_call"] for part in said if part.get("function_call")]
    assert choices[-1]["finish_reason"] == "function_call"
    assert "".join(call.get("name") or "" for call in calls) == "get_weather"


async def test_usage_comes_once_and_only_where_it_was_asked_for(http: httpx.AsyncClient) -> None:
    assert all("usage" not in chunk for chunk in chunks(await http.post(URL, json=CHAT | {"stream": True})))
    wish = {"stream": True, "stream_options": {"include_usage": True}}
    *rest, last = chunks(await http.post(URL, json=CHAT | wish))
    assert all(chunk["usage"] is None for chunk in rest)
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] > 0


@pytest.mark.parametrize(
    "fields",
    [
        {"n": None, "min_tokens": None, "stop": None, "tools": None, "tool_choice": None},
        {"tools": [], "tool_choice": "auto"},
        {"metadata": {"a": "b"}, "store": True, "service_tier": "auto", "verbosity": "low", "prediction": None},
        {"messages": [{"role": "developer", "content": "Answer in one word."}, *CHAT["messages"]]},
    ],
)
async def test_what_vllm_does_not_take_is_kept_from_it(http: httpx.AsyncClient, fields: dict[str, Any]) -> None:
    answer = await http.post(URL, json=CHAT | fields)
    assert answer.status_code == 200, answer.text


async def test_guided_choice_still_guides(http: httpx.AsyncClient) -> None:
    answer = await http.post(URL, json=CHAT | {"guided_choice": ["dormouse", "hedgehog"]})
    assert answer.json()["choices"][0]["message"]["content"] in ("dormouse", "hedgehog")


async def test_vllms_refusals_are_openais(http: httpx.AsyncClient) -> None:
    long = await http.post(URL, json=CHAT | {"messages": [{"role": "user", "content": "a b c " * 20_000}]})
    error = long.json()["error"]
    assert (long.status_code, error["type"]) == (400, "invalid_request_error")
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
    odd = (await http.post(URL, json=CHAT | {"top_k": -7})).json()["error"]
    assert (odd["type"], odd["code"]) == ("invalid_request_error", None)
    assert "top_k" in odd["message"]


async def test_tokens_there_and_back(http: httpx.AsyncClient) -> None:
    found = (await http.post("/tokenize", json={"model": NAME, "prompt": FRANCE, "add_special_tokens": False})).json()
    assert found["count"] == len(found["tokens"]) > 0
    back = (await http.post("/detokenize", json={"model": NAME, "tokens": found["tokens"]})).json()
    assert back["prompt"].strip() == FRANCE


async def test_what_the_model_cannot_is_a_400(http: httpx.AsyncClient) -> None:
    for path, fields in (
        ("/v1/rerank", {"query": "q", "documents": ["a"]}),
        ("/v1/images/generations", {"prompt": "a dormouse"}),
        ("/v1/audio/speech", {"input": "hello"}),
    ):
        answer = await http.post(path, json={"model": NAME, **fields})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "model_not_supported"), path
