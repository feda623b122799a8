"""The official SDK, strict, against the router and the scripted engine: sync and async, streamed and not."""

import asyncio
import json
from typing import Any

import anthropic
import pytest
from anthropic.types import MessageParam, ToolParam

from tests.engine.engine import Engine
from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.fakes import Exchange, Stage

FRANCE: MessageParam = {"role": "user", "content": "What is the capital of France?"}
WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
THINK: Any = {"type": "enabled", "budget_tokens": 1024}


def ask(text: str) -> list[MessageParam]:
    return [{"role": "user", "content": text}]


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


@pytest.mark.usefixtures("played")
async def test_a_message(sdk: anthropic.AsyncAnthropic) -> None:
    message = await sdk.messages.create(model="tiny", max_tokens=50, messages=[FRANCE], system="be brief")
    assert text_of(message) == "Paris."
    assert (message.model, message.role, message.stop_reason, message.stop_sequence) == (
        "tiny",
        "assistant",
        "end_turn",
        None,
    )
    assert (message.usage.input_tokens, message.usage.output_tokens) == (9, 2)
    raw = await sdk.messages.with_raw_response.create(model="default/tiny-chat", max_tokens=50, messages=[FRANCE])
    assert raw.headers["request-id"] == raw.headers["x-request-id"]
    assert raw.headers["x-dormouse-model"] == "default/tiny-chat"
    assert "openai-version" not in raw.headers
    parsed = await raw.parse()
    assert parsed._request_id == raw.headers["request-id"]


@pytest.mark.usefixtures("played")
async def test_a_stream(sdk: anthropic.AsyncAnthropic) -> None:
    stream = await sdk.messages.create(model="tiny", max_tokens=50, messages=[FRANCE], stream=True)
    kinds = [event.type async for event in stream]
    delta = ["content_block_delta"]
    assert kinds == [
        "message_start",
        "content_block_start",
        *delta * 2,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    async with sdk.messages.stream(model="tiny", max_tokens=50, messages=[FRANCE]) as helper:
        words = [word async for word in helper.text_stream]
        message = await helper.get_final_message()
    assert "".join(words) == "Paris."
    assert len(words) > 1
    assert (message.usage.input_tokens, message.usage.output_tokens) == (7, 2)


async def test_message_start_tells_the_tokens_of_the_prompt(sdk: anthropic.AsyncAnthropic, played: Engine) -> None:
    stream = await sdk.messages.create(model="tiny", max_tokens=50, messages=[FRANCE], stream=True)
    first = await anext(stream)
    assert first.type == "message_start"
    assert (first.message.usage.input_tokens, first.message.usage.output_tokens) == (7, 0)
    await stream.close()
    assert json.loads(played.api.requests[-1]["body"])["stream_options"]["continuous_usage_stats"] is True


@pytest.mark.usefixtures("played")
async def test_the_sync_client(world: Stage) -> None:
    def talk() -> tuple[str, str, int]:
        with anthropic.Anthropic(
            base_url=world.url, api_key="any", max_retries=0, _strict_response_validation=True
        ) as client:
            whole = client.messages.create(model="tiny", max_tokens=50, messages=[FRANCE])
            with client.messages.stream(model="tiny", max_tokens=50, messages=[FRANCE]) as stream:
                streamed = stream.get_final_text()
            count = client.messages.count_tokens(model="tiny", messages=[FRANCE])
        return text_of(whole), streamed, count.input_tokens

    assert await asyncio.to_thread(talk) == ("Paris.", "Paris.", 7)


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_conversation(sdk: anthropic.AsyncAnthropic, streamed: bool) -> None:
    talk = ask('!tool get_weather {"city": "Zürich"}')
    first = await _say(sdk, talk, streamed, tools=[WEATHER])
    [call] = first.content
    assert isinstance(call, anthropic.types.ToolUseBlock)
    assert (call.name, call.input, first.stop_reason) == ("get_weather", {"city": "Zürich"}, "tool_use")
    assert call.id.startswith("toolu_")
    talk.append({"role": "assistant", "content": first.content})
    talk.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]})
    second = await _say(sdk, talk, streamed, tools=[WEATHER])
    assert second.stop_reason == "end_turn"
    assert text_of(second)


async def _say(
    sdk: anthropic.AsyncAnthropic, talk: list[MessageParam], streamed: bool, **more: Any
) -> anthropic.types.Message:
    wish: dict[str, Any] = {"model": "tiny", "max_tokens": 50, "messages": talk, **more}
    if not streamed:
        whole = await sdk.messages.create(**wish)
        assert isinstance(whole, anthropic.types.Message)
        return whole
    async with sdk.messages.stream(**wish) as stream:
        return await stream.get_final_message()


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("streamed", [False, True])
async def test_thinking(sdk: anthropic.AsyncAnthropic, streamed: bool) -> None:
    message = await _say(sdk, [FRANCE], streamed, thinking=THINK)
    thinking, text = message.content
    assert isinstance(thinking, anthropic.types.ThinkingBlock)
    assert (thinking.thinking, text_of(message)) == ("Let me think.", "Paris.")
    assert thinking.signature
    talk: list[MessageParam] = [FRANCE, {"role": "assistant", "content": message.content}, *ask("Really?")]
    assert (await _say(sdk, talk, streamed, thinking=THINK)).content[0].type == "thinking"
    for quiet in ({}, {"thinking": {"type": "disabled"}}):
        assert [block.type for block in (await _say(sdk, [FRANCE], streamed, **quiet)).content] == ["text"]
    assert text.type == "text"


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"max_tokens": 2}, ("one two", "max_tokens", None)),
        ({"stop_sequences": ["thr"]}, ("one two ", "stop_sequence", "thr")),
        ({}, ("one two three", "end_turn", None)),
    ],
)
async def test_why_it_ended(sdk: anthropic.AsyncAnthropic, streamed: bool, wish: Any, expected: Any) -> None:
    message = await _say(sdk, ask("!say one two three"), streamed, **wish)
    assert (text_of(message), message.stop_reason, message.stop_sequence) == expected


