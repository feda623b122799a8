"""Models in the lists, one by one, and deleted; completions that are not stored."""

from typing import Any

import httpx
import openai
import pytest

from dormouse_router.cluster import Resource
from tests.router.dialects import engines
from tests.router.dialects.records import known_status, model
from tests.router.fakes import Stage, route, stage, until


@pytest.fixture
async def sdk(world: Stage) -> Any:
    async with openai.AsyncOpenAI(
        base_url=f"{world.url}/v1", api_key="none", max_retries=0, _strict_response_validation=True
    ) as made:
        yield made


async def test_a_card_says_what_a_model_can(world: Stage, client: httpx.AsyncClient, sdk: openai.AsyncOpenAI) -> None:
    world.cluster.add_model(model(aliases=["Org/Tiny"], engine={"maxModelLen": 512}))
    world.cluster.add_model(model("vectors", status=known_status(capabilities=["embedding"], contextLength=256)))
    world.cluster.put(Resource.ROUTES, route("both", ("tiny-chat", 1), ("vectors", 1)))
    await engines.known(world)
    await until(lambda: world.router.catalog.find_route("both") is not None)
    cards = {card["id"]: card for card in (await client.get("/v1/models")).json()["data"]}
    assert list(cards) == ["vectors", "tiny-chat", "both"]
    assert cards["tiny-chat"] == {
        "id": "tiny-chat",
        "object": "model",
        "created": 1777629600,
        "owned_by": "dormouse",
        "max_model_len": 512,
        "context_length": 512,
        "capabilities": ["completion", "tools"],
        "state": "asleep",
        "visibility": "public",
    }
    assert (cards["vectors"]["context_length"], cards["vectors"]["capabilities"]) == (256, ["embedding"])
    assert (cards["both"]["context_length"], cards["both"]["capabilities"]) == (256, [])
    page = await sdk.models.list()
    assert (page.object, {listed.id for listed in page.data}) == ("list", set(cards))
    assert (await sdk.models.retrieve("Org/Tiny")).id == "Org/Tiny"
    for escaped in ("Org/Tiny", "Org%2FTiny", "default%2Ftiny-chat"):
        assert (await client.get(f"/v1/models/{escaped}")).json()["capabilities"] == ["completion", "tools"]
    assert world.cluster.reads == 0


async def test_a_list_without_models_is_a_list(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/models", headers={"x-request-id": "mine"})
    assert answer.json() == {"object": "list", "data": []}
    assert answer.headers["x-request-id"] == "mine"
    assert (await client.get("/v1/models")).headers["x-request-id"].startswith("req-")


@pytest.mark.parametrize("path", ["/v1/models/Org/Tiny", "/v1/models/Org%2FTiny", "/v1/models/tiny-chat"])
async def test_a_model_is_deleted(world: Stage, client: httpx.AsyncClient, path: str) -> None:
    world.cluster.add_model(model(aliases=["Org/Tiny"]))
    await engines.known(world)
    answer = await client.delete(path)
    name = path.removeprefix("/v1/models/").replace("%2F", "/")
    assert (answer.status_code, answer.json()) == (200, {"id": name, "object": "model", "deleted": True})
    await until(lambda: world.router.catalog.find("tiny-chat") is None)
    again = await client.delete(path)
    assert (again.status_code, again.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_model_that_a_route_needs_stays_and_the_route_goes(world: Stage, client: httpx.AsyncClient) -> None:
    world.cluster.add_model(model())
    world.cluster.put(Resource.ROUTES, route("best", ("tiny-chat", 1)))
    await engines.known(world)
    await until(lambda: world.router.catalog.find_route("best") is not None)
    refused = await client.delete("/v1/models/tiny-chat")
    assert (refused.status_code, refused.headers["x-should-retry"]) == (409, "false")
    assert refused.json()["error"]["code"] == "conflict"
    assert "default/best" in refused.json()["error"]["message"]
    assert (await client.delete("/v1/models/best")).json() == {"id": "best", "object": "model", "deleted": True}
    assert world.router.catalog.find_route("best") is None
    assert (await client.delete("/v1/models/tiny-chat")).status_code == 200


async def test_deleting_can_be_forbidden() -> None:
    async with stage(delete=False) as world, httpx.AsyncClient(base_url=world.url) as client:
        await world.asleep(model())
        answer = await client.delete("/v1/models/tiny-chat")
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "delete_forbidden")
        assert world.cluster.objects[Resource.MODELS]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/chat/completions"),
        ("GET", "/v1/chat/completions?limit=2"),
        ("GET", "/v1/chat/completions/chatcmpl-1"),
        ("POST", "/v1/chat/completions/chatcmpl-1"),
        ("DELETE", "/v1/chat/completions/chatcmpl-1"),
        ("GET", "/v1/chat/completions/chatcmpl-1/messages"),
    ],
)
async def test_there_are_no_stored_completions(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (404, "invalid_request_error", None)
    assert "not stored" in error["message"]


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing", "/v1/fine_tuning/jobs", "/v1/chat/completion"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_an_unknown_path_is_told_in_the_envelope(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path)
    error = answer.json()["error"]
    assert (answer.status_code, set(error)) == (404, {"message", "type", "param", "code"})
    assert (error["type"], error["code"]) == ("invalid_request_error", "unknown_url")
    assert path in error["message"]
