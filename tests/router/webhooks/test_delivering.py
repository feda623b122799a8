"""From a row to a receiver that verifies it: order, retries, rotation, restarts, and the operator's endpoints."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from dormouse_router.notifying import Delivery, Event, Webhooks, new_secret
from dormouse_router.store.memory_predictions import MemoryWebhooks
from dormouse_router.webhooks import deliverer as parts
from dormouse_router.webhooks import patience
from dormouse_router.webhooks.deliverer import Deliverer
from dormouse_router.webhooks.endpoints import Endpoints, parsed
from dormouse_router.webhooks.receivers import Receivers
from tests.router.conftest import MakeEngine
from tests.router.fakes import Engine, Exchange, until

ALLOWED = Receivers(["127.0.0.0/8"])


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are a hundredth of what they are."""
    monkeypatch.setattr(parts, "EVERY", 0.01)
    monkeypatch.setattr(parts, "pause", _brief)


def _brief(*given: Any) -> float | None:
    seconds = patience.pause(*given)
    return None if seconds is None else seconds / 1e6


@pytest.fixture
def webhooks() -> MemoryWebhooks:
    return MemoryWebhooks()


def owed(engine: Engine, kind: str = "completed", **fields: Any) -> Delivery:
    now = time.time()
    url = f"http://127.0.0.1:{engine.port}/hook"
    made = Delivery("msg_1", "ann", "", url, "127.0.0.1", kind, "p1", b'{"id":"p1"}', now, now, now + 1000)
    return replace(made, **{"final": kind == "completed", **fields})


@contextlib.asynccontextmanager
async def delivering(webhooks: Webhooks, endpoints: str = "") -> AsyncIterator[list[str]]:
    outcomes: list[str] = []
    made = Deliverer(webhooks, ALLOWED, Endpoints(endpoints, ALLOWED), outcomes.append)
    running = asyncio.create_task(made.run())
    try:
        yield outcomes
    finally:
        async with asyncio.timeout(20):
            await made.close()
            await running


def headers(exchange: Exchange) -> dict[str, str]:
    lines = exchange.head.decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}


def verified(exchange: Exchange, secret: str) -> Any:
    return Webhook(secret).verify(exchange.body, headers(exchange))


async def taken(exchange: Exchange) -> None:
    await exchange.answer({})


async def test_what_arrives_is_verified_by_standard_webhooks(webhooks: MemoryWebhooks, make_engine: MakeEngine) -> None:
    receiver = await make_engine(taken)
    await webhooks.post([owed(receiver)])
    async with delivering(webhooks) as outcomes:
        await until(lambda: outcomes == ["arrived"])
    [seen] = receiver.seen
    keys = await webhooks.keys("ann")
    assert verified(seen, keys.current) == {"id": "p1"}
    assert headers(seen)["webhook-id"] == "msg_1"
    with pytest.raises(WebhookVerificationError):
        verified(seen, (await webhooks.keys("bob")).current)


async def test_while_a_secret_is_rotated_old_and_new_both_verify(
    webhooks: MemoryWebhooks, make_engine: MakeEngine
) -> None:
    receiver = await make_engine(taken)
    old = await webhooks.keys("ann")
    new = await webhooks.rotate("ann", time.time() + 60)
    await webhooks.post([owed(receiver)])
    async with delivering(webhooks):
        await until(lambda: len(receiver.seen) == 1)
    for secret in (old.current, new.current):
        assert verified(receiver.seen[0], secret) == {"id": "p1"}
    assert len(headers(receiver.seen[0])["webhook-signature"].split(" ")) == 2


async def test_what_fails_is_tried_again_under_the_same_id_until_it_is_taken(
    webhooks: MemoryWebhooks, make_engine: MakeEngine
) -> None:
    async def third_time(exchange: Exchange) -> None:
        await exchange.answer({}, 200 if len(receiver.seen) == 3 else 500)

    receiver = await make_engine(third_time)
    await webhooks.post([owed(receiver)])
    async with delivering(webhooks) as outcomes:
        await until(lambda: outcomes == ["failed", "failed", "arrived"])
    assert {headers(seen)["webhook-id"] for seen in receiver.seen} == {"msg_1"}
    secret = (await webhooks.keys("ann")).current
    assert all(verified(seen, secret) for seen in receiver.seen)


@pytest.mark.parametrize(
    ("kind", "status", "tries"), [("completed", 500, 11), ("output", 500, 3), ("completed", 410, 1)]
)
async def test_it_is_given_up_at_last(
    webhooks: MemoryWebhooks, make_engine: MakeEngine, kind: str, status: int, tries: int
) -> None:
    async def never(exchange: Exchange) -> None:
        await exchange.answer({}, status)

    receiver = await make_engine(never)
    await webhooks.post([owed(receiver, kind)])
    async with delivering(webhooks) as outcomes:
        await until(lambda: "given_up" in outcomes)
    assert len(receiver.seen) == tries
    assert await webhooks.claim(time.time() + 500, time.time() + 600, 8) == []


async def test_messages_of_one_subject_come_in_order(webhooks: MemoryWebhooks, make_engine: MakeEngine) -> None:
    receiver = await make_engine(taken)
    for number, kind in enumerate(("start", "output", "completed")):
        await webhooks.post([owed(receiver, kind, body=json.dumps({"n": number}).encode(), message_id=f"msg_{number}")])
    async with delivering(webhooks):
        await until(lambda: len(receiver.seen) == 2)
    assert [seen.json["n"] for seen in receiver.seen] == [0, 2]


