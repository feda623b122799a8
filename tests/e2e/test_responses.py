"""Story 4, continued: OpenAI's Responses API by its own SDK, strict, through real vLLM and the router's store."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio
from openai.types.responses import FunctionToolParam, Response, ResponseFunctionToolCall

from tests.e2e.cluster import Cluster
from tests.e2e.samples import FRANCE, PARIS
from tests.e2e.story import ROUTER, Story
from tests.e2e.test_quickstart import applied

NAME = "tiny-chat"
ALIAS = "tiny"
SECONDS = 150.0
WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}


@pytest.fixture(autouse=True)
def quickstart(testbed: object) -> None:
    applied()


@pytest_asyncio.fixture(loop_scope="session")
async def sdk() -> AsyncIterator[openai.AsyncOpenAI]:
    http = openai.DefaultAsyncHttpxClient(trust_env=False, timeout=120)
    async with openai.AsyncOpenAI(
        base_url=f"{ROUTER}/v1", api_key="any", max_retries=0, http_client=http, _strict_response_validation=True
    ) as client:
        yield client


async def say(sdk: openai.AsyncOpenAI, talk: Any, streamed: bool, **more: Any) -> Response:
    wish: dict[str, Any] = {"model": ALIAS, "max_output_tokens": 100, "input": talk, "temperature": 0, **more}
    if not streamed:
        whole = await sdk.responses.create(**wish)
        assert isinstance(whole, Response)
        return whole
    async with sdk.responses.stream(**wish) as stream:
        last = [event async for event in stream][-1]
    assert last.type in ("response.completed", "response.incomplete")
    return last.response


async def test_response_of_a_model_that_sleeps(cluster: Cluster, story: Story, sdk: openai.AsyncOpenAI) -> None:
    """Told by comments while it wakes; what is counted then is counted with the model's own tokenizer."""
    home = Story(cluster, story.hub, "default", "")
    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=120) as http:
        await http.post("/api/generate", json={"model": NAME, "keep_alive": 0})
        await home.asleep(NAME)
        body = {"model": NAME, "max_output_tokens": 50, "stream": True, "temperature": 0, "input": FRANCE}
        answer = await http.post("/v1/responses", json=body, headers={"x-dormouse-comments": "on"})
    assert answer.status_code == 200, answer.text
    assert answer.text.startswith(f": {NAME} ")
    kinds = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    counted = await sdk.responses.input_tokens.count(model=NAME, input=FRANCE)
    response = await say(sdk, FRANCE, streamed=False)
    assert response.usage is not None
    assert counted.input_tokens == response.usage.input_tokens > 0


async def test_responses(sdk: openai.AsyncOpenAI) -> None:
    for streamed in (False, True):
        response = await say(sdk, FRANCE, streamed)
        assert (response.output_text, response.status, response.model) == (PARIS, "completed", ALIAS)
        assert response.usage is not None
        assert response.usage.output_tokens > 0
        assert (await sdk.responses.retrieve(response.id)).output_text == PARIS
        short = await say(sdk, "Count to twenty.", streamed, max_output_tokens=3)
        assert short.status == "incomplete"
        long = await say(sdk, FRANCE, streamed, max_output_tokens=32_000)  # the context has 512
        assert long.output_text == PARIS
        told = await say(sdk, FRANCE, streamed, top_logprobs=2, include=["message.output_text.logprobs"])
        [message] = told.output
        assert message.type == "message"
        assert message.content[0].type == "output_text"
        assert message.content[0].logprobs
    with pytest.raises(openai.NotFoundError, match="not found"):
        await sdk.responses.create(model="nobody", input="hi")
    with pytest.raises(openai.BadRequestError, match="context length"):
        await say(sdk, "word " * 2000, streamed=False)


@pytest.mark.parametrize("streamed", [False, True])
async def test_two_step_tool_conversation(sdk: openai.AsyncOpenAI, streamed: bool) -> None:
    """Once with all of it sent again, once as a chain that the router keeps."""
    talk: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    first = await say(sdk, talk, streamed, tools=[WEATHER])
    [call] = [item for item in first.output if isinstance(item, ResponseFunctionToolCall)]
    assert (call.name, call.arguments.replace(" ", "")) == ("get_weather", '{"city":"Paris"}')
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    again = await say(sdk, [*talk, call.to_dict(), result], streamed, tools=[WEATHER], store=False)
    chained = await say(sdk, [result], streamed, tools=[WEATHER], previous_response_id=first.id)
    assert again.output_text == chained.output_text == "It is sunny in Paris."
    forced = await say(sdk, talk, streamed, tools=[WEATHER], tool_choice={"type": "function", "name": "get_weather"})
    assert [item.name for item in forced.output if isinstance(item, ResponseFunctionToolCall)] == ["get_weather"]


async def test_in_the_background(sdk: openai.AsyncOpenAI) -> None:
    made = await sdk.responses.create(model=ALIAS, input=FRANCE, temperature=0, background=True)
    async with asyncio.timeout(SECONDS):
        while (found := await sdk.responses.retrieve(made.id)).status in ("queued", "in_progress"):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert (found.status, found.output_text) == ("completed", PARIS)
    await sdk.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(made.id)
