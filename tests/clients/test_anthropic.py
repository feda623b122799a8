"""Anthropic's Python SDK, strict, blocking and not, streamed and not."""

from collections.abc import AsyncIterator
from typing import Any, cast

import anthropic
import pytest
import pytest_asyncio
from anthropic.types import Message, MessageParam

from tests.clients.blocking import Blocking
from tests.clients.conftest import BOTH_FORMS
from tests.clients.world import ALIAS, CHAT, EMBED, SEE, SLEEPER, SLEEPER_ALIAS, THINK, World
from tests.engine import words
from tests.engine.others import picture

pytestmark = pytest.mark.asyncio(loop_scope="module")
FRANCE = "What is the capital of France?"
TOOL: Any = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=BOTH_FORMS)
async def client(router: World, request: pytest.FixtureRequest) -> AsyncIterator[anthropic.AsyncAnthropic]:
    wish: dict[str, Any] = {"base_url": router.url, "api_key": "any", "max_retries": 0, "timeout": 20}
    wish["_strict_response_validation"] = True
    if request.param == "sync":
        with anthropic.Anthropic(**wish) as blocking:
            yield cast("anthropic.AsyncAnthropic", Blocking(blocking))
    else:
        async with anthropic.AsyncAnthropic(**wish) as made:
            yield made


def ask(text: str) -> list[MessageParam]:
    return [{"role": "user", "content": text}]


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


async def say(client: anthropic.AsyncAnthropic, talk: list[MessageParam], streamed: bool, **more: Any) -> Message:
    wish: dict[str, Any] = {"model": CHAT, "max_tokens": 50, "messages": talk, **more}
    if not streamed:
        return cast("Message", await client.messages.create(**wish))
    async with client.messages.stream(**wish) as stream:
        return await stream.get_final_message()


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("more", "said", "why"),
    [
        ({"model": ALIAS}, "one two three", ("end_turn", None)),
        ({"max_tokens": 2}, "one two", ("max_tokens", None)),
        ({"stop_sequences": ["thr"]}, "one two ", ("stop_sequence", "thr")),
        ({"system": [{"type": "text", "text": "be brief"}], "metadata": {"user_id": "u"}}, "one two three", None),
        ({"extra_body": {"temperature": 0, "top_k": 3}, "service_tier": "auto"}, "one two three", None),
    ],
)
async def test_messages(client: anthropic.AsyncAnthropic, streamed: bool, more: Any, said: str, why: Any) -> None:
    message = await say(client, ask("!say one two three"), streamed, **more)
    assert text_of(message) == said
    assert (message.type, message.role, message.model) == ("message", "assistant", more.get("model", CHAT))
    assert (message.stop_reason, message.stop_sequence) == (why or ("end_turn", None))
    assert message.usage.output_tokens == len(words.tokens(said))
    assert message.usage.input_tokens > 0


async def test_the_events_of_a_stream(client: anthropic.AsyncAnthropic) -> None:
    stream = await client.messages.create(model=CHAT, max_tokens=50, messages=ask(FRANCE), stream=True)
    kinds = [event.type async for event in stream]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    async with client.messages.stream(model=CHAT, max_tokens=50, messages=ask(FRANCE)) as helper:
        assert "".join([word async for word in helper.text_stream]) == "Paris."


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_model_that_sleeps(client: anthropic.AsyncAnthropic, router: World, streamed: bool) -> None:
    router.sleeps()
    message = await say(client, ask(FRANCE), streamed, model=SLEEPER_ALIAS)
    assert (text_of(message), message.model) == ("Paris.", SLEEPER_ALIAS)


@pytest.mark.parametrize("streamed", [False, True])
async def test_tools(client: anthropic.AsyncAnthropic, streamed: bool) -> None:
    two = '!tool get_weather {"city": "Rome"} !tool get_weather {"city": "Zürich"}'
    message = await say(client, ask(two), streamed, tools=[TOOL])
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [call.input for call in calls] == [{"city": "Rome"}, {"city": "Zürich"}]
    assert message.stop_reason == "tool_use"
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in calls]
    talk: Any = [*ask(two), {"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    assert text_of(await say(client, talk, streamed, tools=[TOOL])) == "It is sunny in Zürich."
    for choice, called in (("any", True), ("none", False), ("auto", False)):
        message = await say(client, ask("Hello"), streamed, tools=[TOOL], tool_choice={"type": choice})
        assert (message.stop_reason == "tool_use") is called


@pytest.mark.parametrize("streamed", [False, True])
async def test_thinking_and_images(client: anthropic.AsyncAnthropic, streamed: bool) -> None:
    budget = {"type": "enabled", "budget_tokens": 1024}
    message = await say(client, ask(FRANCE), streamed, model=THINK, thinking=budget)
    thought, text = message.content
    assert thought.type == "thinking"
    assert (thought.thinking, text_of(message), text.type) == ("Let me think.", "Paris.", "text")
    source = {"type": "base64", "media_type": "image/png", "data": picture("a mouse")}
    talk: Any = [{"role": "user", "content": [{"type": "image", "source": source}, {"type": "text", "text": "What?"}]}]
    assert text_of(await say(client, talk, streamed, model=SEE)) == "I see 1 image."


async def test_tokens_are_counted(client: anthropic.AsyncAnthropic) -> None:
    assert (await client.messages.count_tokens(model=CHAT, messages=ask(FRANCE), tools=[TOOL])).input_tokens == 7


async def test_the_models(client: anthropic.AsyncAnthropic) -> None:
    found = [card.id async for card in client.models.list()]
    assert {CHAT, SLEEPER, EMBED} <= set(found)
    assert (await client.models.retrieve(SLEEPER_ALIAS)).id == SLEEPER_ALIAS


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("more", "error", "kind"),
    [
        ({"model": "nobody"}, anthropic.NotFoundError, "not_found_error"),
        ({"messages": []}, anthropic.BadRequestError, "invalid_request_error"),
        ({"messages": ask("!status 400 too many nuts")}, anthropic.BadRequestError, "invalid_request_error"),
        ({"messages": ask("!status 500 broken")}, anthropic.InternalServerError, "api_error"),
        ({"messages": ask("!status 503 busy")}, anthropic.InternalServerError, "overloaded_error"),
    ],
)
async def test_refusals(
    client: anthropic.AsyncAnthropic, streamed: bool, more: Any, error: type[anthropic.APIStatusError], kind: str
) -> None:
    with pytest.raises(error) as refused:
        await client.messages.create(
            **{"model": CHAT, "max_tokens": 9, "messages": ask("hi"), **more, "stream": streamed}
        )
    assert isinstance(refused.value.body, dict)
    assert refused.value.body["error"]["type"] == kind
    assert refused.value.body["request_id"] == refused.value.request_id


async def test_an_error_in_the_stream(client: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.APIStatusError, match="broken"):
        await say(client, ask("!say a b c d !error after 2 broken"), streamed=True)
