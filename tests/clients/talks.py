"""Conversations by SDK that a model must be able to hold, wherever it runs: scripted here, trained in tests/e2e.

What is asked is what the trained tiny model knows: the weather in Paris, by a tool that says sunny. Every function
takes the router's address and a model's name, and returns what the model says at the end.
"""

import json
from typing import Any
from uuid import uuid4

import anthropic
import httpx
import ollama
import openai
from anthropic.types import ToolParam

WEATHER_ASKED = "What is the weather in Paris?"
WEATHER_SAID = "It is sunny in Paris."
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALLED = ("get_weather", {"city": "Paris"})
RESULT = "sunny"
SECONDS = 180.0
PLAIN: dict[str, Any] = {"trust_env": False, "verify": False}
"""Of HTTP clients: no proxies, and no reading of certificates, since nothing here is TLS."""


def openai_sdk(url: str) -> openai.AsyncOpenAI:
    """Strict, and without retries: the first answer counts."""
    http = openai.DefaultAsyncHttpxClient(**PLAIN)
    return openai.AsyncOpenAI(
        base_url=f"{url}/v1",
        api_key="none",
        max_retries=0,
        timeout=SECONDS,
        http_client=http,
        _strict_response_validation=True,
    )


def anthropic_sdk(url: str) -> anthropic.AsyncAnthropic:
    http = anthropic.DefaultAsyncHttpxClient(**PLAIN)
    return anthropic.AsyncAnthropic(
        base_url=url, api_key="any", max_retries=0, timeout=SECONDS, http_client=http, _strict_response_validation=True
    )


async def by_openai(url: str, model: str, streamed: bool) -> str:
    """Two steps of chat completions."""
    talk: Any = [{"role": "user", "content": WEATHER_ASKED}]
    async with openai_sdk(url) as sdk:
        wish: dict[str, Any] = {"model": model, "tools": [WEATHER], "temperature": 0}

        async def say() -> Any:
            if not streamed:
                return (await sdk.chat.completions.create(messages=talk, **wish)).choices[0]
            async with sdk.chat.completions.stream(messages=talk, **wish) as stream:
                return (await stream.get_final_completion()).choices[0]

        first = await say()
        assert first.finish_reason == "tool_calls"
        [call] = first.message.tool_calls
        assert (call.function.name, json.loads(call.function.arguments)) == CALLED
        talk.append(first.message.to_dict(exclude_none=True))
        talk.append({"role": "tool", "tool_call_id": call.id, "content": RESULT})
        second = await say()
    assert second.finish_reason == "stop"
    return str(second.message.content)


async def by_ollama(url: str, model: str, streamed: bool) -> str:
    """Two steps of /api/chat."""
    talk: list[Any] = [{"role": "user", "content": WEATHER_ASKED}]
    async with ollama.AsyncClient(host=url, timeout=SECONDS, **PLAIN) as client:

        async def say() -> tuple[str, list[Any]]:
            wish: dict[str, Any] = {"tools": [WEATHER], "options": {"temperature": 0}}
            if not streamed:
                pieces = [await client.chat(model, talk, **wish)]
            else:
                pieces = [piece async for piece in await client.chat(model, talk, stream=True, **wish)]
            assert pieces[-1].done_reason == "stop"
            text = "".join(piece.message.content or "" for piece in pieces)
            return text, [call for piece in pieces for call in piece.message.tool_calls or []]

        _, [call] = await say()
        assert (call.function.name, call.function.arguments) == CALLED
        talk.append({"role": "assistant", "content": "", "tool_calls": [call.model_dump()]})
        talk.append({"role": "tool", "tool_name": "get_weather", "content": RESULT})
        text, calls = await say()
    assert not calls
    return text


async def by_anthropic(url: str, model: str, streamed: bool) -> str:
    """Two steps of /v1/messages."""
    function = WEATHER["function"]
    tool: ToolParam = {
        "name": function["name"],
        "description": function["description"],
        "input_schema": function["parameters"],
    }
    talk: Any = [{"role": "user", "content": WEATHER_ASKED}]
    async with anthropic_sdk(url) as sdk:
        wish: dict[str, Any] = {"model": model, "max_tokens": 100, "tools": [tool], "extra_body": {"temperature": 0}}

        async def say() -> Any:
            if not streamed:
                return await sdk.messages.create(messages=talk, **wish)
            async with sdk.messages.stream(messages=talk, **wish) as stream:
                return await stream.get_final_message()

        first = await say()
        assert first.stop_reason == "tool_use"
        [call] = [block for block in first.content if block.type == "tool_use"]
        assert (call.name, call.input) == CALLED
        talk.append({"role": "assistant", "content": first.content})
        talk.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": RESULT}]})
        second = await say()
    assert second.stop_reason == "end_turn"
    return "".join(block.text for block in second.content if block.type == "text")


async def by_responses(url: str, model: str, streamed: bool) -> str:
    """Two steps of /v1/responses: the router keeps the first, the second sends nothing but the tool's result."""
    tool = {"type": "function", "strict": False, **WEATHER["function"]}
    async with openai_sdk(url) as sdk:
        wish: dict[str, Any] = {"model": model, "tools": [tool], "temperature": 0}

        async def say(**more: Any) -> Any:
            if not streamed:
                return await sdk.responses.create(**wish, **more)
            async with sdk.responses.stream(**wish, **more) as stream:
                return await stream.get_final_response()

        first = await say(input=WEATHER_ASKED)
        [call] = [item for item in first.output if item.type == "function_call"]
        assert (call.name, json.loads(call.arguments)) == CALLED
        result = {"type": "function_call_output", "call_id": call.call_id, "output": RESULT}
        second = await say(input=[result], previous_response_id=first.id)
    assert second.status == "completed"
    return str(second.output_text)


async def by_native(url: str, model: str, streamed: bool) -> str:
    """Two steps of /chat: the router keeps the first, the second sends nothing but the tool's result."""
    wish = {"model": model, "tools": [WEATHER], "temperature": 0, "stream": streamed, "session_id": uuid4().hex}
    async with httpx.AsyncClient(base_url=url, timeout=SECONDS, **PLAIN) as http:

        async def say(message: dict[str, str]) -> tuple[str, list[Any]]:
            answer = await http.post("/chat", json={**wish, "messages": [message]})
            assert answer.status_code == 200, answer.text
            if not streamed:
                said = answer.json()["message"]
                return said["content"], said.get("tool_calls") or []
            events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
            assert [event["done"] for event in events] == [False] * (len(events) - 1) + [True]
            deltas = [event["delta"] for event in events]
            text = "".join(delta.get("content") or "" for delta in deltas)
            return text, [call for delta in deltas for call in delta.get("tool_calls") or []]

        _, [call] = await say({"role": "user", "content": WEATHER_ASKED})
        assert (call["function"]["name"], call["function"]["arguments"]) == CALLED
        text, calls = await say({"role": "tool", "tool_name": "get_weather", "content": RESULT})
    assert not calls
    return text


BY_DIALECT = {
    "openai": by_openai,
    "responses": by_responses,
    "ollama": by_ollama,
    "anthropic": by_anthropic,
    "native": by_native,
}
"""Every way to hold the same conversation."""
