"""Webhooks that are owed: claimed by one, kept until they arrived, superseded; secrets; on every backend alike."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dormouse_router.notifying import Delivery, Event, Webhooks
from dormouse_router.store.database import Database
from dormouse_router.store.memory_predictions import MemoryWebhooks
from dormouse_router.store.outbox import announce
from dormouse_router.store.webhooks import SqlWebhooks
from tests.router.store.conftest import SLOW, NewUrl, prepared

NOW = 1_700_000_000.0


def owed(kind: str = "completed", **fields: object) -> Delivery:
    values = {
        "message_id": "msg_1",
        "owner": "ann",
        "endpoint": "",
        "url": "https://hooks.example/a",
        "host": "hooks.example",
        "kind": kind,
        "subject": "p1",
        "body": b"{}",
        "created_at": NOW,
        "due_at": NOW,
        "expires_at": NOW + 1000,
        "final": kind == "completed",
    }
    return Delivery(**(values | fields))  # type: ignore[arg-type]


@pytest.fixture(params=["memory", "sqlite", SLOW])
async def webhooks(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Webhooks]:
    if request.param == "memory":
        yield MemoryWebhooks()
        return
    async with prepared(request, tmp_path) as database:
        yield SqlWebhooks(database)


async def test_a_delivery_is_claimed_by_one_and_forgotten_when_it_arrived(webhooks: Webhooks) -> None:
    delivery = owed(body=bytes(range(256)))
    await webhooks.post([delivery])
    assert await webhooks.claim(NOW - 1, NOW + 30, 8) == []
    [claimed] = await webhooks.claim(NOW, NOW + 30, 8)
    assert claimed == replace(delivery, due_at=NOW + 30, attempts=1)
    assert await webhooks.claim(NOW + 29, NOW + 60, 8) == []
    await webhooks.arrived(claimed)
    assert await webhooks.claim(NOW + 500, NOW + 530, 8) == []


async def test_who_died_while_trying_is_not_waited_for_and_has_no_say_any_more(webhooks: Webhooks) -> None:
    await webhooks.post([owed()])
    [first] = await webhooks.claim(NOW, NOW + 30, 8)
    [second] = await webhooks.claim(NOW + 30, NOW + 60, 8)
    assert (second.id, second.message_id, second.attempts) == (first.id, first.message_id, 2)
    await webhooks.arrived(first)
    await webhooks.again(first, NOW + 31)
    assert await webhooks.claim(NOW + 31, NOW + 61, 8) == []
    await webhooks.again(second, NOW + 100)
    assert [each.attempts for each in await webhooks.claim(NOW + 100, NOW + 130, 8)] == [3]


async def test_the_longest_due_first_and_none_for_busy_hosts_nor_subjects(webhooks: Webhooks) -> None:
    hosts = ["a.example", "b.example", "c.example"]
    await webhooks.post([owed(subject=f"p{n}", host=host, due_at=NOW - n) for n, host in enumerate(hosts)])
    claimed = await webhooks.claim(NOW, NOW + 30, 8, hosts=["a.example"], subjects=["p2"])
    assert [each.host for each in claimed] == ["b.example"]
    assert [each.host for each in await webhooks.claim(NOW, NOW + 30, 1)] == ["c.example"]
    assert [each.host for each in await webhooks.claim(NOW, NOW + 30, 1)] == ["a.example"]


async def test_nobody_tries_what_has_expired(webhooks: Webhooks) -> None:
    await webhooks.post([owed(expires_at=NOW + 10)])
    assert await webhooks.claim(NOW + 10, NOW + 40, 8) == []


async def test_output_that_nobody_was_sent_yet_makes_way_and_nothing_else_does(webhooks: Webhooks) -> None:
    await webhooks.post([owed("start")])
    await webhooks.post([owed("output")])
    await webhooks.post([owed("output", subject="p2")])
    [tried] = await webhooks.claim(NOW, NOW + 30, 8, subjects=["p1"])
    assert tried.subject == "p2"
    await webhooks.again(tried, NOW)
    await webhooks.post([owed("logs")])
    await webhooks.post([owed("completed"), owed("completed", subject="p2")])
    left = await webhooks.claim(NOW, NOW + 30, 8)
    assert sorted((each.subject, each.kind) for each in left) == [
        ("p1", "completed"),
        ("p1", "start"),
        ("p2", "completed"),
        ("p2", "output"),
    ]


def addressed(event: Event) -> Sequence[Delivery]:
    body = json.dumps({"type": event.kind}).encode()
    return [
        owed(event.kind, message_id=event.id, subject=event.subject, endpoint=name, body=body) for name in ("a", "b")
    ]


async def test_an_event_becomes_a_delivery_for_each_endpoint_once(webhooks: Webhooks) -> None:
    event = Event("batch.completed", "batch_1", NOW)
    await webhooks.announce(event)
    assert await webhooks.spread(addressed, 10) == 1
    assert await webhooks.spread(addressed, 10) == 0
    claimed = await webhooks.claim(NOW, NOW + 30, 8)
    assert sorted((each.endpoint, each.message_id) for each in claimed) == [("a", event.id), ("b", event.id)]


async def test_an_owners_secret_is_made_once_and_rotated(webhooks: Webhooks) -> None:
    keys = await webhooks.keys("ann")
    assert await webhooks.keys("ann") == keys
    assert (await webhooks.keys("bob")).current != keys.current
    rotated = await webhooks.rotate("ann", NOW + 10)
    assert await webhooks.keys("ann") == rotated
    assert rotated.signing(NOW) == [rotated.current, keys.current]
    assert rotated.signing(NOW + 10) == [rotated.current]
    third = await webhooks.rotate("ann", NOW + 20)
    assert third.signing(NOW) == [third.current, rotated.current, keys.current]


async def test_two_who_ask_first_get_the_same_secret(webhooks: Webhooks) -> None:
    found = await asyncio.gather(*(webhooks.keys("ann") for _ in range(4)))
    assert len({keys.current for keys in found}) == 1


async def test_what_is_announced_in_a_transaction_that_fails_is_not(new_url: NewUrl) -> None:
    database = Database(await new_url())
    await database.prepare()
    webhooks = SqlWebhooks(database)

    async def fails() -> None:
        async with database.writing() as connection:
            await announce(connection, Event("batch.failed", "batch_1", NOW))
            raise LookupError

    with pytest.raises(LookupError):
        await fails()
    assert await webhooks.spread(addressed, 10) == 0
    async with database.writing() as connection:
        await announce(connection, Event("batch.failed", "batch_2", NOW))
    assert await webhooks.spread(addressed, 10) == 1
    await database.close()


@pytest.mark.slow
async def test_many_routers_claim_each_delivery_once(new_url: NewUrl) -> None:
    url = await new_url()
    routers = [Database(url) for _ in range(3)]
    for database in routers:
        await database.prepare()
    await SqlWebhooks(routers[0]).post([owed(subject=f"p{n}") for n in range(60)])

    async def all_of(database: Database) -> list[str]:
        found: list[str] = []
        while claimed := await SqlWebhooks(database).claim(NOW, NOW + 30, 5):
            found += [each.id for each in claimed]
        return found

    found = await asyncio.gather(*(all_of(database) for database in routers))
    ids = [ident for each in found for ident in each]
    assert len(ids) == len(set(ids)) == 60
    for database in routers:
        await database.close()
