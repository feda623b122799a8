"""Receivers are told of predictions: what they asked for, not too often, signed, and never where they must not be."""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest
from replicate.client import Client
from replicate.exceptions import ReplicateError
from replicate.webhook import Webhooks, WebhookSigningSecret
from standardwebhooks import Webhook

from dormouse_router.dialects.replicate import desk, hooks
from dormouse_router.webhooks import deliverer
from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.replicate.conftest import CUSTOM, MakeClient, ended, saying, serve_model
from tests.router.fakes import Engine, Exchange, Stage, chat_chunk, endless, until

NAME = "default/tiny-chat"
ASK = {"prompt": "Capital of France?"}


async def taken(exchange: Exchange) -> None:
    await exchange.answer({})


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliverer, "EVERY", 0.02)


@pytest.fixture
async def receiver(make_engine: MakeEngine) -> Engine:
    return await make_engine(taken)


def url(receiver: Engine) -> str:
    return f"http://127.0.0.1:{receiver.port}/hook?a=b"


def headers(exchange: Exchange) -> dict[str, str]:
    lines = exchange.head.decode().split("\r\n")[1:]
    return dict(line.split(": ", 1) for line in lines if line)


def told(receiver: Engine) -> list[tuple[str, Any]]:
    return [(seen.json["status"], seen.json["output"]) for seen in receiver.seen]


async def test_start_and_end_are_told_and_verified(sdk: Client, text: Engine, receiver: Engine) -> None:
    made = await sdk.models.predictions.async_create(NAME, ASK, webhook=url(receiver))
    done = await ended(sdk, made.id)
    await until(lambda: told(receiver)[-1:] == [("succeeded", ["Par", "is", "."])])
    secret = await sdk.webhooks.default.async_secret()
    for seen in receiver.seen:
        assert seen.path == "/hook?a=b"
        body = Webhook(secret.key).verify(seen.body, headers(seen))
        assert (body["id"], body["input"], body["urls"]["get"]) == (made.id, ASK, done.urls["get"])
        Webhooks.validate(headers=headers(seen), body=seen.body.decode(), secret=secret)
    assert told(receiver)[0][0] == "processing"
    assert len({headers(seen)["webhook-id"] for seen in receiver.seen}) == len(receiver.seen)


async def test_only_what_is_asked_for(sdk: Client, text: Engine, receiver: Engine) -> None:
    for wish in (
        {"webhook_events_filter": ["completed"], "webhook": url(receiver)},
        {"webhook_completed": url(receiver)},
    ):
        made = await sdk.models.predictions.async_create(NAME, ASK, **wish)
        await ended(sdk, made.id)
        await until(lambda: len(receiver.seen) == 1)
        assert told(receiver) == [("succeeded", ["Par", "is", "."])]
        receiver.seen.clear()


async def test_output_is_told_at_most_every_so_often(
    world: Stage, sdk: Client, make_engine: MakeEngine, receiver: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "EVERY", 0.2)
    monkeypatch.setattr(desk, "KEEP_SECONDS", 0.05)

    async def speaks(exchange: Exchange) -> None:
        await exchange.stream_head()
        for number in range(40):
            await exchange.event(chat_chunk(f"{number} "))
            await asyncio.sleep(0.02)
        await exchange.finish()

    await serve_model(world, await make_engine(speaks))
    wish: dict[str, Any] = {"webhook": url(receiver), "webhook_events_filter": ["output", "completed"]}
    began = time.monotonic()
    made = await sdk.models.predictions.async_create(NAME, ASK, **wish)
    await ended(sdk, made.id)
    await until(lambda: told(receiver)[-1:] == [("succeeded", [f"{n} " for n in range(40)])])
    lengths = [len(output) for _, output in told(receiver)]
    assert lengths == sorted(lengths)
    assert len(lengths) <= (time.monotonic() - began) / 0.2 + 2


