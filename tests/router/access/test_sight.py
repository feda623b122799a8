"""Models that not everybody sees, in every dialect: in lists, by name and in calls as if they were not there."""

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from dormouse_api.access import Visibility
from dormouse_router.access.rules import ANYBODY, ROUTER
from dormouse_router.caller import Caller, Role
from dormouse_router.catalog.catalog import Catalog
from dormouse_router.catalog.record import Record, record_from
from dormouse_router.catalog.routes import route_from
from dormouse_router.cluster import Resource
from dormouse_router.dataplane.sight import Sight
from dormouse_router.settings import Settings
from tests.router.dialects import engines
from tests.router.dialects.records import known_status, model
from tests.router.fakes import Stage, route, stage, until

KEY, OTHER_KEY, ADMIN_KEY = "sk-mine", "sk-other", "sk-admin"


def owner(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


ME = Caller("anonymous", owner(KEY), Role.USER)
OTHER = Caller("anonymous", owner(OTHER_KEY), Role.USER)
MINE = {"visibility": Visibility.PRIVATE.value, "owner": owner(KEY)}
THEIRS = {"visibility": Visibility.PRIVATE.value, "owner": owner(OTHER_KEY)}


def sight(*objects: dict[str, Any]) -> Sight:
    catalog = Catalog()
    for obj in objects:
        if "variants" in obj["spec"]:
            catalog.routes.put(route_from(obj))
        else:
            catalog.put(record_from(obj))
    return Sight(catalog)


def meant(seen: Sight, name: str, *, exact: bool = True) -> list[str | None]:
    """What `name` means to me, to somebody else, to anybody and to the router."""
    callers = (ME, OTHER, ANYBODY, ROUTER)
    found = [seen.find(name, caller, exact=exact) for caller in callers]
    return [None if one is None else one.name for one in found]


@pytest.mark.parametrize("exact", [True, False])
def test_a_private_model_takes_its_names_from_nobody_who_does_not_see_it(exact: bool) -> None:
    first = model("first", created="2026-01-01T00:00:00Z", aliases=["smart", "only"], access=MINE)
    second = model("second", created="2026-02-01T00:00:00Z", aliases=["smart"], access=THEIRS)
    third = model("third", created="2026-03-01T00:00:00Z", aliases=["smart"])
    seen = sight(first, second, third)
    assert meant(seen, "smart", exact=exact) == ["first", "second", "third", "first"]
    assert meant(seen, "smart:latest", exact=exact) == ["first", "second", "third", "first"]
    assert meant(seen, "only", exact=exact) == ["first", None, None, "first"]
    assert meant(seen, "third", exact=exact) == ["third"] * 4
    assert seen.plain("smart", exact=exact) is None
    assert seen.plain("third", exact=exact) is not None


def test_a_public_model_that_is_older_keeps_its_name() -> None:
    seen = sight(
        model("first", created="2026-01-01T00:00:00Z", aliases=["smart"]),
        model("second", created="2026-02-01T00:00:00Z", aliases=["smart"], access=MINE),
    )
    assert meant(seen, "smart") == ["first"] * 4


def test_a_route_is_as_visible_as_the_models_behind_it() -> None:
    seen = sight(
        model("open"),
        model("hidden", access=MINE),
        route("plain", ("open", 1)),
        route("mixed", ("open", 9), ("hidden", 1)),
        route("rescued", ("open", 1), fallback=["hidden"]),
        route("dangling", ("nobody", 1)),
    )
    assert meant(seen, "plain") == ["plain"] * 4
    assert meant(seen, "mixed") == ["mixed", None, None, "mixed"]
    assert meant(seen, "rescued") == ["rescued", None, None, "rescued"]
    assert meant(seen, "dangling") == ["dangling"] * 4


def test_adapters_are_as_visible_as_their_model() -> None:
    adapters = [{"name": "polite", "source": {"uri": "hf://org/lora"}}]
    seen = sight(model("base", adapters=adapters, access=MINE))
    assert meant(seen, "base:polite") == ["base", None, None, "base"]


def test_what_is_seen_follows_the_catalogue() -> None:
    catalog = Catalog()
    catalog.put(record_from(model("tiny", aliases=["smart"])))
    catalog.routes.put(route_from(route("over", ("tiny", 1))))
    seen = Sight(catalog)
    for access, others in ((None, True), (MINE, False), (THEIRS, True), (None, True)):
        catalog.put(record_from(model("tiny", aliases=["smart"], access=access)))
        expected = ["tiny" if access in (None, THEIRS) else None, "over" if access in (None, THEIRS) else None]
        assert [meant(seen, "smart")[1], meant(seen, "over")[1]] == expected
        assert (seen.find("smart", OTHER, exact=True) is not None) is others
        assert (seen.find("smart", ANYBODY, exact=True) is not None) is (access is None)
    catalog.drop(("default", "tiny"))
    assert meant(seen, "smart") == [None] * 4


# ---------------------------------------------------------------------------------------------------- every dialect

SAID = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
CALLS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("POST", "/v1/chat/completions", {"model": "secret", **SAID}),
    ("POST", "/v1/completions", {"model": "secret", "prompt": "hi"}),
    ("POST", "/v1/embeddings", {"model": "secret", "input": "hi"}),
    ("POST", "/v1/responses", {"model": "secret", "input": "hi"}),
    ("POST", "/v1/messages", {"model": "secret", **SAID}),
    ("POST", "/v1/messages/count_tokens", {"model": "secret", "messages": SAID["messages"]}),
    ("POST", "/v1/images/generations", {"model": "secret", "prompt": "a cat"}),
    ("POST", "/v1/rerank", {"model": "secret", "query": "x", "documents": ["y"]}),
    ("POST", "/tokenize", {"model": "secret", "prompt": "x"}),
    ("POST", "/api/chat", {"model": "secret", **SAID}),
    ("POST", "/api/generate", {"model": "secret", "prompt": "hi"}),
    ("POST", "/api/embed", {"model": "secret", "input": "hi"}),
    ("POST", "/api/embeddings", {"model": "secret", "prompt": "hi"}),
    ("POST", "/api/show", {"model": "secret"}),
    ("POST", "/api/copy", {"source": "secret", "destination": "stolen"}),
    ("POST", "/api/create", {"model": "stolen", "from": "secret"}),
    ("DELETE", "/api/delete", {"model": "secret"}),
    ("POST", "/chat", {"model": "secret", "message": "hi"}),
    ("POST", "/models/secret/predict", {"input": {}}),
    ("POST", "/models/secret/reload", {}),
    ("GET", "/models/secret", {}),
    ("GET", "/models/default/secret", {}),
    ("GET", "/jobs/default.secret", {}),
    ("DELETE", "/jobs/default.secret", {}),
    ("GET", "/v1/models/secret", {}),
    ("GET", "/v1/models/secret-way", {}),
    ("POST", "/v1/chat/completions", {"model": "secret-way", **SAID}),
    ("DELETE", "/v1/models/secret", {}),
)
LISTS = ("/v1/models", "/api/tags", "/api/ps", "/models", "/jobs", "/status", "/diag", "/metrics/gpu")


