"""The official SDK, strict, against the router and the scripted engine: sync and async, streamed and not."""

import asyncio
import json
from typing import Any

import openai
import pytest
from openai.types.responses import FunctionToolParam, Response, ResponseFunctionToolCall, ResponseReasoningItem
from pydantic import BaseModel

from tests.engine.engine import Engine
from tests.router.dialects.openai.responses.events import CREATED, TEXT
from tests.router.fakes import Stage

FRANCE = "What is the capital of France?"
WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}


async def say(sdk: openai.AsyncOpenAI, streamed: bool, **wish: Any) -> Response:
    if not streamed:
        whole = await sdk.responses.create(model="tiny", **wish)
        assert isinstance(whole, Response)
        return whole
    async with sdk.responses.stream(model="tiny", **wish) as stream:
        last = [event async for event in stream][-1]
    assert last.type in ("response.completed", "response.incomplete")
    return last.response


def asked(engine: Engine) -> Any:
    """What the engine was sent last."""
    return json.loads(engine.api.requests[-1]["body"])


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_response(sdk: openai.AsyncOpenAI, streamed: bool) -> None:
    response = await say(
        sdk, streamed, input=FRANCE, instructions="be brief", metadata={"a": "b"}, max_output_tokens=50
    )
    assert (response.output_text, response.status, response.model) == ("Paris.", "completed", "tiny")
    [message] = response.output
    assert message.type == "message"
    assert message.id.startswith("msg_")
    assert (response.instructions, response.metadata, response.max_output_tokens) == ("be brief", {"a": "b"}, 50)
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (9, 2, 11)
    assert (response.usage.input_tokens_details.cached_tokens, response.error) == (0, None)
    assert response.completed_at is not None


@pytest.mark.usefixtures("played")
async def test_the_headers(sdk: openai.AsyncOpenAI) -> None:
    raw = await sdk.responses.with_raw_response.create(model="tiny", input=FRANCE)
    assert raw.headers["x-dormouse-model"] == "default/tiny-chat"
    assert raw.headers["openai-version"] == "2020-10-01"
    assert raw.parse()._request_id == raw.headers["x-request-id"]