@pytest.mark.usefixtures("played")
async def test_characters_in_pieces(sdk: anthropic.AsyncAnthropic) -> None:
    message = await _say(sdk, ask("!odd !say süß 日本 🦥 fin"), streamed=True)
    assert text_of(message) == "süß 日本 🦥 fin"


async def test_parallel_tools(sdk: anthropic.AsyncAnthropic, world: Stage, make_engine: MakeEngine) -> None:
    async def two(exchange: Exchange) -> None:
        await exchange.stream_head()
        for call in (
            {"index": 0, "id": "a", "type": "function", "function": {"name": "get_weather", "arguments": ""}},
            {"index": 0, "function": {"arguments": '{"city": "Pa'}},
            {"index": 0, "function": {"arguments": 'ris"}'}},
            {"index": 1, "id": "b", "type": "function", "function": {"name": "get_time", "arguments": "{}"}},
        ):
            await exchange.event({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
        await exchange.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
        await engines.finish(exchange)

    await world.awake(await make_engine(two))
    message = await _say(sdk, [FRANCE], streamed=True, tools=[WEATHER])
    calls = [(block.name, block.input) for block in message.content if block.type == "tool_use"]
    assert calls == [("get_weather", {"city": "Paris"}), ("get_time", {})]
    assert message.stop_reason == "tool_use"
    assert message.usage.input_tokens == 7


async def test_what_the_engine_was_asked(sdk: anthropic.AsyncAnthropic, played: Engine) -> None:
    await sdk.messages.create(
        model="tiny",
        max_tokens=50,
        messages=[FRANCE],
        tools=[WEATHER],
        tool_choice={"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True},
        metadata={"user_id": "u"},
        extra_headers={"traceparent": "00-1-2-03", "anthropic-beta": "whatever-2030-01-01"},
        extra_body={"something": "new"},
    )
    seen = played.api.requests[-1]
    body = json.loads(seen["body"])
    assert (body["model"], body["tool_choice"]["function"]["name"]) == ("tiny-chat", "get_weather")
    assert (body["parallel_tool_calls"], body["user"], "something" in body) == (False, "u", False)
    assert seen["headers"]["traceparent"] == "00-1-2-03"
    assert "x-api-key" not in seen["headers"]


async def test_tokens_are_counted_by_the_models_own_tokenizer(sdk: anthropic.AsyncAnthropic, played: Engine) -> None:
    counted = await sdk.messages.count_tokens(model="tiny", messages=[FRANCE], system="be brief", tools=[WEATHER])
    assert counted.input_tokens == 9
    seen = played.api.requests[-1]
    assert seen["path"] == "/tokenize"
    assert json.loads(seen["body"])["tools"][0]["function"]["name"] == "get_weather"


async def test_a_count_wakes_the_model(world: Stage, sdk: anthropic.AsyncAnthropic, make_engine: MakeEngine) -> None:
    async def count(exchange: Exchange) -> None:
        await exchange.answer({"count": 3, "max_model_len": 9, "tokens": [1, 2, 3]})

    engine = await make_engine(count)
    await world.asleep()
    world.wake_with(engine)
    assert (await sdk.messages.count_tokens(model="tiny", messages=[FRANCE])).input_tokens == 3


@pytest.mark.usefixtures("played")
async def test_the_models(sdk: anthropic.AsyncAnthropic) -> None:
    """On OpenAI's own path; the SDK's header tells who asks."""
    page = await sdk.models.list()
    [found] = page.data
    assert (found.id, found.display_name, found.type, found.max_input_tokens) == (
        "tiny-chat",
        "tiny-chat",
        "model",
        2048,
    )
    assert found.created_at.isoformat() == "2026-05-01T10:00:00+00:00"
    assert (page.has_more, page.first_id, page.last_id) == (False, "tiny-chat", "tiny-chat")
    assert [model.id async for model in sdk.models.list()] == ["tiny-chat"]
    assert (await sdk.models.retrieve("tiny")).id == "tiny"
    with pytest.raises(anthropic.NotFoundError, match="was not found") as missing:
        await sdk.models.retrieve("nobody")
    assert missing.value.type == "not_found_error"


async def test_no_models_at_all(sdk: anthropic.AsyncAnthropic) -> None:
    assert (await sdk.models.list()).data == []
