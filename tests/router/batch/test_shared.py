"""Two workers and two routers over one PostgreSQL, one bucket and one Redis: no line is asked twice."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from dev import objectstore
from dormouse_router.batch.lifecycle import Status
from dormouse_router.store import open_store
from tests.router.batch.site import Site, ids, lines
from tests.router.conftest import MakeEngine
from tests.router.fakes import SETTINGS, Exchange, speak, stage
from tests.router.store.conftest import postgres as postgres
from tests.router.store.conftest import redis as redis
from tests.router.store.servers import Postgres

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bucket() -> Iterator[objectstore.Keys]:
    with objectstore.running() as keys:
        yield keys


@pytest.fixture
async def places(
    postgres: Postgres, redis: str, bucket: objectstore.Keys, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Site]]:
    """Two routers, each with a connection of its own to everything that they share."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.secret_access_key)
    shared: dict[str, Any] = {
        "database_url": await postgres.new_database(),
        "files": f"s3://{objectstore.BUCKET}/batches",
        "files_endpoint": f"http://127.0.0.1:{bucket.port}",
        "files_region": objectstore.REGION,
        "sessions": redis,
    }
    chosen = replace(SETTINGS, **shared)
    async with (
        open_store(chosen) as one,
        open_store(chosen) as other,
        stage(one, **shared) as first,
        stage(other, **shared) as second,
    ):
        made = [Site(first, one, chosen), Site(second, other, chosen)]
        try:
            yield made
        finally:
            for place in made:
                await place.dismiss()


async def test_no_line_is_asked_twice(places: list[Site], make_engine: MakeEngine) -> None:
    asked: Counter[str] = Counter()

    async def soon(exchange: Exchange) -> None:
        asked[exchange.json["messages"][0]["content"]] += 1
        await asyncio.sleep(0.01)
        await speak(exchange)

    engine = await make_engine(soon)
    for number, place in enumerate(places):
        await place.world.awake(engine)
        place.hire(in_flight=16, name=number)
    batches = [await place.create(lines(900)) for place in places]
    for place, batch in zip(places, batches, strict=True):
        (await place.ended(batch)).check(Status.COMPLETED, ids(900))
    assert set(asked.values()) == {2}, "each line of either batch once"
    counted = [crew.lanes["tiny"].numbers.lines["completed"] for place in places for crew, _, _ in place.crews]
    assert sum(counted) == 1800
    assert min(counted) > 0, "both have worked"
