"""OpenAI's Python SDK, strict: chats, blocking and not, streamed and not."""

import json
from typing import Any, Literal

import openai
import pytest
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam
from pydantic import BaseModel

from tests.clients.world import ALIAS, CHAT, SEE, SLEEPER, SLEEPER_ALIAS, THINK, World
from tests.engine.others import picture

pytestmark = pytest.mark.asyncio(loop_scope="module")
FRANCE = "What is the capital of France?"
PIXEL = f"data:image/png;base64,{picture('a mouse')}"


class Capital(BaseModel):
    """What is asked for in the tests of structured answers."""

    city: str
    rank: int
    kind: Literal["city", "state"]


class GetWeather(BaseModel):
    """Get the weather in a city"""

    city: str


def ask(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


async def chunks(sdk: openai.AsyncOpenAI, text: str, **more: Any) -> list[ChatCompletionChunk]:
    model = more.pop("model", CHAT)
    stream = await sdk.chat.completions.create(model=model, messages=ask(text), stream=True, **more)
    return [chunk async for chunk in stream]


async def test_a_chat(sdk: openai.AsyncOpenAI) -> None:
    for name in (CHAT, ALIAS, f"default/{CHAT}", f"{CHAT}:latest"):
        answer = await sdk.chat.completions.create(model=name, messages=ask(FRANCE))
        [choice] = answer.choices
        assert (choice.message.content, choice.message.role, choice.finish_reason) == ("Paris.", "assistant", "stop")
        assert (answer.model, answer.object) == (name, "chat.completion")
        assert answer.id.startswith("chatcmpl-")
        assert answer._request_id
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (7, 2, 9)


@pytest.mark.parametrize("with_usage", [True, False])
async def test_a_stream(sdk: openai.AsyncOpenAI, with_usage: bool) -> None:
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if with_usage else {}
    got = await chunks(sdk, FRANCE, **more)
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in got}) == 1
    assert got[0].choices[0].delta.role == "assistant"
    assert "".join(choice.delta.content or "" for chunk in got for choice in chunk.choices) == "Paris."
    ends = [choice.finish_reason for chunk in got for choice in chunk.choices if choice.finish_reason]
    assert ends == ["stop"]
    used = [chunk for chunk in got if chunk.usage is not None]
    assert len(used) == with_usage
    assert not [chunk for chunk in got if not chunk.choices and chunk.usage is None]
    if with_usage:
        assert used[0] is got[-1]
        assert used[0].choices == []
        assert used[0].usage is not None
        assert used[0].usage.completion_tokens == 2


async def test_a_model_that_sleeps(sdk: openai.AsyncOpenAI, router: World) -> None:
    router.sleeps()
    answer = await sdk.chat.completions.create(model=SLEEPER_ALIAS, messages=ask(FRANCE))
    assert (answer.choices[0].message.content, answer.model) == ("Paris.", SLEEPER_ALIAS)
    router.sleeps()
    got = await chunks(sdk, FRANCE, model=SLEEPER)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in got) == "Paris."


async def test_the_stream_helper(sdk: openai.AsyncOpenAI) -> None:
    async with sdk.chat.completions.stream(
        model=CHAT, messages=ask(FRANCE), stream_options={"include_usage": True}
    ) as stream:
        kinds = [event.type async for event in stream]
        whole = await stream.get_final_completion()
    assert kinds.count("content.delta") >= 2
    assert "content.done" in kinds
    assert whole.choices[0].message.content == "Paris."
    assert whole.usage is not None
    assert whole.usage.total_tokens == 9


