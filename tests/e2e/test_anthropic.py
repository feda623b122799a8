"""Story 4, continued: Anthropic's own SDK, through real vLLM, to a model that sleeps and to one that is awake."""

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx
import pytest
import pytest_asyncio
from anthropic.types import Message, MessageParam, ToolParam

from tests.e2e.cluster import Cluster
from tests.e2e.samples import FRANCE, PARIS
from tests.e2e.story import ROUTER, Story
from tests.e2e.test_quickstart import applied

NAME = "tiny-chat"
ALIAS = "tiny"
GREEDY = {"temperature": 0}
"""No argument of this SDK any more, but a field of the API."""
WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "Get the weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(autouse=True)
def quickstart(testbed: object) -> None:
    applied()


@pytest_asyncio.fixture(loop_scope="session")
async def sdk() -> AsyncIterator[anthropic.AsyncAnthropic]:
    http = anthropic.DefaultAsyncHttpxClient(trust_env=False, timeout=120)
    async with anthropic.AsyncAnthropic(
        base_url=ROUTER, api_key="any", max_retries=0, http_client=http, _strict_response_validation=True
    ) as client:
        yield client


def question(text: str) -> list[MessageParam]:
    return [{"role": "user", "content": text}]


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


async def say(sdk: anthropic.AsyncAnthropic, talk: list[MessageParam], streamed: bool, **more: Any) -> Message:
    wish: dict[str, Any] = {"model": ALIAS, "max_tokens": 100, "messages": talk, "extra_body": GREEDY, **more}
    if not streamed:
        whole = await sdk.messages.create(**wish)
        assert isinstance(whole, Message)
        return whole
    async with sdk.messages.stream(**wish) as stream:
        return await stream.get_final_message()


async def test_message_to_a_model_that_sleeps(cluster: Cluster, story: Story, sdk: anthropic.AsyncAnthropic) -> None:
    """Told by pings while it wakes; what is counted then is counted with the model's own tokenizer."""
    home = Story(cluster, story.hub, "default", "")
    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=120) as http:
        await http.post("/api/generate", json={"model": NAME, "keep_alive": 0})
        await home.asleep(NAME)
        body = {"model": NAME, "max_tokens": 50, "stream": True, "temperature": 0, "messages": question(FRANCE)}
        answer = await http.post("/v1/messages", json=body, headers={"x-dormouse-comments": "on"})
    assert answer.status_code == 200, answer.text
    kinds = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert kinds[0] == "message_start"
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert "ping" in kinds
    counted = await sdk.messages.count_tokens(model=NAME, messages=question(FRANCE))
    message = await say(sdk, question(FRANCE), streamed=False)
    told = message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)
    assert counted.input_tokens == told > 0


async def test_messages(sdk: anthropic.AsyncAnthropic) -> None:
    for streamed in (False, True):
        message = await say(sdk, question(FRANCE), streamed)
        assert text_of(message) == PARIS
        assert (message.model, message.stop_reason) == (ALIAS, "end_turn")
        assert message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0) > 0
        assert message.usage.output_tokens > 0
        short = await say(sdk, question("Count to twenty."), streamed, max_tokens=3)
        assert short.stop_reason == "max_tokens"
        stopped = await say(sdk, question("Count to twenty."), streamed, stop_sequences=[" 7"])
        assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", " 7")
        assert text_of(stopped).startswith("1, 2, 3")
        long = await say(sdk, question(FRANCE), streamed, max_tokens=32_000)  # the context has 512
        assert text_of(long) == PARIS
    begun = await say(sdk, [*question(FRANCE), {"role": "assistant", "content": "Paris"}], streamed=False)
    assert text_of(begun) == "."
    assert NAME in [found.id async for found in sdk.models.list()]
    with pytest.raises(anthropic.NotFoundError, match="not found"):
        await sdk.messages.create(model="nobody", max_tokens=9, messages=question("hi"))
    with pytest.raises(anthropic.BadRequestError, match="context length"):
        await say(sdk, question("word " * 2000), streamed=False)


@pytest.mark.parametrize("streamed", [False, True])
async def test_two_step_tool_conversation(sdk: anthropic.AsyncAnthropic, streamed: bool) -> None:
    talk = question("What is the weather in Paris?")
    first = await say(sdk, talk, streamed, tools=[WEATHER])
    assert first.stop_reason == "tool_use"
    [call] = [block for block in first.content if block.type == "tool_use"]
    assert (call.name, call.input) == ("get_weather", {"city": "Paris"})
    talk.append({"role": "assistant", "content": first.content})
    talk.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]})
    second = await say(sdk, talk, streamed, tools=[WEATHER])
    assert text_of(second) == "It is sunny in Paris."
    forced = await say(sdk, talk[:1], streamed, tools=[WEATHER], tool_choice={"type": "tool", "name": "get_weather"})
    assert [(block.name, block.input) for block in forced.content if block.type == "tool_use"] == [
        (call.name, call.input)
    ]
    assert forced.stop_reason == "tool_use"
