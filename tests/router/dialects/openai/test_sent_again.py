"""`Idempotency-Key` of POST /v1/models: sent again, to this router or another, it makes nothing again."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.router.dialects.openai.test_registering import KEY, OTHER
from tests.router.fakes import Stage, stage, until

KEYED = {"idempotency-key": "once"}


@pytest.fixture
async def owner(world: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=world.url, headers={"authorization": f"Bearer {KEY}"}, timeout=20) as made:
        yield made


async def test_what_is_sent_again_makes_nothing_again(world: Stage, owner: httpx.AsyncClient) -> None:
    wish = {"id": "mine", "source": "org/x", "aliases": ["own"]}
    first, again = [await owner.post("/v1/models", json=wish, headers=KEYED) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201), again.text
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert len(world.cluster.created) == 1
    other = await owner.post("/v1/models", json=wish | {"revision": "v2"}, headers=KEYED)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")
    assert other.json()["error"]["param"] == "Idempotency-Key"
    without = await owner.post("/v1/models", json=wish)
    assert (without.status_code, without.json()["error"]["code"]) == (409, "conflict")
    # another's key of the same name is another key
    theirs = await owner.post("/v1/models", json={"id": "a/b"}, headers=KEYED | {"authorization": f"Bearer {OTHER}"})
    assert theirs.status_code == 201
    # and once the model is gone it may be made anew
    assert (await owner.delete("/v1/models/mine")).status_code == 200
    await until(lambda: world.router.catalog.find("mine") is None)
    assert (await owner.post("/v1/models", json=wish, headers=KEYED)).status_code == 201


async def test_what_another_router_made_of_it_a_moment_ago_is_the_answer(
    owner: httpx.AsyncClient, world: Stage
) -> None:
    """Both have looked before either has made it: the API server takes one, and the other hears of it."""
    wish = {"id": "mine", "source": "org/x"}
    async with (
        stage(cluster=world.cluster) as beside,
        httpx.AsyncClient(base_url=beside.url, headers=dict(owner.headers), timeout=20) as client,
    ):
        posts = [each.post("/v1/models", json=wish, headers=KEYED) for each in (owner, client) for _ in range(4)]
        answers = await asyncio.gather(*posts)
    assert [answer.status_code for answer in answers] == [201] * 8
    assert len(world.cluster.created) == 1
    assert len({answer.json()["name"] for answer in answers}) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9"])
async def test_what_is_no_key_is_refused(world: Stage, owner: httpx.AsyncClient, key: str) -> None:
    headers = [(b"idempotency-key", key.encode())]
    answer = await owner.post("/v1/models", json={"id": "a/b"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Idempotency-Key")
    assert world.cluster.created == []
