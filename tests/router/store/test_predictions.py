"""Predictions: kept, listed, held by one router, taken over, ended once; on every backend alike."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dormouse_router.notifying import Webhooks
from dormouse_router.predicting import CANCELED, PROCESSING, STARTING, SUCCEEDED, Predictions, StoredPrediction
from dormouse_router.request import Refusal
from dormouse_router.store.memory_predictions import MemoryPredictions, MemoryWebhooks
from dormouse_router.store.predictions import SqlPredictions
from dormouse_router.store.webhooks import SqlWebhooks
from tests.router.store.conftest import SLOW, prepared
from tests.router.store.test_webhooks import NOW, owed

ONE = StoredPrediction("p1", "ann", NOW, STARTING, b'{"input":1}', b"{}", NOW + 1000)
HERE, THERE, MOST = "router-1", "router-2", 3
Store = tuple[Predictions, Webhooks]


@pytest.fixture(params=["memory", "sqlite", SLOW])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        webhooks = MemoryWebhooks()
        yield MemoryPredictions(webhooks, lambda: NOW), webhooks
        return
    async with prepared(request, tmp_path) as database:
        yield SqlPredictions(database, lambda: NOW), SqlWebhooks(database)


async def test_it_is_its_owners_until_it_expires(store: Store) -> None:
    predictions, _ = store
    await predictions.add(ONE, HERE, NOW + 30, MOST)
    await predictions.add(replace(ONE, id="p2", expires_at=NOW), HERE, NOW + 30, MOST)
    assert await predictions.get("p1", "ann") == ONE
    assert await predictions.get("p1", "bob") is None
    assert await predictions.get("p2", "ann") is None
    assert await predictions.get("p\0\ud800", "ann") is None
    assert await predictions.page("ann", None, 10) == ([ONE], False)


async def test_a_list_goes_on_where_a_page_ended(store: Store) -> None:
    predictions, _ = store
    for number in range(5):
        await predictions.add(replace(ONE, id=f"p{number}", created_at=NOW + number // 2), HERE, NOW, 10)
    await predictions.add(replace(ONE, id="other", owner="bob"), HERE, NOW, 10)
    first, more = await predictions.page("ann", None, 2)
    assert ([each.id for each in first], more) == (["p4", "p3"], True)
    rest, more = await predictions.page("ann", (first[-1].created_at, first[-1].id), 3)
    assert ([each.id for each in rest], more) == (["p2", "p1", "p0"], False)


async def test_a_page_of_large_ones_is_short(store: Store) -> None:
    predictions, _ = store
    for number in range(3):
        large = replace(ONE, id=f"p{number}", body=bytes(5_000_000), created_at=NOW + number)
        await predictions.add(large, HERE, NOW, 10)
    first, more = await predictions.page("ann", None, 10)
    assert ([each.id for each in first], more) == (["p2"], True)


async def test_an_owner_has_so_many_unfinished_ones_and_no_more(store: Store) -> None:
    predictions, _ = store
    for number in range(MOST):
        await predictions.add(replace(ONE, id=f"p{number}"), None, NOW, MOST)
    with pytest.raises(Refusal) as refused:
        await predictions.add(replace(ONE, id="more"), HERE, NOW, MOST)
    assert refused.value.status == 429
    await predictions.add(replace(ONE, id="bobs", owner="bob"), HERE, NOW, MOST)
    assert await predictions.end(replace(ONE, id="p0", status=CANCELED))
    await predictions.add(replace(ONE, id="more"), HERE, NOW, MOST)


async def test_what_nobody_holds_is_claimed_once_oldest_first(store: Store) -> None:
    predictions, _ = store
    await predictions.add(replace(ONE, id="young", created_at=NOW + 1), None, NOW, MOST)
    await predictions.add(replace(ONE, id="old"), None, NOW, MOST)
    await predictions.add(replace(ONE, id="held"), THERE, NOW + 30, MOST)
    [first] = await predictions.claim(HERE, NOW, NOW + 30, 1)
    assert (first.id, first.token) == ("old", 1)
    assert [each.id for each in await predictions.claim(THERE, NOW, NOW + 30, 5)] == ["young"]
    assert await predictions.claim(HERE, NOW, NOW + 30, 5) == []


async def test_who_renews_keeps_it_and_who_does_not_loses_it_and_its_say(store: Store) -> None:
    predictions, _ = store
    await predictions.add(ONE, HERE, NOW + 30, MOST)
    assert await predictions.renew(HERE, NOW + 60) == {"p1": 0}
    assert await predictions.claim(THERE, NOW + 59, NOW + 90, 5) == []
    [taken] = await predictions.claim(THERE, NOW + 60, NOW + 90, 5)
    assert await predictions.renew(HERE, NOW + 99) == {}
    assert not await predictions.keep(replace(ONE, status=SUCCEEDED, body=b"late"))
    assert await predictions.keep(replace(taken, status=PROCESSING, body=b"now"))
    found = await predictions.get("p1", "ann")
    assert found is not None
    assert (found.status, found.body) == (PROCESSING, b"now")


async def test_it_ends_once_and_with_its_end_its_receiver_is_owed_a_word(store: Store) -> None:
    predictions, webhooks = store
    await predictions.add(ONE, HERE, NOW + 30, MOST)
    assert await predictions.keep(replace(ONE, status=SUCCEEDED, body=b"done"), [owed()])
    assert not await predictions.keep(replace(ONE, status=PROCESSING), [owed()])
    assert not await predictions.end(replace(ONE, status=CANCELED), [owed()])
    assert len(await webhooks.claim(NOW, NOW + 30, 8)) == 1
    assert await predictions.renew(HERE, NOW + 60) == {}
    assert await predictions.claim(THERE, NOW + 900, NOW + 990, 5) == []
    found = await predictions.get("p1", "ann")
    assert found is not None
    assert found.body == b"done"


async def test_who_cancels_need_not_hold_it(store: Store) -> None:
    predictions, _ = store
    await predictions.add(ONE, THERE, NOW + 30, MOST)
    assert not await predictions.end(replace(ONE, owner="bob", status=CANCELED))
    assert await predictions.end(replace(ONE, status=CANCELED, body=b"canceled"))
    assert await predictions.renew(THERE, NOW + 60) == {}
    assert not await predictions.keep(replace(ONE, status=SUCCEEDED))


async def test_a_router_that_stops_lets_go_at_once(store: Store) -> None:
    predictions, _ = store
    await predictions.add(ONE, HERE, NOW + 30, MOST)
    await predictions.add(replace(ONE, id="p2"), THERE, NOW + 30, MOST)
    await predictions.release(HERE)
    assert [each.id for each in await predictions.claim(THERE, NOW, NOW + 30, 5)] == ["p1"]
