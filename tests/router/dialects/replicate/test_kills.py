"""A router is killed at random moments: each prediction that it answered for ends once, and its receiver is told."""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook

from bench.routing.processes import Process, free_port, python, running
from tests.router.conftest import MakeEngine
from tests.router.fakes import Engine, Exchange, chat_chunk

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("DORMOUSE_KILLS", "2"))
DEADLINE = 120.0
HEADERS = {"authorization": "Bearer mine"}


async def slowly(exchange: Exchange) -> None:
    """Says what it was asked, in pieces, over a while."""
    await exchange.stream_head()
    for word in exchange.json["messages"][0]["content"].split(","):
        await exchange.event(chat_chunk(word))
        await asyncio.sleep(0.02)
    await exchange.finish()


async def taken(exchange: Exchange) -> None:
    await exchange.answer({})


@contextlib.asynccontextmanager
async def router(folder: Path, engine: Engine) -> AsyncIterator[tuple[httpx.AsyncClient, Process]]:
    port = free_port()
    command = python("tests.router.dialects.replicate.process", port, folder, engine.port)
    with contextlib.ExitStack() as stack:
        process = await asyncio.to_thread(stack.enter_context, running(command, 0, port, seconds=60))
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, timeout=60, headers=HEADERS) as client:
            yield client, process


async def makes(client: httpx.AsyncClient, hook: str, promised: dict[str, str]) -> None:
    """Until the router is gone."""
    while True:
        text = ",".join(f"{random.random():.6f}" for _ in range(random.randrange(1, 8)))  # noqa: S311
        body = {"version": "tiny-chat", "input": {"prompt": text}, "webhook": hook}
        answer = await client.post("/v1/predictions", json=body)
        if answer.status_code == 201:
            promised[answer.json()["id"]] = text.replace(",", "")


async def ended(client: httpx.AsyncClient, ident: str) -> dict[str, object]:
    async with asyncio.timeout(DEADLINE):
        while True:
            answer = await client.get(f"/v1/predictions/{ident}")
            if answer.status_code == 200 and answer.json()["status"] in ("succeeded", "failed", "canceled"):
                found: dict[str, object] = answer.json()
                return found
            await asyncio.sleep(0.05)


async def test_what_was_answered_for_ends_and_is_told(tmp_path: Path, make_engine: MakeEngine) -> None:
    engine, receiver = await make_engine(slowly), await make_engine(taken)
    hook = f"http://127.0.0.1:{receiver.port}/"
    promised: dict[str, str] = {}
    for _ in range(KILLS):
        async with router(tmp_path, engine) as (client, process):
            making = [asyncio.create_task(makes(client, hook, promised)) for _ in range(3)]
            before = len(promised)
            async with asyncio.timeout(DEADLINE):
                while len(promised) < before + 3:  # noqa: ASYNC110 - polled
                    await asyncio.sleep(0.005)
            await asyncio.sleep(random.random() * 0.3)  # noqa: S311
            process.popen.kill()
            for gone in await asyncio.gather(*making, return_exceptions=True):
                assert isinstance(gone, httpx.TransportError), gone
    async with router(tmp_path, engine) as (client, _):
        for ident, text in promised.items():
            found = await ended(client, ident)
            assert (found["status"], "".join(found["output"])) == ("succeeded", text)  # type: ignore[arg-type]
        secret = (await client.get("/v1/webhooks/default/secret")).json()["key"]
        async with asyncio.timeout(DEADLINE):
            while not promised.keys() <= told(receiver, secret).keys():  # noqa: ASYNC110 - polled
                await asyncio.sleep(0.1)
    ends = told(receiver, secret)
    assert {ident: ends[ident][0] for ident in promised} == promised
    assert all(len(ids) == 1 for _, ids in ends.values()), "an end has one webhook-id, however often it comes"
    print(f"{len(promised)} predictions, {len(receiver.seen)} webhooks, {len(engine.seen)} calls")  # noqa: T201


def told(receiver: Engine, secret: str) -> dict[str, tuple[str, set[str]]]:
    """By prediction: what its end was said to be, and under which webhook-ids."""
    found: dict[str, tuple[str, set[str]]] = {}
    for seen in receiver.seen:
        headers = dict(line.split(": ", 1) for line in seen.head.decode().split("\r\n")[1:] if line)
        body = Webhook(secret).verify(seen.body, headers)
        if body["status"] == "succeeded":
            ids = found.setdefault(body["id"], ("".join(body["output"]), set()))[1]
            ids.add(headers["webhook-id"])
    return found
