"""Asking for fresh runtime pods."""

from typing import Any

import httpx
import pytest

from dormouse_api.names import ANNOTATION_RESTARTED
from tests.router.dialects import engines
from tests.router.dialects.records import condition, known_status, model
from tests.router.fakes import Engine, Stage, stage, until


def mark(world: Stage, name: str) -> str | None:
    return world.cluster.annotations.get(("default", f"{name}-runtime"), {}).get(ANNOTATION_RESTARTED)


@pytest.mark.parametrize("name", ["tiny-chat", "tiny", "Org/Tiny", "default/tiny-chat", "tiny:latest"])
async def test_pods_are_replaced(world: Stage, client: httpx.AsyncClient, serving: Engine, name: str) -> None:
    answer = await client.post(f"/models/{name}/reload")
    told = answer.json()
    assert (answer.status_code, told["status"], told["model"]) == (202, "reloading", "tiny-chat")
    assert (told["watch"], told["in_flight"]) == ("/models/default/tiny-chat", 0)
    assert mark(world, "tiny-chat") == told["requested_at"]
    assert "loaded_at is later than requested_at" in told["message"]
    assert (await client.get(told["watch"])).status_code == 200
    assert world.cluster.writes == []


async def test_each_time_is_later_than_the_one_before(world: Stage, client: httpx.AsyncClient, serving: Engine) -> None:
    first = (await client.post("/models/tiny/reload")).json()["requested_at"]
    second = (await client.post("/models/tiny/reload", content=b"{}")).json()["requested_at"]
    assert second > first
    assert mark(world, "tiny-chat") == second


def state(status: str, reason: str, **more: Any) -> dict[str, Any]:
    return known_status(conditions=[condition("Ready", status, reason, "because")], **more)


@pytest.mark.parametrize(
    ("status", "code", "word", "marked"),
    [
        (state("True", "ScaledToZero", replicas=0), 200, "asleep", False),
        (state("True", "ScaledToZero"), 200, "asleep", False),
        (state("True", "Waking", replicas=1), 202, "reloading", True),
        (state("False", "EngineFailed", replicas=1), 202, "reloading", True),
        (state("False", "EngineFailed", replicas=0), 409, None, False),
        (state("False", "Pulling"), 409, None, False),
        (state("False", "Gated"), 409, None, False),
        ({}, 409, None, False),
    ],
)
async def test_only_what_runs_is_reloaded(
    world: Stage, client: httpx.AsyncClient, status: dict[str, Any], code: int, word: str | None, marked: bool
) -> None:
    world.cluster.add_model(model(status=status))
    await engines.known(world)
    answer = await client.post("/models/tiny-chat/reload")
    assert (answer.status_code, answer.json().get("status"), mark(world, "tiny-chat") is not None) == (
        code,
        word,
        marked,
    )
    if word == "asleep":
        assert "the next start is fresh" in answer.json()["message"]
    if code == 409:
        assert "nothing of default/tiny-chat runs" in answer.json()["error"]
    assert (world.cluster.writes, world.cluster.reads) == ([], 0)


async def test_a_route_is_not_reloaded_but_its_models_are_named(
    world: Stage, client: httpx.AsyncClient, serving: Engine
) -> None:
    world.cluster.add_route("over", ("tiny-chat", 1), ("other", 1))
    await until(lambda: world.router.catalog.find_route("over") is not None)
    answer = await client.post("/models/over/reload")
    assert answer.status_code == 400
    assert "tiny-chat, other" in answer.json()["error"]
    assert world.cluster.annotations == {}


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("POST", "/models/nobody/reload", 404, "there is no model"),
        ("POST", "/models/tiny", 405, "is not allowed here: use GET"),
        ("POST", "/models", 405, "is not allowed here"),
        ("DELETE", "/models/tiny", 405, "is not allowed here"),
        ("PUT", "/models/tiny/reload", 405, "is not allowed here"),
        ("POST", "/models/tiny/restart", 405, "is not allowed here"),
    ],
)
async def test_errors(
    world: Stage, client: httpx.AsyncClient, serving: Engine, method: str, path: str, status: int, words: str
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert world.cluster.annotations == {}


async def test_a_model_that_nobody_has_looked_at(world: Stage, client: httpx.AsyncClient) -> None:
    """It has no Lease yet."""
    world.cluster.add_model(model(status=state("True", "Serving", replicas=1)), lease=False)
    await engines.known(world)
    answer = await client.post("/models/tiny-chat/reload")
    assert answer.status_code == 404


async def test_a_router_that_may_not() -> None:
    async with stage(reload=False) as world, httpx.AsyncClient(base_url=world.url) as client:
        world.cluster.add_model(model(status=state("True", "Serving", replicas=1)))
        await engines.known(world)
        answer = await client.post("/models/tiny-chat/reload")
        assert (answer.status_code, world.cluster.annotations) == (403, {})
        assert "switched off" in answer.json()["error"]


async def test_an_api_server_that_is_away(world: Stage, client: httpx.AsyncClient, serving: Engine) -> None:
    world.cluster.break_down()
    answer = await client.post("/models/tiny/reload")
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    world.cluster.come_back()
