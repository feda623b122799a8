"""What a client asks and what its engine is asked: a row per parameter. Most bodies go on byte for byte."""

import json
from typing import Any

import httpx
import pytest

from dormouse_router.dataplane import bodies, peek
from dormouse_router.dialects.openai import refit
from tests.router.conftest import MakeEngine
from tests.router.dialects.engines import HI
from tests.router.dialects.records import condition, known_status, model
from tests.router.fakes import Engine, Stage, speak

CHAT: dict[str, Any] = {"model": "tiny-chat", "messages": HI}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
TIME = {"type": "function", "function": {"name": "time"}}
NAMED = {"type": "function", "function": {"name": "weather"}}
CALLED = {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}}


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0, "top_p": 1, "n": 2, "seed": 3, "stop": ["a", "b"], "max_tokens": 5},
        {"max_completion_tokens": 5, "presence_penalty": -2, "frequency_penalty": 2, "logit_bias": {"7": -100}},
        {"logprobs": True, "top_logprobs": 20, "user": "me", "parallel_tool_calls": False},
        {"tools": [WEATHER, TIME], "tool_choice": "required"},
        {"tools": [WEATHER], "tool_choice": NAMED},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}},
        {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True, "x": False}},
        {"metadata": {"a": "b"}, "store": True, "service_tier": "auto", "safety_identifier": "x", "verbosity": "low"},
        {"prediction": {"type": "content", "content": "x"}, "web_search_options": {}, "modalities": ["text"]},
        {"prompt_cache_key": "k", "prompt_cache_retention": "24h", "moderation": {}, "reasoning_effort": "minimal"},
        {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "min_tokens": 2, "ignore_eos": True},
        {"stop_token_ids": [1], "structured_outputs": {"choice": ["a"]}, "truncate_prompt_tokens": 9},
        {"chat_template_kwargs": {"enable_thinking": False}, "made_up": {"x": [1]}},
        {"messages": [{"role": "developer", "content": "Be brief."}, *HI]},
        {"messages": [*HI, {"role": "assistant", "tool_calls": [{"id": "c", "type": "function"}]}]},
        {"messages": [*HI, {"role": "assistant", "content": "x", "reasoning_content": "why"}, *HI]},
        {"messages": [*HI, {"role": "assistant", "content": "x", "reasoning": "why"}, *HI]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": ""}}]}]},
    ],
)
async def test_what_engines_know_or_pass_over_goes_on_as_it_is(
    client: httpx.AsyncClient, serving: Engine, fields: dict[str, Any]
) -> None:
    serving.serve = speak
    body = json.dumps(CHAT | fields, indent=1).encode()
    answer = await client.post("/v1/chat/completions", content=body)
    assert answer.status_code == 200
    assert serving.seen[0].body == body
    assert serving.seen[0].path == "/v1/chat/completions"


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        pytest.param({"n": None, "min_tokens": None}, {}, id="nulls"),
        pytest.param({"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}, {}, id="no tools"),
        pytest.param({"tool_choice": "none"}, {}, id="a choice among none"),
        pytest.param(
            {"guided_json": {"type": "object"}}, {"structured_outputs": {"json": {"type": "object"}}}, id="json"
        ),
        pytest.param({"guided_choice": ["a", "b"]}, {"structured_outputs": {"choice": ["a", "b"]}}, id="choice"),
        pytest.param({"guided_regex": "a+"}, {"structured_outputs": {"regex": "a+"}}, id="regex"),
        pytest.param(
            {"guided_regex": "a+", "structured_outputs": {"regex": "b"}},
            {"structured_outputs": {"regex": "b"}},
            id="both",
        ),
        pytest.param(
            {
                "tools": [WEATHER, TIME],
                "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}},
            },
            {"tools": [WEATHER], "tool_choice": "required"},
            id="allowed tools",
        ),
        pytest.param(
            {"functions": [WEATHER["function"]], "function_call": {"name": "weather"}},
            {"tools": [WEATHER], "tool_choice": NAMED},
            id="functions",
        ),
        pytest.param(
            {"functions": [WEATHER["function"]], "function_call": "auto"},
            {"tools": [WEATHER], "tool_choice": "auto"},
            id="functions, chosen by the model",
        ),
        pytest.param(
            {
                "functions": [WEATHER["function"]],
                "messages": [*HI, CALLED, {"role": "function", "name": "weather", "content": "rain"}],
            },
            {
                "tools": [WEATHER],
                "messages": [
                    *HI,
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [
                            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
                        ],
                    },
                    {"role": "tool", "name": "weather", "content": "rain", "tool_call_id": "call_1"},
                ],
            },
            id="a conversation with functions",
        ),
    ],
)
def test_what_engines_do_not_know_is_said_as_they_do(fields: dict[str, Any], asked: dict[str, Any]) -> None:
    body = json.dumps(CHAT | fields).encode()
    assert peek.chat(body).refit
    assert json.loads(refit.refitted(body)) == CHAT | asked


def test_a_null_inside_a_message_changes_nothing() -> None:
    body = json.dumps(CHAT | {"messages": [*HI, {"role": "assistant", "content": None}]}, indent=2).encode()
    assert not peek.chat(body).refit
    assert refit.refitted(body) is body


@pytest.mark.parametrize("field", [*bodies.Extras.__struct_fields__, "n", "echo"])
def test_a_null_that_engines_refuse_is_found_wherever_it_is(field: str) -> None:
    body = json.dumps(CHAT | {field: None}).encode()
    assert peek.chat(body).refit
    assert json.loads(refit.refitted(body)) == CHAT