async def test_structured_answers(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.chat.completions.parse(
        model=CHAT, messages=ask("The 7 wonders of 'Rome'"), response_format=Capital
    )
    assert answer.choices[0].message.parsed == Capital(city="Rome", rank=7, kind="city")
    async with sdk.chat.completions.stream(
        model=CHAT, messages=ask("The 7 wonders of 'Rome'"), response_format=Capital
    ) as stream:
        whole = await stream.get_final_completion()
    assert whole.choices[0].message.parsed == Capital(city="Rome", rank=7, kind="city")
    free = await sdk.chat.completions.create(
        model=CHAT, messages=ask("JSON with 'a'"), response_format={"type": "json_object"}
    )
    assert json.loads(free.choices[0].message.content or "") == {"a": "a"}


async def test_tools(sdk: openai.AsyncOpenAI) -> None:
    """By the SDK's own pydantic tools: one call, then two at once, whole and streamed."""
    tool = openai.pydantic_function_tool(GetWeather, name="get_weather")
    two = '!tool get_weather {"city": "Rome"} !tool get_weather {"city": "Zürich"}'
    for text, cities in (("What is the weather in Paris?", ["Paris"]), (two, ["Rome", "Zürich"])):
        answer = await sdk.chat.completions.parse(model=CHAT, messages=ask(text), tools=[tool])
        assert answer.choices[0].finish_reason == "tool_calls"
        calls = answer.choices[0].message.tool_calls or []
        assert [call.function.parsed_arguments for call in calls] == [GetWeather(city=city) for city in cities]
        async with sdk.chat.completions.stream(model=CHAT, messages=ask(text), tools=[tool]) as stream:
            done = [event async for event in stream if event.type == "tool_calls.function.arguments.done"]
            whole = await stream.get_final_completion()
        assert [(event.index, event.parsed_arguments) for event in done] == list(
            enumerate(GetWeather(city=city) for city in cities)
        )
        assert [call.id for call in whole.choices[0].message.tool_calls or []] == [call.id for call in calls]


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("none", []),
        ("required", ["get_weather"]),
        ({"type": "function", "function": {"name": "get_time"}}, ["get_time"]),
    ],
)
async def test_tool_choice(sdk: openai.AsyncOpenAI, choice: Any, called: list[str]) -> None:
    tools = [openai.pydantic_function_tool(GetWeather, name=name) for name in ("get_weather", "get_time")]
    answer = await sdk.chat.completions.create(model=CHAT, messages=ask("In Rome"), tools=tools, tool_choice=choice)
    calls = answer.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls if call.type == "function"] == called
    assert answer.choices[0].finish_reason == ("tool_calls" if called else "stop")


@pytest.mark.parametrize(
    ("more", "said", "finish"),
    [
        ({"max_tokens": 2}, "one two", "length"),
        ({"max_completion_tokens": 1}, "one", "length"),
        ({"stop": "thr"}, "one two ", "stop"),
        ({"stop": ["zzz", "two"]}, "one ", "stop"),
        ({"extra_body": {"top_k": 5, "nobody_knows": 1}}, "one two three", "stop"),
        ({"user": "u", "metadata": {"a": "b"}, "store": False, "service_tier": "auto"}, "one two three", "stop"),
    ],
)
async def test_parameters(sdk: openai.AsyncOpenAI, more: dict[str, Any], said: str, finish: str) -> None:
    answer = await sdk.chat.completions.create(model=CHAT, messages=ask("!say one two three"), **more)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (said, finish)
    got = await chunks(sdk, "!say one two three", **more)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in got) == said
    assert [chunk.choices[0].finish_reason for chunk in got if chunk.choices[0].finish_reason] == [finish]


async def test_several_choices_and_their_seed(sdk: openai.AsyncOpenAI) -> None:
    more: dict[str, Any] = {"n": 3, "seed": 7, "temperature": 1}
    answer = await sdk.chat.completions.create(model=CHAT, messages=ask("a story"), **more)
    texts = [choice.message.content for choice in answer.choices]
    assert ([choice.index for choice in answer.choices], len(set(texts))) == ([0, 1, 2], 3)
    got = await chunks(sdk, "a story", **more)
    streamed = ["", "", ""]
    for chunk in got:
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == texts