@pytest.fixture
async def hidden() -> AsyncIterator[Stage]:
    """A router with one private model that sleeps, another that is awake, and a route over the first."""
    async with stage(admins=frozenset({owner(ADMIN_KEY)})) as world:
        world.cluster.add_model(model("secret", access=MINE, status=known_status()))
        world.cluster.add_model(model("secret-too", access=MINE, status=known_status()))
        world.cluster.add_route("secret-way", ("secret", 1))
        await engines.known(world, "secret")
        await engines.known(world, "secret-too")
        await until(lambda: world.router.catalog.find_route("secret-way") is not None)
        yield world


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


def _nobody(text: str) -> str:
    return text.replace("secret", "nobody")


@pytest.mark.parametrize("key", ["", OTHER_KEY])
async def test_for_others_it_is_not_there(hidden: Stage, key: str) -> None:
    headers = bearer(key) | {"x-request-id": "same"}
    async with httpx.AsyncClient(base_url=hidden.url, headers=headers, timeout=20) as client:
        for method, path, body in CALLS:
            told, absent = [
                await client.request(method, name(path), content=name(json.dumps(body)) if body else None)
                for name in (str, _nobody)
            ]
            assert told.status_code == 404, f"{method} {path}: {told.status_code} {told.text}"
            assert _nobody(told.text) == absent.text, f"{method} {path} tells it from one that is not there"
        for path in LISTS:
            answer = await client.get(path)
            assert answer.status_code == 200
            assert "secret" not in answer.text, path
    assert hidden.cluster.writes == []
    assert len(hidden.cluster.objects[Resource.MODELS]) == 2