def test_a_null_for_completions() -> None:
    said = {"model": "tiny", "prompt": "x"}
    assert peek.completion(json.dumps(said | {"n": None}).encode()).refit
    assert not peek.completion(json.dumps(said | {"echo": None, "n": 2}).encode()).refit


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"temperature": 2.1}, "temperature", "invalid_value"),
        ({"temperature": -1}, "temperature", "invalid_value"),
        ({"top_p": 1.5}, "top_p", "invalid_value"),
        ({"presence_penalty": 3}, "presence_penalty", "invalid_value"),
        ({"frequency_penalty": -2.5}, "frequency_penalty", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 129}, "n", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_completion_tokens": "many"}, "max_completion_tokens", "invalid_type"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "invalid_value"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"stop": 5}, "stop", "invalid_type"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        ({"stream": False, "stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
        ({"reasoning_effort": "frantic"}, "reasoning_effort", "invalid_value"),
        ({"modalities": ["text", "audio"]}, "modalities", "unsupported_value"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type", "unsupported_value"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name", "missing_required_parameter"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"tool_choice": NAMED}, "tool_choice", "invalid_value"),
        ({"tools": [TIME], "tool_choice": NAMED}, "tool_choice", "invalid_value"),
        ({"tools": [TIME], "tool_choice": "perhaps"}, "tool_choice", "invalid_value"),
        ({"tools": [TIME], "tool_choice": {"type": "custom", "custom": {"name": "x"}}}, "tool_choice", "invalid_value"),
        (
            {"tools": [TIME], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
            "tool_choice",
            "invalid_value",
        ),
    ],
)
async def test_what_cannot_be_obeyed_is_refused_before_a_wake(
    world: Stage, client: httpx.AsyncClient, fields: dict[str, Any], param: str, code: str
) -> None:
    await world.asleep(model())
    answer = await client.post("/v1/chat/completions", json=CHAT | fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code)
    assert error["type"] == "invalid_request_error"
    assert error["message"].endswith((".", "}"))
    assert world.cluster.reads == 0


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/v1/completions", {}, "prompt"),
        ("/v1/completions", {"prompt": []}, "prompt"),
        ("/v1/completions", {"prompt": "x", "n": 0}, "n"),
        ("/v1/completions", {"prompt": "x", "logprobs": True}, "logprobs"),
        ("/v1/completions", {"prompt": "x", "stream_options": {}}, "stream_options"),
        ("/v1/embeddings", {}, "input"),
        ("/v1/embeddings", {"input": ""}, "input"),
        ("/v1/embeddings", {"input": []}, "input"),
        ("/v1/embeddings", {"input": ["a", ""]}, "input"),
        ("/v1/embeddings", {"input": [[]]}, "input"),
        ("/v1/embeddings", {"input": ["a", 1]}, "input"),
        ("/v1/embeddings", {"input": ["a"] * 2049}, "input"),
        ("/v1/embeddings", {"input": "a", "encoding_format": "bytes"}, "encoding_format"),
        ("/v1/embeddings", {"input": "a", "dimensions": 0}, "dimensions"),
    ],
)
async def test_so_are_completions_and_embeddings(
    world: Stage, client: httpx.AsyncClient, path: str, fields: dict[str, Any], param: str
) -> None:
    both = known_status(capabilities=["completion", "embedding"])
    await world.asleep(model(status=both))
    answer = await client.post(path, json={"model": "tiny-chat", **fields})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert world.cluster.reads == 0


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/completions", {"prompt": "x", "best_of": 3, "echo": True, "suffix": "y", "logprobs": 5, "max_tokens": 0}),
        ("/v1/completions", {"prompt": ["a", "b"], "n": 2}),
        ("/v1/completions", {"prompt": [1, 2]}),
        ("/v1/completions", {"prompt": [[1], [2]]}),
        ("/v1/embeddings", {"input": "a", "encoding_format": "base64", "dimensions": 4, "user": "me"}),
        ("/v1/embeddings", {"input": ["a"] * 2048, "encoding_format": "float"}),
        ("/v1/embeddings", {"input": list(range(5000))}),
        ("/v1/embeddings", {"input": [[1, 2], [3]]}),
    ],
)
async def test_every_form_of_them_goes_on_as_it_is(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine, path: str, fields: dict[str, Any]
) -> None:
    engine = await make_engine()
    both = known_status(capabilities=["completion", "embedding"])
    world.cluster.add_model(model(status=both))
    await world.awake(engine, name="tiny-chat")
    body = json.dumps({"model": "tiny-chat", **fields}).encode()
    assert (await client.post(path, content=body)).status_code == 200
    assert (engine.seen[0].path, engine.seen[0].body) == (path, body)


@pytest.mark.parametrize(
    ("path", "capabilities", "able"),
    [
        ("/v1/chat/completions", ["embedding"], "text generation"),
        ("/v1/completions", ["image"], "text generation"),
        ("/v1/embeddings", ["completion", "tools"], "embeddings"),
    ],
)
async def test_a_model_that_cannot_is_not_woken_for_it(
    world: Stage, client: httpx.AsyncClient, path: str, capabilities: list[str], able: str
) -> None:
    await world.asleep(model(status=known_status(capabilities=capabilities)))
    answer = await client.post(path, json=CHAT | {"prompt": "x", "input": "x"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "model_not_supported", "model")
    assert f"does not support {able}: it can {', '.join(capabilities)}." in error["message"]
    assert answer.headers["x-dormouse-model"] == "default/tiny-chat"
    assert world.cluster.writes == []


async def test_a_model_nobody_has_inspected_may_be_able(
    world: Stage, client: httpx.AsyncClient, engine: Engine
) -> None:
    world.cluster.add_model(model(status={"conditions": [condition("Ready", "True", "Serving")]}))
    await world.awake(engine, name="tiny-chat")
    assert (await client.post("/v1/embeddings", json={"model": "tiny-chat", "input": "x"})).status_code == 200
