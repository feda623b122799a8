"""What the Python SDKs must be able to do with a chat model and with an embedding model, wherever they run.

Scripted here, real in tests/e2e. Each function takes the router's address and a model's name and asserts what holds
for both: the capital of France is Paris, and numbers are of the right kind.
"""

import asyncio
import json
import math
import operator
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import ollama
import pytest
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

from tests.clients.talks import PLAIN, SECONDS, anthropic_sdk, openai_sdk

Pass = Callable[[str, str], Coroutine[Any, Any, str]]
"""Of a router and a model: asks all there is to ask, and gives what the model said to FRANCE."""
ROOT = Path(__file__).parents[2]
FRANCE, PARIS = "What is the capital of France?", "Paris."
DESCRIBE = "Describe France as JSON."
ASKED: list[ChatCompletionMessageParam] = [{"role": "user", "content": FRANCE}]


class Country(BaseModel):
    """What DESCRIBE asks for."""

    country: str
    capital: str


async def by_openai(url: str, model: str) -> str:
    """Chats, completions, responses and lists, strict."""
    async with openai_sdk(url) as sdk:
        whole = await sdk.chat.completions.create(model=model, messages=ASKED, temperature=0, seed=1)
        assert (whole.choices[0].message.content, whole.choices[0].finish_reason, whole.model) == (PARIS, "stop", model)
        assert whole.usage is not None
        assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
        async with sdk.chat.completions.stream(
            model=model, messages=ASKED, temperature=0, stream_options={"include_usage": True}
        ) as stream:
            streamed = await stream.get_final_completion()
        assert (streamed.choices[0].message.content, streamed.usage is not None) == (PARIS, True)
        likely = await sdk.chat.completions.create(  # vLLM gives several only where something is drawn
            model=model, messages=ASKED, temperature=0.01, logprobs=True, top_logprobs=2, n=2
        )
        assert [choice.message.content for choice in likely.choices] == [PARIS] * 2
        assert likely.choices[0].logprobs is not None
        assert all(len(entry.top_logprobs) == 2 for entry in likely.choices[0].logprobs.content or [])
        describe: list[ChatCompletionMessageParam] = [{"role": "user", "content": DESCRIBE}]
        parsed = await sdk.chat.completions.parse(
            model=model, messages=describe, response_format=Country, temperature=0
        )
        assert isinstance(parsed.choices[0].message.parsed, Country)
        begun = "The capital of France is"
        text = await sdk.completions.create(model=model, prompt=begun, max_tokens=4, logprobs=1, temperature=0)
        assert text.choices[0].text
        assert text.choices[0].logprobs is not None
        first = await sdk.responses.create(model=model, input=FRANCE, temperature=0)
        assert (first.output_text, first.status) == (PARIS, "completed")
        async with sdk.responses.stream(
            model=model, input=FRANCE, temperature=0, previous_response_id=first.id
        ) as events:
            assert (await events.get_final_response()).status == "completed"
        await sdk.responses.delete(first.id)
        assert (await sdk.models.retrieve(model)).id == model
        assert [card.id async for card in sdk.models.list()]
    return whole.choices[0].message.content or ""


async def by_ollama(url: str, model: str) -> str:
    """Chats, texts, their measures, options, formats, lists and the context."""
    options = {"temperature": 0, "num_ctx": 256}
    messages = [{"role": "user", "content": FRANCE}]
    async with ollama.AsyncClient(host=url, timeout=SECONDS, **PLAIN) as client:
        whole = await client.chat(model, messages, options=options)
        assert (whole.message.content, whole.done_reason) == (PARIS, "stop")
        measured = (whole.total_duration, whole.load_duration, whole.prompt_eval_duration, whole.eval_duration)
        assert all(measured)
        pieces = [piece async for piece in await client.chat(model, messages, options=options, stream=True)]
        assert "".join(piece.message.content or "" for piece in pieces) == PARIS
        said = await client.generate(model, FRANCE, options=options)
        assert said.response == PARIS
        assert said.context
        short = await client.generate(model, "Count to twenty.", options={**options, "num_predict": 2})
        assert (short.done_reason, short.eval_count) == ("length", 2)
        formed = await client.chat(
            model,
            [{"role": "user", "content": DESCRIBE}],
            options={**options, "num_predict": 128},
            format=Country.model_json_schema(),
        )
        assert Country.model_validate_json(formed.message.content or "")
        assert (await client.ps()).models
        assert "completion" in ((await client.show(model)).capabilities or [])
    return whole.message.content or ""


async def by_anthropic(url: str, model: str) -> str:
    """Messages, streamed and not, and their tokens."""
    async with anthropic_sdk(url) as sdk:
        greedy: dict[str, Any] = {"extra_body": {"temperature": 0}}
        whole = await sdk.messages.create(
            model=model, max_tokens=50, messages=[{"role": "user", "content": FRANCE}], **greedy
        )
        assert [block.text for block in whole.content if block.type == "text"] == [PARIS]
        async with sdk.messages.stream(
            model=model, max_tokens=50, messages=[{"role": "user", "content": FRANCE}], **greedy
        ) as stream:
            assert await stream.get_final_text() == PARIS
        counted = await sdk.messages.count_tokens(model=model, messages=[{"role": "user", "content": FRANCE}])
        assert counted.input_tokens > 0
    return "".join(block.text for block in whole.content if block.type == "text")


async def of_embeddings(url: str, model: str) -> int:
    """Vectors by OpenAI's and Ollama's SDKs: alike, whoever asks, and of length 1 where the API says so. How many."""
    texts = ["a mouse", "a dormouse"]
    async with openai_sdk(url) as sdk:
        plain = await sdk.embeddings.create(model=model, input=texts, encoding_format="float")
    vectors = [row.embedding for row in plain.data]
    async with ollama.AsyncClient(host=url, timeout=SECONDS, **PLAIN) as client:
        found = (await client.embed(model, texts)).embeddings
        legacy = (await client.embeddings(model, texts[0])).embedding
    cosine = sum(map(operator.mul, legacy, vectors[0])) / math.hypot(*legacy) / math.hypot(*vectors[0])
    assert math.isclose(cosine, 1, abs_tol=1e-3), "the same direction; its length is the model's own"
    for vector, same in zip(found, vectors, strict=True):
        length = math.hypot(*same)
        assert [value / length for value in same] == pytest.approx(list(vector), abs=1e-3)
        assert math.isclose(math.hypot(*vector), 1, abs_tol=1e-3)
    return len(found)


async def by_langchain(url: str, model: str, embedding: str | None = None) -> dict[str, Any]:
    """What LangChain got, by API. In a process of its own: its clients are never closed."""
    names = [model] if embedding is None else [model, embedding]
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.clients.langchain.quick", url, *names),
        cwd=ROOT,
        env={**os.environ, "NO_PROXY": "127.0.0.1", "LANGSMITH_TRACING": "false"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await asyncio.wait_for(child.communicate(), SECONDS * 2)
    assert child.returncode == 0, error.decode()[-4000:]
    found: dict[str, Any] = json.loads(out)
    return found


def expected_of_langchain(embeddings: bool) -> dict[str, Any]:
    """What `by_langchain` must give."""
    vectors = {"embeddings": [True, True]} if embeddings else {}
    one = {
        "invoke": PARIS,
        "stream": PARIS,
        "batch": [PARIS, PARIS],
        "tools": [{"name": "get_weather", "args": {"city": "Paris"}}],
        "structured": ["capital", "country"],
        **vectors,
    }
    return {"openai": one, "ollama": one}