@pytest.mark.parametrize("key", [KEY, ADMIN_KEY])
async def test_for_its_owner_and_administrators_it_is(hidden: Stage, key: str) -> None:
    async with httpx.AsyncClient(base_url=hidden.url, headers=bearer(key), timeout=20) as client:
        for path in ("/v1/models", "/api/tags", "/models", "/jobs", "/status"):
            assert "secret" in (await client.get(path)).text, path
        for path in ("/v1/models/secret", "/v1/models/secret-way", "/models/secret", "/jobs/default.secret"):
            assert (await client.get(path)).status_code == 200
        assert (await client.post("/api/show", json={"model": "secret-way"})).status_code == 200
        held = await client.post(
            "/v1/chat/completions", json={"model": "secret", **SAID}, headers={"x-dormouse-hold-seconds": "0"}
        )
        assert held.status_code == 503, "it begins to wake"
        assert (await client.delete("/v1/models/secret-way")).status_code == 200
        await until(lambda: hidden.router.catalog.find_route("secret-way") is None)
        assert (await client.delete("/v1/models/secret")).status_code == 200


async def test_what_is_seen_but_anothers_is_neither_deleted_nor_restarted() -> None:
    async with stage() as world:
        world.cluster.add_model(model("shared", access={"owner": owner(KEY)}))
        await engines.known(world, "shared")
        async with httpx.AsyncClient(base_url=world.url, headers=bearer(OTHER_KEY)) as client:
            assert (await client.get("/v1/models/shared")).status_code == 200
            world.cluster.put(
                Resource.MODELS, model("shared", access={"owner": owner(KEY)}, status=known_status(replicas=1))
            )
            await until(lambda: record(world).status.replicas == 1)
            refused = await client.delete("/v1/models/shared")
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_the_owner")
            assert "the API key that it was made with" in refused.json()["error"]["message"]
            assert (await client.request("DELETE", "/api/delete", json={"model": "shared"})).status_code == 403
            assert (await client.post("/models/shared/reload")).status_code == 403
        assert world.cluster.deleted == []
        async with httpx.AsyncClient(base_url=world.url, headers={"x-api-key": KEY}) as client:
            assert (await client.delete("/v1/models/shared")).status_code == 200


def record(world: Stage) -> Record:
    found = world.router.catalog.find("shared")
    assert found is not None
    return found.record


@pytest.mark.parametrize(("path", "body"), [("/pull", {"model": "org/new"}), ("/api/pull", {"model": "org/new"})])
async def test_what_a_client_with_a_key_makes_is_its_own_and_everybody_sees_it(path: str, body: dict[str, Any]) -> None:
    async with stage() as world, httpx.AsyncClient(base_url=world.url, headers=bearer(KEY), timeout=20) as client:
        async with client.stream("POST", path, json=body):
            await until(lambda: bool(world.cluster.created))
        _, _, spec = world.cluster.created[0]
        assert spec["access"] == {"owner": owner(KEY), "visibility": "Public"}


async def test_a_name_that_is_anothers_secret_is_taken_and_no_more_is_said() -> None:
    async with stage() as world, httpx.AsyncClient(base_url=world.url, headers=bearer(OTHER_KEY), timeout=20) as client:
        world.cluster.add_model(model("org-new", access=MINE, source={"uri": "hf://org/new"}))
        await engines.known(world, "org-new")
        refused = await client.post("/pull", json={"model": "org/new"})
        assert (refused.status_code, refused.json()["error"]) == (409, 'the name "org-new" is taken: send another name')
        lines = (await client.post("/api/pull", json={"model": "org/new"})).text
        assert "is taken" in lines
        assert "success" not in lines


def keys() -> Iterator[tuple[str, bool]]:
    for text in ("x", "sk-123", "a" * 63, "g" * 64):
        yield text, False
    yield owner(KEY), True
    yield f"{owner(KEY)}, {owner(OTHER_KEY).upper()}\n", True


@pytest.mark.parametrize(("text", "good"), list(keys()))
def test_administrators_are_named_by_hashes_and_a_key_is_never_repeated(text: str, good: bool) -> None:
    if good:
        assert owner(KEY) in Settings.from_env({"DORMOUSE_ADMINS": text}).admins
        return
    with pytest.raises(ValueError, match="DORMOUSE_ADMINS takes SHA-256 hashes") as refused:
        Settings.from_env({"DORMOUSE_ADMINS": text})
    assert "sk-123" not in str(refused.value)
