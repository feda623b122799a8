"""Lists, details, pulls and deletes over real sockets, by the unmodified SDK and by raw requests."""

import asyncio
import json
from typing import Any

import httpx
import ollama
import pytest

from dormouse_router.cluster import Resource
from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.records import condition, known_status, model
from tests.router.fakes import Stage, stage, until


def pulling(name: str, done: int, **spec: Any) -> dict[str, Any]:
    conditions = [condition("Ready", "False", "Pulling"), condition("ModelPulled", "False", "Pulling")]
    pull = {"stage": "fetching", "bytes": done, "total": 4_500_000, "bytesPerSecond": 9}
    return model(name, status=known_status(conditions=conditions, pull=pull, bytes=None), **spec)


# ---------------------------------------------------------------------------------------------------- lists


async def test_the_root_and_the_version(client: httpx.AsyncClient) -> None:
    for method in ("GET", "HEAD"):
        root = await client.request(method, "/")
        version = await client.request(method, "/api/version")
        assert (root.status_code, version.status_code) == (200, 200)
        assert root.headers["content-type"].startswith("text/plain")
    assert (await client.get("/")).text == "Ollama is running"
    assert [part.isdigit() for part in (await client.get("/api/version")).json()["version"].split(".")] == [True] * 3
    assert (await client.get("/api/status")).json()["cloud"]["disabled"] is True