@pytest.mark.usefixtures("played")
async def test_every_event_of_a_stream(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.responses.create(model="tiny", input=FRANCE, stream=True)
    events = [event async for event in stream]
    assert [event.type for event in events] == [*CREATED, *TEXT(2), "response.completed"]
    assert [event.sequence_number for event in events] == list(range(len(events)))


@pytest.mark.usefixtures("played")
async def test_the_sync_client(world: Stage) -> None:
    def talk() -> tuple[str, str, int, str]:
        with openai.OpenAI(
            base_url=f"{world.url}/v1", api_key="any", max_retries=0, _strict_response_validation=True
        ) as client:
            whole = client.responses.create(model="tiny", input=FRANCE)
            with client.responses.stream(model="tiny", input=FRANCE) as stream:
                streamed = stream.get_final_response()
            count = client.responses.input_tokens.count(model="tiny", input=FRANCE)
            again = client.responses.retrieve(streamed.id)
        return whole.output_text, streamed.output_text, count.input_tokens, again.output_text

    assert await asyncio.to_thread(talk) == ("Paris.", "Paris.", 7, "Paris.")


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_conversation(sdk: openai.AsyncOpenAI, streamed: bool) -> None:
    talk: Any = [{"role": "user", "content": '!tool get_weather {"city": "Zürich"}'}]
    first = await say(sdk, streamed, input=talk, tools=[WEATHER], store=False)
    [call] = first.output
    assert isinstance(call, ResponseFunctionToolCall)
    assert (call.name, json.loads(call.arguments), call.status) == ("get_weather", {"city": "Zürich"}, "completed")
    talk += [call.to_dict(), {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    second = await say(sdk, streamed, input=talk, tools=[WEATHER], store=False)
    assert second.status == "completed"
    assert second.output_text


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_chain_of_three(sdk: openai.AsyncOpenAI, played: Engine, streamed: bool) -> None:
    first = await say(sdk, streamed, input=FRANCE, instructions="be brief")
    call = {"tools": [WEATHER], "previous_response_id": first.id}
    second = await say(sdk, streamed, input='!tool get_weather {"city": "Paris"}', **call)
    [made] = second.output
    assert isinstance(made, ResponseFunctionToolCall)
    result: Any = {"type": "function_call_output", "call_id": made.call_id, "output": "sunny"}
    third = await say(sdk, streamed, input=[result], tools=[WEATHER], previous_response_id=second.id)
    assert third.previous_response_id == second.id
    sent = asked(played)["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user", "assistant", "tool"]
    assert (sent[1]["content"], sent[4]["content"]) == ("Paris.", "sunny")
    assert sent[3]["tool_calls"][0]["id"] == sent[4]["tool_call_id"] == made.call_id


@pytest.mark.parametrize("streamed", [False, True])
async def test_reasoning(sdk: openai.AsyncOpenAI, played: Engine, streamed: bool) -> None:
    response = await say(sdk, streamed, input="!think step by step !say Paris.", reasoning={"effort": "low"})
    thinking, message = response.output
    assert isinstance(thinking, ResponseReasoningItem)
    assert thinking.content is not None
    assert (thinking.content[0].text, thinking.summary) == ("step by step", [])
    assert message.type == "message"
    assert asked(played)["reasoning_effort"] == "low"
    again: Any = [thinking.to_dict(), message.to_dict(), {"role": "user", "content": "Really?"}]
    await say(sdk, streamed, input=again)
    assert asked(played)["messages"][0] == {"role": "assistant", "content": "Paris.", "reasoning": "step by step"}


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_cut_short(sdk: openai.AsyncOpenAI, streamed: bool) -> None:
    response = await say(sdk, streamed, input="!say one two three", max_output_tokens=2)
    assert (response.status, response.output_text) == ("incomplete", "one two")
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    [message] = response.output
    assert message.type == "message"
    assert message.status == "incomplete"


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("streamed", [False, True])
async def test_log_probabilities(sdk: openai.AsyncOpenAI, streamed: bool) -> None:
    response = await say(sdk, streamed, input=FRANCE, include=["message.output_text.logprobs"], top_logprobs=2)
    [message] = response.output
    assert message.type == "message"
    [part] = message.content
    assert part.type == "output_text"
    assert part.logprobs is not None
    assert "".join(told.token for told in part.logprobs) == "Paris."
    assert [len(told.top_logprobs) for told in part.logprobs] == [2, 2]


@pytest.mark.usefixtures("played")
async def test_characters_in_pieces(sdk: openai.AsyncOpenAI) -> None:
    assert (await say(sdk, True, input="!odd !say süß 日本 🦥 fin")).output_text == "süß 日本 🦥 fin"


class City(BaseModel):
    name: str
    people: int


async def test_structured_output(sdk: openai.AsyncOpenAI, played: Engine) -> None:
    prompt = '!say {"name": "Paris", "people": 2}'
    parsed = await sdk.responses.parse(model="tiny", input=prompt, text_format=City)
    assert parsed.output_parsed == City(name="Paris", people=2)
    wanted = asked(played)["response_format"]
    assert (wanted["type"], wanted["json_schema"]["name"], wanted["json_schema"]["strict"]) == (
        "json_schema",
        "City",
        True,
    )
    async with sdk.responses.stream(model="tiny", input=prompt, text_format=City) as stream:
        assert (await stream.get_final_response()).output_parsed == City(name="Paris", people=2)


async def test_tokens_are_counted_by_the_models_own_tokenizer(sdk: openai.AsyncOpenAI, played: Engine) -> None:
    first = await sdk.responses.create(model="tiny", input=FRANCE)
    counted = await sdk.responses.input_tokens.count(
        model="tiny", input=FRANCE, instructions="be brief", tools=[WEATHER], previous_response_id=first.id
    )
    assert (counted.object, counted.input_tokens) == ("response.input_tokens", 18)
    assert played.api.requests[-1]["path"] == "/tokenize"
    assert asked(played)["tools"][0]["function"]["name"] == "get_weather"


async def test_what_the_engine_was_asked(sdk: openai.AsyncOpenAI, played: Engine) -> None:
    response = await sdk.responses.create(
        model="tiny",
        input=[{"role": "developer", "content": "short"}, {"role": "user", "content": FRANCE}],
        instructions="be kind",
        tools=[WEATHER, {"type": "web_search"}],
        tool_choice={"type": "function", "name": "get_weather"},
        parallel_tool_calls=False,
        temperature=0.5,
        top_p=0.9,
        user="u",
        extra_headers={"traceparent": "00-1-2-03"},
        extra_body={"something": "new", "max_tool_calls": None},
    )
    body = asked(played)
    assert body["messages"][0] == {"role": "system", "content": "be kind\n\nshort"}
    assert (body["tool_choice"]["function"]["name"], body["parallel_tool_calls"]) == ("get_weather", False)
    assert (body["temperature"], body["top_p"], body["user"], "something" in body) == (0.5, 0.9, "u", False)
    assert [tool["function"]["name"] for tool in body["tools"]] == ["get_weather"]
    headers = played.api.requests[-1]["headers"]
    assert headers["traceparent"] == "00-1-2-03"
    assert "authorization" not in headers
    assert [tool.type for tool in response.tools] == ["function"]
    assert (response.temperature, response.top_p, response.parallel_tool_calls) == (0.5, 0.9, False)