async def test_log_probabilities(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.chat.completions.create(model=CHAT, messages=ask(FRANCE), logprobs=True, top_logprobs=2)
    found = answer.choices[0].logprobs
    assert found is not None
    assert found.content is not None
    assert [(entry.token, len(entry.top_logprobs)) for entry in found.content] == [("Paris", 2), (".", 2)]
    got = await chunks(sdk, FRANCE, logprobs=True)
    streamed = [
        entry for chunk in got for entry in (chunk.choices[0].logprobs and chunk.choices[0].logprobs.content) or []
    ]
    assert [(entry.token, entry.logprob) for entry in streamed] == [(e.token, e.logprob) for e in found.content]


async def test_messages_of_every_kind(sdk: openai.AsyncOpenAI) -> None:
    talk: Any = [
        {"role": "developer", "content": "be brief"},
        {"role": "system", "content": [{"type": "text", "text": "be kind"}]},
        {"role": "user", "content": "hi", "name": "Ann"},
        {"role": "assistant", "content": None, "tool_calls": [_call("x")]},
        {"role": "tool", "tool_call_id": "x", "content": [{"type": "text", "text": "sunny"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "It is sunny."}]},
        {"role": "user", "content": [{"type": "text", "text": FRANCE}]},
    ]
    answer = await sdk.chat.completions.create(model=CHAT, messages=talk)
    assert answer.choices[0].message.content == "Paris."


def _call(name: str) -> dict[str, Any]:
    return {"id": name, "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}


async def test_images(sdk: openai.AsyncOpenAI) -> None:
    picture: Any = {"type": "image_url", "image_url": {"url": PIXEL}}
    talk: Any = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, picture]}]
    answer = await sdk.chat.completions.create(model=SEE, messages=talk)
    assert answer.choices[0].message.content == "I see 1 image."


async def test_thoughts(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.chat.completions.create(model=THINK, messages=ask(FRANCE), reasoning_effort="low")
    message = answer.choices[0].message.to_dict()
    assert (message["content"], message["reasoning"]) == ("Paris.", "Let me think.")
    got = await chunks(sdk, FRANCE, model=THINK, reasoning_effort="low")
    thought = "".join(str(chunk.choices[0].delta.to_dict().get("reasoning") or "") for chunk in got)
    assert thought == "Let me think."


async def test_what_the_answer_says_of_itself(sdk: openai.AsyncOpenAI) -> None:
    raw = await sdk.chat.completions.with_raw_response.create(model=ALIAS, messages=ask(FRANCE))
    assert raw.headers["x-dormouse-model"] == f"default/{CHAT}"
    assert raw.headers["openai-version"] == "2020-10-01"
    assert raw.headers["x-request-id"] == raw.request_id
    async with sdk.chat.completions.with_streaming_response.create(
        model=ALIAS, messages=ask(FRANCE), stream=True
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line async for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"


async def test_characters_in_pieces(sdk: openai.AsyncOpenAI) -> None:
    got = await chunks(sdk, "!odd !say süß 日本 🦥 fin")
    assert "".join(chunk.choices[0].delta.content or "" for chunk in got) == "süß 日本 🦥 fin"


@pytest.mark.parametrize(
    ("more", "error", "param", "words"),
    [
        ({"model": "nobody"}, openai.NotFoundError, "model", "nobody"),
        ({"messages": []}, openai.BadRequestError, "messages", "messages"),
        ({"temperature": "hot"}, openai.BadRequestError, "temperature", "temperature"),
        ({"messages": ask("!status 400 too many nuts")}, openai.BadRequestError, None, "too many nuts"),
        ({"messages": ask("!status 500 broken")}, openai.InternalServerError, None, "broken"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_refusals(
    sdk: openai.AsyncOpenAI, more: Any, error: type[openai.APIStatusError], param: str | None, words: str, stream: bool
) -> None:
    wish = {"model": CHAT, "messages": ask(FRANCE), "stream": stream, **more}
    with pytest.raises(error, match=words) as refused:
        await sdk.chat.completions.create(**wish)
    assert refused.value.param == param
    assert isinstance(refused.value.body, dict)
    assert refused.value.body.keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize("fault", ["!error after 2 broken", "!cut after 2"])
async def test_an_error_in_the_stream(sdk: openai.AsyncOpenAI, fault: str) -> None:
    stream = await sdk.chat.completions.create(model=CHAT, messages=ask(f"!say a b c d {fault}"), stream=True)
    said = ""

    async def listen() -> None:
        nonlocal said
        async for chunk in stream:
            said += chunk.choices[0].delta.content or ""

    with pytest.raises(openai.APIError):
        await listen()
    assert said == "a b"