async def test_an_empty_list_is_a_list(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/tags")).json() == {"models": []}
    assert (await client.get("/api/ps")).json() == {"models": []}
    assert (await client.head("/api/tags")).status_code == 200


async def test_the_sdk_lists_what_was_pulled(world: Stage, sdk: ollama.AsyncClient) -> None:
    world.cluster.add_model(model(aliases=["Org/Tiny"]))
    later = known_status(conditions=[*known_status()["conditions"][:1], condition("ModelPulled", "True", "Pulled")])
    later["conditions"][1]["lastTransitionTime"] = "2026-06-01T00:00:00Z"
    world.cluster.add_model(model("newer", status=later))
    world.cluster.add_model(pulling("unfinished", 7))
    await engines.known(world, "unfinished")
    listed = (await sdk.list()).models
    assert [entry.model for entry in listed] == ["newer:latest", "tiny-chat:latest", "Org/Tiny:latest"]
    assert all(len(entry.digest or "") == 64 and entry.modified_at and entry.details for entry in listed)
    assert listed[1].size == 4_500_000


async def test_the_sdk_shows_a_model(world: Stage, sdk: ollama.AsyncClient, client: httpx.AsyncClient) -> None:
    world.cluster.add_model(model())
    await engines.known(world)
    shown = await sdk.show("Tiny-Chat:latest")
    assert shown.modelinfo is not None
    assert shown.modelinfo["general.architecture"] == "llama"
    assert shown.capabilities == ["completion", "tools"]
    by_name = await client.post("/api/show", json={"name": "tiny-chat", "model": ""})
    assert by_name.json()["details"]["family"] == "llama"
    with pytest.raises(ollama.ResponseError) as missing:
        await sdk.show("nobody")
    assert (missing.value.status_code, "not found" in str(missing.value)) == (404, True)


async def test_only_what_is_awake_runs(world: Stage, sdk: ollama.AsyncClient, make_engine: MakeEngine) -> None:
    engine = await make_engine(engines.paris)
    world.cluster.add_model(model())
    world.cluster.add_model(model("asleep"))
    world.ready(engine, name="tiny-chat")
    await engines.awake(world)
    await engines.known(world, "asleep")
    [running] = (await sdk.ps()).models
    assert (running.model, running.size, running.size_vram, running.context_length) == (
        "tiny-chat:latest",
        4_500_000,
        0,
        2048,
    )
    assert len(running.digest or "") == 64


# ---------------------------------------------------------------------------------------------------- pull


async def test_the_sdk_pulls_a_new_model(world: Stage, sdk: ollama.AsyncClient) -> None:
    seen: list[tuple[str | None, int | None]] = []
    spec: dict[str, Any] = {"aliases": ["Org/New"], "source": {"uri": "hf://Org/New"}}
    async for step in await sdk.pull("hf.co/Org/New", stream=True):
        seen.append((step.status, step.completed))
        if len(seen) == 1:
            await until(lambda: bool(world.cluster.created))
            world.cluster.put(Resource.MODELS, pulling("org-new", 1_000, **spec))
        elif step.completed == 1_000:
            world.cluster.put(Resource.MODELS, pulling("org-new", 4_000_000, **spec))
        elif step.completed == 4_000_000:
            world.cluster.put(Resource.MODELS, model("org-new", **spec))
    [(namespace, name, made)] = world.cluster.created
    assert (namespace, name, made["source"]["uri"], made["aliases"]) == (
        "default",
        "org-new",
        "hf://Org/New",
        ["Org/New"],
    )
    assert [
        status for status, _ in seen if not (status or "").startswith("pulling ") or status == "pulling manifest"
    ] == [
        "pulling manifest",
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    assert [completed for _, completed in seen if completed] == [1_000, 4_000_000, 4_500_000]
    await sdk.show("Org/New")


async def test_a_pull_of_what_is_there_succeeds_at_once(world: Stage, sdk: ollama.AsyncClient) -> None:
    world.cluster.add_model(model(aliases=["tiny"]))
    await engines.known(world)
    assert (await sdk.pull("TINY")).status == "success"
    assert world.cluster.created == []


@pytest.mark.parametrize("name", ["llama3", "quay.io/org/model"])
async def test_a_pull_of_nothing(client: httpx.AsyncClient, world: Stage, name: str) -> None:
    streamed = await client.post("/api/pull", json={"name": name})
    [line] = [json.loads(line) for line in streamed.text.splitlines()]
    assert (streamed.status_code, line) == (200, {"error": "pull model manifest: file does not exist"})
    whole = await client.post("/api/pull", json={"model": name, "stream": False})
    assert (whole.status_code, whole.json()) == (404, {"error": "pull model manifest: file does not exist"})
    assert world.cluster.created == []


@pytest.mark.parametrize(
    ("reason", "start"), [("NotFound", "pull model manifest: file does not exist"), ("Gated", "pull model")]
)
async def test_a_pull_that_fails_ends_with_the_conditions_message(
    world: Stage, client: httpx.AsyncClient, sdk: ollama.AsyncClient, reason: str, start: str
) -> None:
    status = {"conditions": [condition("Ready", "False", reason, "Accept the licence.")]}
    world.cluster.add_model(model("org-x", status=status, source={"uri": "hf://org/x"}, aliases=["org/x"]))
    await engines.known(world, "org-x")
    *_, last = [
        json.loads(line) for line in (await client.post("/api/pull", json={"model": "org/x"})).text.splitlines()
    ]
    assert last["error"].startswith(start)
    assert last["error"].endswith("Accept the licence.")
    with pytest.raises(ollama.ResponseError, match="Accept the licence"):
        await sdk.pull("org/x")


@pytest.mark.parametrize("deleting", [True, False])
async def test_a_typo_leaves_nothing_behind_where_deleting_is_allowed(deleting: bool) -> None:
    async with stage(delete=deleting) as world, httpx.AsyncClient(base_url=world.url, timeout=20) as client:
        pull = asyncio.create_task(client.post("/api/pull", json={"model": "org/typo"}))
        await engines.known(world, "org-typo")
        status = {"conditions": [condition("Ready", "False", "NotFound", "There is no org/typo.")]}
        failed = model("org-typo", status=status, source={"uri": "hf://org/typo"})
        failed["metadata"]["uid"] = world.cluster.objects[Resource.MODELS]["default", "org-typo"]["metadata"]["uid"]
        world.cluster.put(Resource.MODELS, failed)
        *_, last = engines.lines(await pull)
        assert last["error"] == "pull model manifest: file does not exist: There is no org/typo."
        assert world.cluster.deleted == ([("default", "org-typo")] if deleting else [])


async def test_a_client_that_leaves_does_not_end_the_pull(world: Stage) -> None:
    async with httpx.AsyncClient(base_url=world.url, timeout=20) as client:
        async with client.stream("POST", "/api/pull", json={"model": "org/new"}) as answer:
            async for line in answer.aiter_lines():
                assert json.loads(line) == {"status": "pulling manifest"}
                break
        await until(lambda: world.router.app.lives.count == 0)
    assert world.cluster.deleted == []
    assert len(world.cluster.created) == 1


async def test_a_model_deleted_during_its_pull_ends_it(world: Stage, client: httpx.AsyncClient) -> None:
    pull = asyncio.create_task(client.post("/api/pull", json={"model": "org/new", "stream": False}))
    await engines.known(world, "org-new")
    await until(lambda: world.router.app.lives.count == 1)
    world.cluster.remove(Resource.MODELS, "default", "org-new")
    answer = await pull
    assert (answer.status_code, "deleted" in answer.json()["error"]) == (500, True)


async def test_a_name_taken_by_another_source_is_said(world: Stage, client: httpx.AsyncClient) -> None:
    world.cluster.add_model(model("org-new", source={"uri": "hf://somebody/else"}))
    answer = await client.post("/api/pull", json={"model": "org/new", "stream": False})
    assert "serves hf://somebody/else" in answer.json()["error"]


async def test_a_forbidden_pull_has_its_status() -> None:
    async with stage(pull=False, delete=False) as world, httpx.AsyncClient(base_url=world.url) as client:
        world.cluster.add_model(model())
        await engines.known(world)
        for stream in (True, False):
            pulled = await client.post("/api/pull", json={"model": "org/new", "stream": stream})
            assert (pulled.status_code, "switched off" in pulled.json()["error"]) == (403, True)
        assert (await client.post("/api/pull", json={"model": "tiny-chat"})).text.count("success") == 1
        gone = await client.request("DELETE", "/api/delete", json={"model": "tiny-chat"})
        assert (gone.status_code, "switched off" in gone.json()["error"]) == (403, True)
        assert (world.cluster.created, world.cluster.deleted) == ([], [])


# ---------------------------------------------------------------------------------------------------- delete


async def test_the_sdk_deletes(world: Stage, sdk: ollama.AsyncClient, client: httpx.AsyncClient) -> None:
    world.cluster.add_model(model(aliases=["tiny"]))
    await engines.known(world)
    assert (await sdk.delete("Tiny")).status == "success"
    assert world.cluster.deleted == [("default", "tiny-chat")]
    await until(lambda: world.router.catalog.find("tiny") is None)
    with pytest.raises(ollama.ResponseError, match="model 'Tiny' not found") as missing:
        await sdk.delete("Tiny")
    assert missing.value.status_code == 404
    assert (await client.request("DELETE", "/api/delete")).json() == {"error": "missing request body"}
    large = await client.request("DELETE", "/api/delete", content=b"x" * 100_000)
    assert large.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/api/chat", 405, "use POST"),
        ("POST", "/api/tags", 405, "Method POST is not allowed"),
        ("GET", "/api/pull", 405, "use POST"),
        ("GET", "/api/none", 404, "GET /api/none"),
        ("POST", "/api/experimental/web_search", 404, "POST /api/experimental/web_search"),
        ("DELETE", "/api/user/keys/k", 404, "DELETE /api/user/keys/k"),
    ],
)
async def test_what_is_no_route_is_plain_text(
    client: httpx.AsyncClient, method: str, path: str, status: int, words: str
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/plain; charset=utf-8")
    assert words in answer.text
    assert "detail" not in answer.text


async def test_no_blob_is_there_and_none_is_taken(client: httpx.AsyncClient) -> None:
    path = f"/api/blobs/sha256:{'0' * 64}"
    assert (await client.head(path)).status_code == 404
    refused = await client.post(path, content=b"GGUF")
    assert (refused.status_code, list(refused.json())) == (400, ["error"])
    assert "publish the weights on the hub" in refused.json()["error"]


async def test_a_name_that_is_none_cannot_be_deleted(client: httpx.AsyncClient) -> None:
    answer = await client.request("DELETE", "/api/delete", json={"name": "a b"})
    assert (answer.status_code, answer.json()) == (400, {"error": 'name "a b" is invalid'})
