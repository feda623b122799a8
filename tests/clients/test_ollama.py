"""Ollama's Python library, every method of it, blocking and not, streamed and not."""

import asyncio
import base64
import math
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import ollama
import pytest
import pytest_asyncio
from pydantic import BaseModel

from tests.clients.blocking import Blocking
from tests.clients.conftest import BOTH_FORMS
from tests.clients.world import ALIAS, CHAT, EMBED, SEE, SIZE, SLEEPER, SLEEPER_ALIAS, THINK, World
from tests.engine import words
from tests.engine.others import picture

pytestmark = pytest.mark.asyncio(loop_scope="module")
FRANCE = "What is the capital of France?"


class Capital(BaseModel):
    """What is asked for in the tests of structured answers."""

    city: str
    rank: int


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=BOTH_FORMS)
async def client(router: World, request: pytest.FixtureRequest) -> AsyncIterator[ollama.AsyncClient]:
    if request.param == "sync":
        with ollama.Client(host=router.url, timeout=20) as blocking:
            yield cast("ollama.AsyncClient", Blocking(blocking))
    else:
        async with ollama.AsyncClient(host=router.url, timeout=20) as made:
            yield made


def ask(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


async def test_chat(client: ollama.AsyncClient) -> None:
    for name in (CHAT, ALIAS, f"{CHAT}:latest", CHAT.upper()):
        whole = await client.chat(name, ask(FRANCE))
        assert (whole.message.content, whole.message.role, whole.done, whole.done_reason, whole.model) == (
            "Paris.",
            "assistant",
            True,
            "stop",
            name,
        )
        assert whole.total_duration
        assert whole.load_duration
        assert whole.prompt_eval_duration
        assert whole.eval_duration
        assert (whole.prompt_eval_count, whole.eval_count) == (7, 2)
        pieces = [piece async for piece in await client.chat(name, ask(FRANCE), stream=True)]
        assert "".join(piece.message.content or "" for piece in pieces) == "Paris."
        assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]
        assert len(pieces) > 2


async def test_generate_and_its_context(client: ollama.AsyncClient) -> None:
    whole = await client.generate(CHAT, FRANCE, system="be brief", options={"temperature": 0})
    assert (whole.response, whole.done_reason) == ("Paris.", "stop")
    assert whole.context
    again = await client.generate(CHAT, "!echo", context=whole.context)
    assert FRANCE in (again.response or "")
    pieces = [piece async for piece in await client.generate(CHAT, FRANCE, stream=True)]
    assert "".join(piece.response or "" for piece in pieces) == "Paris."
    assert pieces[-1].context
    raw = await client.generate(CHAT, FRANCE, raw=True)
    assert (raw.response, raw.context) == ("Paris.", None)


async def test_options(client: ollama.AsyncClient) -> None:
    short = await client.chat(CHAT, ask("!say one two three"), options={"num_predict": 2, "num_ctx": 512, "numa": True})
    assert (short.message.content, short.done_reason) == ("one two", "length")
    stopped = await client.generate(CHAT, "!say one two three", options=ollama.Options(stop=["thr"], mirostat=1))
    assert (stopped.response, stopped.done_reason) == ("one two ", "stop")
    first, second, other = [
        (await client.chat(CHAT, ask("a story"), options={"seed": seed})).message.content for seed in (7, 7, 8)
    ]
    assert first == second != other


async def test_log_probabilities(client: ollama.AsyncClient) -> None:
    whole = await client.chat(CHAT, ask(FRANCE), logprobs=True, top_logprobs=2)
    assert whole.logprobs is not None
    assert [(entry.token, len(entry.top_logprobs or [])) for entry in whole.logprobs] == [("Paris", 2), (".", 2)]
    pieces = [piece async for piece in await client.generate(CHAT, FRANCE, logprobs=True, stream=True)]
    assert [entry.token for piece in pieces for entry in piece.logprobs or []] == ["Paris", "."]


