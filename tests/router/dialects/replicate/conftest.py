"""Replicate's own client on the running router, and engines of every kind that it can ask."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from replicate.client import Client

from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.records import known_status, model
from tests.router.fakes import Engine, Exchange, Serve, Stage, stage

PATIENCE = 60.0
UNFINISHED = ("starting", "processing")
SCHEMA = {"type": "object", "properties": {"rooms": {"type": "integer"}}, "required": ["rooms"]}
CUSTOM = {
    "capabilities": ["predict"],
    "engine": {"name": "custom", "quantization": "none", "inputSchema": json.dumps(SCHEMA)},
}
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


@pytest.fixture
async def world() -> AsyncIterator[Stage]:
    """A router that may call webhooks on loopback."""
    async with stage(webhooks_allowed=("127.0.0.0/8",)) as made:
        yield made


MakeClient = Callable[..., Client]


@pytest.fixture
async def make_client(world: Stage) -> AsyncIterator[MakeClient]:
    """Clients of `world` with another key."""
    made: list[Client] = []

    def make(key: str = "mine", url: str | None = None) -> Client:
        new = Client(api_token=key, base_url=url or world.url, timeout=httpx.Timeout(PATIENCE))
        new.poll_interval = 0.01
        made.append(new)
        return new

    yield make
    for old in made:  # it has no end of its own
        old._client.close()
        await old._async_client.aclose()


@pytest.fixture
def sdk(make_client: MakeClient) -> Client:
    return make_client()


async def serve_model(world: Stage, made: Engine, name: str = "tiny-chat", **status: Any) -> None:
    """A model `default/NAME` whose engine is `made`."""
    world.cluster.add_model(model(name, status=known_status(**status)))
    world.ready(made, name=name)
    await engines.awake(world, name)


@pytest.fixture
async def text(world: Stage, make_engine: MakeEngine) -> Engine:
    """default/tiny-chat says Paris."""
    made = await make_engine(engines.paris)
    await serve_model(world, made)
    return made


async def draws(exchange: Exchange) -> None:
    picture = {"b64_json": base64.b64encode(PICTURE).decode()}
    await exchange.answer({"created": 1, "data": [picture] * exchange.json.get("n", 1)})


def saying(*pieces: Any, **last: Any) -> Serve:
    """A model with Python of its own that yields these."""

    async def serve(exchange: Exchange) -> None:
        await exchange.stream_head()
        for piece in pieces:
            await exchange.event({"output": piece})
        await exchange.event({"done": True, "seconds": 0.1, **last})
        await exchange.raw(b"0\r\n\r\n")

    return serve


async def ended(sdk: Client, ident: str) -> Any:
    """The prediction, once it is."""
    async with asyncio.timeout(PATIENCE):
        while (found := await sdk.predictions.async_get(ident)).status in UNFINISHED:  # noqa: ASYNC110 - polled
            await asyncio.sleep(0.01)
    return found


async def shows(sdk: Client, ident: str, output: Any) -> None:
    """Returns once this is the prediction's output."""
    async with asyncio.timeout(PATIENCE):
        while (await sdk.predictions.async_get(ident)).output != output:  # noqa: ASYNC110 - polled
            await asyncio.sleep(0.01)
