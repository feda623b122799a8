"""What an engine says in these tests, in vLLM's words, and what a client sees of it."""

import json
from typing import Any

import httpx

from tests.router.fakes import Exchange, Serve, Stage, chat_chunk, until

HI = [{"role": "user", "content": "Capital of France?"}]
BODY: dict[str, Any] = {"model": "tiny", "messages": HI}
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


async def finish(exchange: Exchange) -> None:
    """The usage, where it was asked for, and the end."""
    if exchange.json.get("stream_options", {}).get("include_usage"):
        await exchange.event({"choices": [], "usage": USAGE})
    await exchange.finish()


async def paris(exchange: Exchange) -> None:
    """ "Paris." in three pieces, by either route."""
    await exchange.stream_head()
    for word in ("Par", "is", "."):
        if exchange.path.endswith("/chat/completions"):
            await exchange.event(chat_chunk(word))
        else:
            await exchange.event({"choices": [{"index": 0, "text": word, "finish_reason": None}]})
    await exchange.event(chat_chunk("", finish="stop"))
    await finish(exchange)


async def tools(exchange: Exchange) -> None:
    """A call of weather, in deltas."""
    await exchange.stream_head()
    for call in (
        {"index": 0, "id": "chatcmpl-tool-1", "type": "function", "function": {"name": "weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"city": "Pa'}},
        {"index": 0, "function": {"arguments": 'ris"}'}},
    ):
        await exchange.event({"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]})
    await exchange.event(chat_chunk("", finish="tool_calls"))
    await finish(exchange)


async def dies_mid_stream(exchange: Exchange) -> None:
    await exchange.stream_head()
    await exchange.event(chat_chunk("Par"))
    exchange.cut()


async def fails_mid_stream(exchange: Exchange) -> None:
    await exchange.stream_head()
    await exchange.event(chat_chunk("Par"))
    await exchange.event({"error": {"message": "out of blocks", "type": "InternalServerError", "code": 500}})
    await exchange.finish()


async def vectors(exchange: Exchange) -> None:
    texts = exchange.json["input"]
    data = [{"object": "embedding", "index": i, "embedding": [3.0, 4.0 * len(t)]} for i, t in enumerate(texts)]
    await exchange.answer({"object": "list", "data": data[::-1], "model": "m", "usage": {"prompt_tokens": 5}})


def refusing(status: int, body: Any) -> Serve:
    """An engine that answers everything so."""

    async def serve(exchange: Exchange) -> None:
        await exchange.answer(body, status)

    return serve


async def known(world: Stage, name: str = "tiny-chat") -> None:
    """Until the router knows the model."""
    await until(lambda: world.router.catalog.find(name) is not None)


async def awake(world: Stage, name: str = "tiny-chat") -> None:
    """Until the router knows the model and an engine of it."""
    await known(world, name)
    await until(lambda: world.router.plane.awake(world.router.plane.find(name)))


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    """The lines of a streamed answer."""
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.text.endswith("\n")
    return [json.loads(line) for line in response.text.splitlines()]
