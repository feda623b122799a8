"""Endpoints of the operator are told how a response in the background ended, and unwrap it with OpenAI's client."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from dormouse_router.notifying import new_secret
from tests.router.conftest import MakeEngine
from tests.router.fakes import Engine, Exchange, Stage, chat_chunk, endless, speak, stage, until

ASK: dict[str, Any] = {"model": "tiny", "input": "Capital of France?", "background": True}
SECRET = new_secret()


async def taken(exchange: Exchange) -> None:
    await exchange.answer({})


@pytest.fixture
async def receiver(make_engine: MakeEngine) -> Engine:
    return await make_engine(taken)


@pytest.fixture
async def told(receiver: Engine, tmp_path: Path) -> AsyncIterator[Stage]:
    """A router with `receiver` for an endpoint."""
    file = tmp_path / "endpoints.json"
    endpoint = {"name": "ours", "url": f"http://127.0.0.1:{receiver.port}/", "secrets": [SECRET]}
    file.write_text(json.dumps([endpoint]))
    async with stage(webhook_endpoints=str(file), webhooks_allowed=("127.0.0.0/8",)) as made:
        yield made


@contextlib.asynccontextmanager
async def client(world: Stage) -> AsyncIterator[openai.AsyncOpenAI]:
    url = f"{world.url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0, webhook_secret=SECRET) as made:
        yield made


def unwrapped(sdk: openai.AsyncOpenAI, exchange: Exchange) -> Any:
    lines = exchange.head.decode().split("\r\n")[1:]
    headers = dict(line.split(": ", 1) for line in lines if line)
    return sdk.webhooks.unwrap(exchange.body, headers)


async def cut_short(exchange: Exchange) -> None:
    await exchange.stream_head()
    await exchange.event(chat_chunk("Par"))
    await exchange.event(chat_chunk("", finish="length"))
    await exchange.finish()


async def refuses(exchange: Exchange) -> None:
    await exchange.answer({"error": {"message": "no"}}, 400)


@pytest.mark.parametrize(
    ("serve", "kind"), [(speak, "completed"), (cut_short, "incomplete"), (refuses, "failed"), (endless(), "cancelled")]
)
async def test_each_end_is_told(told: Stage, receiver: Engine, make_engine: MakeEngine, serve: Any, kind: str) -> None:
    await told.awake(await make_engine(serve))
    async with client(told) as sdk:
        response = await sdk.responses.create(**ASK)
        if kind == "cancelled":
            await sdk.responses.cancel(response.id)
        await until(lambda: len(receiver.seen) == 1)
        event = unwrapped(sdk, receiver.seen[0])
    assert (event.type, event.data.id) == (f"response.{kind}", response.id)


async def test_what_somebody_waited_for_is_not(told: Stage, receiver: Engine, make_engine: MakeEngine) -> None:
    await told.awake(await make_engine())
    async with client(told) as sdk:
        await sdk.responses.create(**ASK | {"background": False})
        later = await sdk.responses.create(**ASK)
        async with asyncio.timeout(20):
            await until(lambda: len(receiver.seen) == 1)
        assert unwrapped(sdk, receiver.seen[0]).data.id == later.id