async def test_one_receiver_is_not_sent_everything_at_once(webhooks: MemoryWebhooks, make_engine: MakeEngine) -> None:
    go_on, most, inside = asyncio.Event(), [0], [0]

    async def slow(exchange: Exchange) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        await go_on.wait()
        inside[0] -= 1
        await exchange.answer({})

    receiver = await make_engine(slow)
    await webhooks.post([owed(receiver, subject=f"p{n}", message_id=f"msg_{n}") for n in range(20)])
    async with delivering(webhooks):
        await until(lambda: inside[0] == parts.PER_HOST)
        go_on.set()
        await until(lambda: len(receiver.seen) == 20)
    assert most[0] <= parts.PER_HOST + 3


async def test_a_router_that_died_while_it_tried_has_lost_nothing(
    webhooks: MemoryWebhooks, make_engine: MakeEngine
) -> None:
    receiver = await make_engine(taken)
    await webhooks.post([owed(receiver)])
    now = time.time()
    assert len(await webhooks.claim(now, now + 0.05, 8)) == 1  # and it is never heard of again
    async with delivering(webhooks):
        await until(lambda: len(receiver.seen) == 1)
    assert headers(receiver.seen[0])["webhook-id"] == "msg_1"


async def test_a_receiver_that_must_not_be_called_is_not(webhooks: MemoryWebhooks, make_engine: MakeEngine) -> None:
    receiver = await make_engine(taken)
    bad = owed(receiver, "output", url=f"http://localhost:{receiver.port}/")
    await webhooks.post([bad])
    async with delivering(webhooks) as outcomes:
        await until(lambda: "given_up" in outcomes)
    assert receiver.connections == 0


# ------------------------------------------------------------------ the operator's endpoints


def write(path: Path, *endpoints: dict[str, Any]) -> str:
    path.write_text(json.dumps(endpoints))
    return str(path)


async def test_openais_own_client_unwraps_events(
    webhooks: MemoryWebhooks, make_engine: MakeEngine, tmp_path: Path
) -> None:
    receiver, other, secret = await make_engine(taken), await make_engine(taken), new_secret()
    url = "http://127.0.0.1:{}/"
    file = write(
        tmp_path / "endpoints.json",
        {"name": "all", "url": url.format(receiver.port), "secrets": [secret, new_secret()]},
        {"name": "some", "url": url.format(other.port), "secrets": [secret], "events": ["batch.failed"]},
    )
    kinds = sorted(f"batch.{end}" for end in ("completed", "failed", "expired", "cancelled"))
    kinds += sorted(f"response.{end}" for end in ("completed", "failed", "cancelled", "incomplete"))
    async with delivering(webhooks, file):
        for kind in kinds:
            await webhooks.announce(Event(kind, f"id-of-{kind}", time.time()))
        await until(lambda: len(receiver.seen) == len(kinds) and len(other.seen) == 1)
    client = openai.OpenAI(api_key="none", webhook_secret=secret)
    events: list[Any] = [client.webhooks.unwrap(seen.body, headers(seen)) for seen in receiver.seen]
    assert sorted(event.type for event in events) == kinds
    assert all(event.data.id == f"id-of-{event.type}" and event.object == "event" for event in events)
    assert {headers(seen)["webhook-id"] for seen in receiver.seen} == {event.id for event in events}
    assert other.seen[0].json["type"] == "batch.failed"
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(receiver.seen[0].body + b" ", headers(receiver.seen[0]))


async def test_where_nobody_is_to_be_told_an_event_is_forgotten(webhooks: MemoryWebhooks) -> None:
    await webhooks.announce(Event("batch.completed", "b1", time.time()))
    left: list[Event] = []

    def look(event: Event) -> list[Delivery]:
        left.append(event)
        return []

    async with delivering(webhooks):
        await until(lambda: not webhooks._events)
    assert await webhooks.spread(look, 10) == 0


async def test_the_file_is_read_again_when_it_changes_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    file, secret = tmp_path / "endpoints.json", new_secret()
    endpoints = Endpoints(write(file, {"name": "a", "url": "https://a.example/", "secrets": [secret]}), ALLOWED)
    await endpoints.refresh(0.0)
    assert endpoints.find("a") is not None
    write(file, {"name": "b", "url": "https://b.example/", "secrets": [secret]})
    await endpoints.refresh(1.0)
    assert endpoints.find("a") is not None
    await endpoints.refresh(11.0)
    assert (endpoints.find("a"), endpoints.find("b") is not None) == (None, True)
    file.write_text("[")
    await endpoints.refresh(22.0)
    assert endpoints.find("b") is not None


SECRET = "whsec_" + "YQ==" * 8
GOOD = {"name": "a", "url": "https://a.example/", "secrets": [SECRET]}


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ({}, "write"),
        ([{"name": "a"}], "write"),
        ([{**GOOD, "secret": "x"}], "write"),
        ([GOOD, GOOD], "two endpoints"),
        ([{**GOOD, "name": ""}], "or none"),
        ([{**GOOD, "secrets": []}], "no secrets"),
        ([{**GOOD, "secrets": ["whsec_"]}], "is not whsec_"),
        ([{**GOOD, "events": ["batch.done"]}], "batch.completed"),
        ([{**GOOD, "url": "ftp://a.example/"}], "'a': "),
        ([{**GOOD, "url": "https://169.254.169.254/"}], "metadata"),
        ([{**GOOD, "name": str(n)} for n in range(33)], "32 are the most"),
    ],
)
def test_what_is_wrong_in_the_file_is_told(listed: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parsed(json.dumps(listed).encode(), ALLOWED)


def test_the_operators_own_may_be_in_the_cluster() -> None:
    inside = {**GOOD, "url": "http://hooks.team.svc:8080/"}
    assert parsed(json.dumps([inside]).encode(), Receivers())["a"][1].trusted
