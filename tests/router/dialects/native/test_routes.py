"""The native API over real sockets."""

import json
from typing import Any

import httpx
import pytest

from dormouse_router.cluster import Resource
from tests.router.dialects import engines
from tests.router.dialects.records import condition, known_status, model
from tests.router.fakes import Stage, stage


async def test_a_pull_is_a_job_until_it_succeeds(world: Stage, client: httpx.AsyncClient) -> None:
    answer = await client.post("/pull", json={"model": "org/new", "quantization": "q4"})
    assert (answer.status_code, answer.headers["location"]) == (202, "/jobs/default.org-new-int4")
    assert (answer.json()["id"], answer.json()["status"]) == ("default.org-new-int4", "queued")
    [(namespace, name, spec)] = world.cluster.created
    assert (namespace, name, spec["source"]["uri"], spec["quantization"]) == (
        "default",
        "org-new-int4",
        "hf://org/new",
        "int4",
    )
    await engines.known(world, "org-new-int4")
    again = await client.post("/pull", json={"model": "org/new", "quantization": "int4"})
    assert (again.status_code, again.json()["id"], len(world.cluster.created)) == (202, "default.org-new-int4", 1)
    made: dict[str, Any] = {"source": {"uri": "hf://org/new"}, "quantization": "int4"}
    pull = {"stage": "fetching", "bytes": 421, "total": 1000, "bytesPerSecond": 50, "etaSeconds": 9}
    status = {"conditions": [condition("Ready", "False", "Pulling")], "pull": pull}
    world.cluster.put(Resource.MODELS, model("org-new-int4", status=status, **made))
    job = await until_status(client, "default.org-new-int4", "running")
    assert (job["progress"], job["downloaded_bytes"], job["total_bytes"], job["eta_seconds"]) == (42.1, 421, 1000, 9)
    world.cluster.put(Resource.MODELS, model("org-new-int4", **made))
    job = await until_status(client, "default.org-new-int4", "succeeded")
    assert (job["progress"], job["error"]) == (100.0, None)
    listed = (await client.get("/jobs")).json()["jobs"]
    assert [entry["id"] for entry in listed] == ["default.org-new-int4"]


async def until_status(client: httpx.AsyncClient, ident: str, status: str) -> dict[str, Any]:
    for _ in range(1000):
        job: dict[str, Any] = (await client.get(f"/jobs/{ident}")).json()
        if job["status"] == status:
            return job
    raise AssertionError(f"{ident} never became {status}: {job}")


async def test_jobs_outlive_the_router() -> None:
    gated = known_status(conditions=[condition("Ready", "False", "Gated", "Accept the licence.")])
    found = []
    for _ in range(2):
        async with stage() as world, httpx.AsyncClient(base_url=world.url) as client:
            world.cluster.add_model(model("gated", status=gated))
            await engines.known(world, "gated")
            found.append((await client.get("/jobs/default.gated")).json())
    assert found[0] == found[1]
    assert (found[0]["status"], found[0]["error"]) == ("failed", "Accept the licence.")


async def test_the_same_name_for_something_else_is_a_conflict(world: Stage, client: httpx.AsyncClient) -> None:
    world.cluster.add_model(model("mine", source={"uri": "hf://somebody/else"}))
    early = await client.post("/pull", json={"model": "org/new", "name": "mine"})
    await engines.known(world, "mine")
    late = await client.post("/pull", json={"model": "org/new", "name": "mine"})
    for answer in (early, late):
        assert (answer.status_code, answer.json()["param"]) == (409, "name")
        assert "hf://somebody/else" in answer.json()["error"]
    assert world.cluster.created == []


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "text/plain"])
async def test_any_content_type_will_do(world: Stage, client: httpx.AsyncClient, kind: str) -> None:
    answer = await client.post("/pull", content=json.dumps({"model": "org/new"}), headers={"content-type": kind})
    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/pull", "", 400, "the body is empty"),
        ("POST", "/pull", "{", 400, "invalid request"),
        ("POST", "/pull", '{"model": "x"}', 400, "org/name of the hub"),
        ("POST", "/pull", '{"model": "a/b", "quantization": "q5"}', 400, "use one of"),
        ("POST", "/pull", '{"model": "a/b", "token": "hf_x"}', 400, "token_secret"),
        ("GET", "/pull", "", 405, "POST"),
        ("GET", "/jobs/default.none", "", 404, "there is no job"),
        ("GET", "/jobs/none", "", 404, "there is no job"),
        ("POST", "/jobs", "", 405, "GET"),
    ],
)
async def test_errors(
    world: Stage, client: httpx.AsyncClient, method: str, path: str, body: str, status: int, words: str
) -> None:
    answer = await client.request(method, path, content=body)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert world.cluster.created == []


async def test_a_forbidden_pull() -> None:
    async with stage(pull=False) as world, httpx.AsyncClient(base_url=world.url) as client:
        answer = await client.post("/pull", json={"model": "org/new"})
        assert (answer.status_code, world.cluster.created) == (403, [])
        assert "switched off" in answer.json()["error"]


async def test_an_api_server_that_is_away(world: Stage, client: httpx.AsyncClient) -> None:
    world.cluster.break_down()
    answer = await client.post("/pull", json={"model": "org/new"})
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    world.cluster.come_back()


async def test_health_and_metrics(world: Stage, client: httpx.AsyncClient) -> None:
    world.cluster.add_model(model())
    await engines.known(world)
    assert (await client.get("/health")).json() == {"status": "ok", "models": 1, "awake": 0}
    await client.post("/api/chat", json={"model": "nobody", "messages": [{"role": "user", "content": "x"}]})
    metrics = await client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "dormouse_watch_events_total" in metrics.text