async def test_a_canceled_and_a_failed_one_are_told_of(
    world: Stage, sdk: Client, make_engine: MakeEngine, receiver: Engine
) -> None:
    engine = await make_engine(endless())
    await serve_model(world, engine)
    wish: dict[str, Any] = {"webhook": url(receiver), "webhook_events_filter": ["completed"]}
    made = await sdk.models.predictions.async_create(NAME, ASK, **wish)
    await until(lambda: len(engine.seen) == 1)
    await made.async_cancel()
    engine.serve = engines.refusing(400, {"error": {"message": "no such thing"}})
    await ended(sdk, (await sdk.models.predictions.async_create(NAME, ASK, **wish)).id)
    await until(lambda: len(receiver.seen) == 2)
    by_status = {seen.json["status"]: seen.json for seen in receiver.seen}
    assert by_status.keys() == {"canceled", "failed"}
    assert "no such thing" in by_status["failed"]["error"]


async def test_a_custom_models_progress_is_told_of_too(
    world: Stage, sdk: Client, make_engine: MakeEngine, receiver: Engine
) -> None:
    await serve_model(world, await make_engine(saying({"price": 3})), "prices", **CUSTOM)
    made = await sdk.predictions.async_create(version="default/prices", input={"rooms": 1}, webhook=url(receiver))
    await ended(sdk, made.id)
    await until(lambda: told(receiver)[-1:] == [("succeeded", {"price": 3})])
    assert receiver.seen[-1].json["id"] == made.id


@pytest.mark.parametrize(
    "hook",
    [
        "http://hooks.example/",
        "https://169.254.169.254/latest/meta-data",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://[::ffff:10.0.0.1]/",
        "https://localhost/",
        "https://hooks.example:22/",
        "https://user@hooks.example/",
        "file:///etc/passwd",
        "not a url",
    ],
)
async def test_a_receiver_that_must_not_be_called_is_refused_at_once(
    world: Stage, sdk: Client, text: Engine, hook: str
) -> None:
    with pytest.raises(ReplicateError) as refused:
        await sdk.predictions.async_create(version=NAME, input=ASK, webhook=hook)
    assert refused.value.status == 422
    assert (refused.value.detail or "").startswith("webhook: ")
    assert text.seen == []
    assert (await sdk.predictions.async_list()).results == []


async def test_a_key_has_its_own_secret_which_it_may_rotate(
    world: Stage, sdk: Client, make_client: MakeClient, text: Engine, receiver: Engine
) -> None:
    old = await sdk.webhooks.default.async_secret()
    assert (await make_client("other").webhooks.default.async_secret()).key != old.key
    async with httpx.AsyncClient(base_url=world.url, headers={"authorization": "Bearer mine"}, timeout=60) as web:
        where = "/v1/webhooks/default/secret"
        answer = await web.post(where, json={"expires_in": 60})
        new = answer.json()["key"]
        assert answer.headers["cache-control"] == "no-store"
        assert (await sdk.webhooks.default.async_secret()).key == new != old.key
        made = await sdk.models.predictions.async_create(NAME, ASK, webhook=url(receiver))
        await ended(sdk, made.id)
        await until(lambda: len(receiver.seen) >= 1)
        for key in (old.key, new):
            secret = WebhookSigningSecret(key=key)
            Webhooks.validate(headers=headers(receiver.seen[0]), body=receiver.seen[0].body.decode(), secret=secret)
        for body, status in ((b'{"expires_in": -1}', 422), (b'{"expires_in": "soon"}', 422), (b"{", 400), (b"[]", 422)):
            assert (await web.post(where, content=body)).status_code == status
        last = (await web.post(where, content=json.dumps({"expires_in": 0}))).json()["key"]
        assert last not in (old.key, new)


async def test_nobody_is_asked_for_a_secret_without_a_key(world: Stage) -> None:
    async with httpx.AsyncClient(base_url=world.url, timeout=60) as web:
        first = (await web.get("/v1/webhooks/default/secret")).json()
        assert first == (await web.get("/v1/webhooks/default/secret")).json()
        assert first["key"].startswith("whsec_")
