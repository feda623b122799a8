"""What POST /chat is sent and what comes back, for the tests of it."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from dormouse_router.keeping import Keeping
from tests.router.dialects import engines
from tests.router.dialects.records import known_status, model
from tests.router.fakes import Engine, Exchange, Serve, Stage, chat_chunk, stage, until

URL = "/chat"
CAPABLE = known_status(capabilities=["completion", "tools", "vision"])
PROMPT: dict[str, Any] = {"model": "tiny", "prompt": "Capital of France?"}
STREAM = {**PROMPT, "stream": True}
DURATIONS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def saying(*words: str, finish: str = "stop") -> Serve:
    """An engine that says these words."""

    async def serve(exchange: Exchange) -> None:
        await exchange.stream_head()
        for word in words:
            await exchange.event(chat_chunk(word))
        await exchange.event(chat_chunk("", finish=finish))
        await engines.finish(exchange)

    return serve


def streaming(pieces: Sequence[bytes], cut: bool = False) -> Serve:
    """An engine that sends just these bytes, each in a chunk of its own."""

    async def serve(exchange: Exchange) -> None:
        await exchange.stream_head()
        for piece in pieces:
            await exchange.chunk(piece)
        if cut:
            exchange.cut()
        else:
            await exchange.raw(b"0\r\n\r\n")

    return serve


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    """What a client reads of a stream: comments are skipped."""
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("\n\n")
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


def refused(answer: httpx.Response) -> tuple[int, str | None, str]:
    """Status, field and sentence, the shape checked."""
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) <= {"error", "param"}
    return answer.status_code, body.get("param"), body["error"]


def text_of(found: list[dict[str, Any]]) -> str:
    return "".join(event["delta"]["content"] for event in found if "delta" in event)


@asynccontextmanager
async def chatting(engine: Engine, keeping: Keeping | None = None, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a router of its own, with `engine` behind tiny-chat, alias tiny."""
    async with stage(keeping, **settings) as world, httpx.AsyncClient(base_url=world.url, timeout=20) as client:
        await serving(world, engine)
        yield client


async def serving(world: Stage, *behind: Engine) -> None:
    """Put the engines behind tiny-chat, alias tiny."""
    world.cluster.add_model(model(aliases=["tiny", "Org/Tiny"], status=CAPABLE))
    world.ready(*behind, name="tiny-chat")
    await engines.awake(world)
    await until(lambda: world.endpoints("tiny-chat") == len(behind))