async def test_loading_and_unloading(client: ollama.AsyncClient, router: World) -> None:
    router.sleeps()
    loaded = await client.generate(SLEEPER_ALIAS, "", keep_alive="10m")
    assert (loaded.response, loaded.done, loaded.done_reason) == ("", True, "load")
    assert router.awake(SLEEPER)
    [up] = [row for row in (await client.ps()).models if row.model == f"{SLEEPER}:latest"]
    assert up.expires_at is not None
    assert 500 < up.expires_at.timestamp() - time.time() <= 601
    assert (up.size, up.context_length) == (up.size_vram, 2048) or up.size_vram == 0
    gone = await client.chat(SLEEPER, [], keep_alive=0)
    assert (gone.done, gone.done_reason) == (True, "unload")
    async with asyncio.timeout(10):
        while router.awake(SLEEPER):  # noqa: ASYNC110 - asked of another thread
            await asyncio.sleep(0.01)


async def test_tools_of_python_functions(client: ollama.AsyncClient) -> None:
    def get_weather(city: str) -> str:
        """Get the weather in a city.

        Args:
            city: which city
        """
        return f"sunny in {city}"

    talk: list[Any] = ask("What is the weather in Paris?")
    first = await client.chat(CHAT, talk, tools=[get_weather])
    [call] = first.message.tool_calls or []
    assert (call.function.name, call.function.arguments) == ("get_weather", {"city": "Paris"})
    assert first.message.content == ""
    talk += [first.message, {"role": "tool", "tool_name": "get_weather", "content": "sunny"}]
    assert (await client.chat(CHAT, talk, tools=[get_weather])).message.content == "It is sunny in Paris."
    two = '!tool get_weather {"city": "Rome"} !tool get_weather {"city": "Zürich"}'
    pieces = [piece async for piece in await client.chat(CHAT, ask(two), tools=[get_weather], stream=True)]
    calls = [call for piece in pieces for call in piece.message.tool_calls or []]
    assert [call.function.arguments for call in calls] == [{"city": "Rome"}, {"city": "Zürich"}]


async def test_formats(client: ollama.AsyncClient) -> None:
    schema = Capital.model_json_schema()
    text = ask("The 7 wonders of 'Rome'")
    whole = [await client.chat(CHAT, text, format=schema)]
    pieces = [piece async for piece in await client.chat(CHAT, text, format=schema, stream=True)]
    for parts in (whole, pieces):
        answer = "".join(part.message.content or "" for part in parts)
        assert Capital.model_validate_json(answer) == Capital(city="Rome", rank=7)
    free = await client.generate(CHAT, "JSON with 'a'", format="json")
    assert free.response == '{"a": "a"}'


async def test_thinking(client: ollama.AsyncClient) -> None:
    whole = await client.chat(THINK, ask(FRANCE), think=True)
    assert (whole.message.thinking, whole.message.content) == ("Let me think.", "Paris.")
    pieces = [piece async for piece in await client.generate(THINK, FRANCE, think="low", stream=True)]
    assert "".join(piece.thinking or "" for piece in pieces) == "Let me think."
    assert "".join(piece.response or "" for piece in pieces) == "Paris."
    assert (await client.chat(THINK, ask(FRANCE), think=False)).message.thinking is None
    with pytest.raises(ollama.ResponseError, match="does not support thinking"):
        await client.chat(CHAT, ask(FRANCE), think=True)


async def test_images(client: ollama.AsyncClient, tmp_path: Path) -> None:
    file = tmp_path / "mouse.png"
    file.write_bytes(base64.b64decode(picture("a mouse")))
    for image in (picture("a mouse"), ollama.Image(value=file), file.read_bytes()):
        seen = await client.chat(SEE, [{"role": "user", "content": "What is it?", "images": [image]}])
        assert seen.message.content == "I see 1 image."
    said = await client.generate(SEE, "What is it?", images=[ollama.Image(value=file)])
    assert said.response == "I see 1 image."
    with pytest.raises(ollama.ResponseError, match="does not support vision"):
        await client.generate(CHAT, "What is it?", images=[ollama.Image(value=file)])


