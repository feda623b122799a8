"""OpenAI's Python SDK, strict: the Responses API, kept by the router, streamed and not."""

import json
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseFunctionToolCall
from pydantic import BaseModel

from tests.clients.world import CHAT, SEE, SLEEPER_ALIAS, THINK, World
from tests.engine.others import picture

pytestmark = pytest.mark.asyncio(loop_scope="module")
FRANCE = "What is the capital of France?"
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}


class Capital(BaseModel):
    """What is asked for in the tests of structured answers."""

    city: str
    rank: int


async def say(sdk: openai.AsyncOpenAI, streamed: bool, **wish: Any) -> Response:
    wish = {"model": CHAT, **wish}
    if not streamed:
        whole = await sdk.responses.create(**wish)
        assert isinstance(whole, Response)
        return whole
    ends = [
        event.response
        async for event in await sdk.responses.create(**wish, stream=True)
        if event.type in ("response.completed", "response.incomplete")
    ]
    [response] = ends
    assert isinstance(response, Response)
    return response


def calls(response: Response) -> list[ResponseFunctionToolCall]:
    return [item for item in response.output if item.type == "function_call"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_response(sdk: openai.AsyncOpenAI, streamed: bool) -> None:
    got = await say(sdk, streamed, input=FRANCE, instructions="be brief", metadata={"a": "b"})
    assert (got.output_text, got.status, got.object, got.model) == ("Paris.", "completed", "response", CHAT)
    assert got.id.startswith("resp_")
    assert got.usage is not None
    assert got.usage.output_tokens == 2
    assert got.metadata == {"a": "b"}
    short = await say(sdk, streamed, input="!say one two three", max_output_tokens=2)
    assert (short.output_text, short.status) == ("one two", "incomplete")
    assert short.incomplete_details is not None
    assert short.incomplete_details.reason == "max_output_tokens"


async def test_the_events_of_a_stream(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.responses.create(model=CHAT, input=FRANCE, stream=True)
    events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    deltas = kinds.count("output_text.delta")
    assert deltas >= 2
    assert kinds == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        *["output_text.delta"] * deltas,
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_conversation_that_the_router_keeps(sdk: openai.AsyncOpenAI, streamed: bool, router: World) -> None:
    first = await say(sdk, streamed, input=FRANCE)
    second = await say(sdk, streamed, input="!say indeed", previous_response_id=first.id)
    assert second.output_text == "indeed"
    sent = json.loads(router.asked(CHAT)[-1]["body"])["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    kept = await sdk.responses.retrieve(first.id)
    assert kept.output_text == "Paris."
    items = [item async for item in sdk.responses.input_items.list(second.id, order="asc")]
    assert [item.type for item in items][-1] == "message"
    await sdk.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(first.id)


@pytest.mark.parametrize("streamed", [False, True])
async def test_tools_in_two_steps(sdk: openai.AsyncOpenAI, streamed: bool) -> None:
    first = await say(sdk, streamed, input="What is the weather in Paris?", tools=[WEATHER])
    [call] = calls(first)
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})
    told = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    second = await say(sdk, streamed, input=[told], previous_response_id=first.id, tools=[WEATHER])
    assert second.output_text == "It is sunny in Paris."
    two = '!tool get_weather {"city": "Rome"} !tool get_weather {"city": "Zürich"}'
    both = calls(await say(sdk, streamed, input=two, tools=[WEATHER]))
    assert [json.loads(call.arguments)["city"] for call in both] == ["Rome", "Zürich"]


async def test_structured_answers(sdk: openai.AsyncOpenAI) -> None:
    parsed = await sdk.responses.parse(model=CHAT, input="The 7 wonders of 'Rome'", text_format=Capital)
    assert parsed.output_parsed == Capital(city="Rome", rank=7)
    async with sdk.responses.stream(model=CHAT, input="The 7 wonders of 'Rome'", text_format=Capital) as stream:
        kinds = {event.type async for event in stream}
        whole = await stream.get_final_response()
    assert whole.output_parsed == Capital(city="Rome", rank=7)
    assert "response.output_text.delta" in kinds


async def test_thoughts_images_and_a_model_that_sleeps(sdk: openai.AsyncOpenAI, router: World) -> None:
    thought = await say(sdk, False, model=THINK, input=FRANCE, reasoning={"effort": "low"})
    assert [item.type for item in thought.output] == ["reasoning", "message"]
    image = {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{picture('x')}"}
    content = [{"type": "input_text", "text": "What is it?"}, image]
    seen = await say(sdk, False, model=SEE, input=[{"role": "user", "content": content}])
    assert seen.output_text == "I see 1 image."
    router.sleeps()
    assert (await say(sdk, True, model=SLEEPER_ALIAS, input=FRANCE)).output_text == "Paris."


async def test_in_the_background(sdk: openai.AsyncOpenAI) -> None:
    begun = await sdk.responses.create(model=CHAT, input="!slow 2000 tokens 20ms", background=True)
    assert begun.status in ("queued", "in_progress")
    ended = await sdk.responses.cancel(begun.id)
    assert ended.status == "cancelled"
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.cancel("resp_nobody")


async def test_tokens_are_counted(sdk: openai.AsyncOpenAI) -> None:
    assert (await sdk.responses.input_tokens.count(model=CHAT, input=FRANCE)).input_tokens == 7


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"model": "nobody"}, openai.NotFoundError),
        ({"input": "!status 400 too many nuts"}, openai.BadRequestError),
        ({"previous_response_id": "resp_nobody"}, openai.BadRequestError | openai.NotFoundError),
    ],
)
async def test_refusals(sdk: openai.AsyncOpenAI, more: Any, error: Any, stream: bool) -> None:
    wish: dict[str, Any] = {"model": CHAT, "input": FRANCE, "stream": stream, **more}
    with pytest.raises(openai.APIStatusError) as refused:
        await sdk.responses.create(**wish)
    assert isinstance(refused.value, error)