async def test_embeddings(client: ollama.AsyncClient) -> None:
    many = await client.embed(EMBED, ["a", "b"], truncate=True)
    assert [len(vector) for vector in many.embeddings] == [words.EMBEDDING_SIZE] * 2
    assert all(math.isclose(math.hypot(*vector), 1, abs_tol=1e-5) for vector in many.embeddings)
    assert (many.model, many.prompt_eval_count) == (EMBED, 2)
    one = await client.embed(EMBED, "a", dimensions=8)
    assert len(one.embeddings[0]) == 8
    legacy = await client.embeddings(EMBED, "a")
    assert list(legacy.embedding) == pytest.approx(words.embedding("a"), abs=1e-6)


async def test_the_lists(client: ollama.AsyncClient) -> None:
    rows = {row.model: row for row in (await client.list()).models}
    found = rows[f"{CHAT}:latest"]
    assert found.size == SIZE
    assert found.digest is not None
    assert len(found.digest) == 64
    assert found.details is not None
    assert (found.details.family, found.details.parameter_size) == ("llama", "1.10M")
    shown = await client.show(SLEEPER_ALIAS)
    assert shown.capabilities == ["completion", "tools"]
    assert shown.modelinfo is not None
    assert shown.modelinfo["llama.context_length"] == 2048
    with pytest.raises(ollama.ResponseError, match="not found") as missing:
        await client.show("nobody")
    assert missing.value.status_code == 404


async def test_pull_and_delete(client: ollama.AsyncClient) -> None:
    name = "clients/fresh"
    steps = [step async for step in await client.pull(name, stream=True)]
    assert (steps[0].status, steps[-1].status) == ("pulling manifest", "success")
    layers = [step for step in steps if step.digest]
    assert [step.total for step in layers] == [SIZE] * len(layers)
    done = [step.completed or 0 for step in layers]
    assert done == sorted(done)
    assert done[-1] == SIZE
    assert (await client.pull(name)).status == "success"
    assert (await client.chat(name, ask(FRANCE))).message.content == "Paris."
    assert (await client.delete(name)).status == "success"
    with pytest.raises(ollama.ResponseError, match="not found"):
        await client.delete(name)
    for missing in ("clients/missing", "nobody"):
        with pytest.raises(ollama.ResponseError, match="file does not exist"):
            await client.pull(missing)


async def test_create_copy_and_delete(client: ollama.AsyncClient) -> None:
    made = await client.create("clients-mario", from_=CHAT, system="You are Mario.", parameters={"temperature": 0.25})
    assert made.status == "success"
    steps = [step async for step in await client.create("clients-luigi", from_="clients-mario", stream=True)]
    assert steps[-1].status == "success"
    assert (await client.copy("clients-luigi", "clients-copy")).status == "success"
    assert '"You are Mario."' in ((await client.chat("clients-copy", ask("!echo"))).message.content or "")
    assert "temperature                    0.25" in ((await client.show("clients-copy")).parameters or "").splitlines()
    for name in ("clients-mario", "clients-luigi", "clients-copy"):
        assert (await client.delete(name)).status == "success"
    with pytest.raises(ollama.ResponseError, match="not found"):
        await client.copy("nobody", "clients-copy")


async def test_what_is_refused(client: ollama.AsyncClient, tmp_path: Path) -> None:
    blob = tmp_path / "weights.gguf"
    blob.write_bytes(b"GGUF")
    with pytest.raises(ollama.ResponseError, match="pull"):
        await client.push(CHAT)
    with pytest.raises(ollama.ResponseError, match="pull"):
        await client.create_blob(blob)
    for model in ("nobody", EMBED):
        with pytest.raises(ollama.ResponseError) as refused:
            await client.chat(model, ask(FRANCE))
        assert refused.value.status_code == (404 if model == "nobody" else 400)


@pytest.mark.parametrize("fault", ["!error after 2 broken", "!cut after 2"])
async def test_an_error_in_the_stream(client: ollama.AsyncClient, fault: str) -> None:
    stream = await client.chat(CHAT, ask(f"!say a b c d {fault}"), stream=True)
    said = ""

    async def listen() -> None:
        nonlocal said
        async for piece in stream:
            said += piece.message.content or ""

    with pytest.raises(ollama.ResponseError):
        await listen()
    assert said == "a b"
