"""The native API over real sockets."""

import json
from typing import Any

import httpx
import pytest

from dormouse_router.cluster import Resource
from tests.router.dialects import engines
from tests.router.dialects.records import condition, known_status, model
from tests.router.fakes import Stage, stage, until


async def test_a_pull_is_a_job_until_it_succeeds(world: Stage, client: httpx.AsyncClient) -> None:
    answer = await client.post("/pull", json={"model": "org/new", "quantization": "q4"})
    assert (answer.status_code, answer.headers["location"]) == (202, "/jobs/default.org-new-int4")
    assert (answer.json()["id"], answer.json()["status"]) == ("default.org-new-int4", "running")
    [(namespace, name, spec)] = world.cluster.created
    assert (namespace, name, spec["source"]["uri"], spec["quantization"]) == (
        "default",
        "org-new-int4",
        "hf://org/new",
        "int4",
    )
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


async def test_the_job_of_an_answer_is_there_at_once(world: Stage, client: httpx.AsyncClient) -> None:
    world.cluster.lag = 0.1
    answer = await client.post("/pull", json={"model": "org/new"})
    job = await client.get(answer.headers["location"])
    assert (job.status_code, job.json().get("id")) == (200, answer.json()["id"])


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
        ("GET", "/jobs?state=done", "", 400, "queued, running, retrying, succeeded, failed"),
        ("GET", "/jobs?limit=0", "", 400, "from 1 to 1000"),
        ("GET", "/jobs?after=default.gone", "", 400, "begin again"),
        ("DELETE", "/jobs/default.none", "", 404, "there is no job"),
        ("DELETE", "/jobs", "", 405, "GET"),
        ("PUT", "/jobs/default.none", "", 405, "is not allowed"),
        ("GET", "/jobs/a/b", "", 404, "Unknown request URL"),
        ("GET", "/pulls", "", 404, "Unknown request URL"),
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


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("org/new", 202),
        ("hf://org/new", 202),
        ("hf://other/exact", 202),
        ("other/exactly", 403),
        ("s3://models/a/b", 202),
        ("s3://models-of-others/a", 403),
        ("evil/org", 403),
        ("pvc://claim/org", 403),
    ],
)
async def test_only_allowed_sources_are_pulled(source: str, status: int) -> None:
    allowed = ("hf://org/*", "hf://other/exact", "s3://models/*")
    async with stage(pull_sources=allowed) as world, httpx.AsyncClient(base_url=world.url) as client:
        answer = await client.post("/pull", json={"model": source})
        assert (answer.status_code, len(world.cluster.created)) == (status, int(status == 202))
        if status == 403:
            assert answer.json()["param"] == "model"
            assert "hf://org/*, hf://other/exact, s3://models/*" in answer.json()["error"]
            ollama = await client.post("/api/pull", json={"model": source.removeprefix("hf://"), "stream": False})
            assert ollama.status_code in (400, 403)
            assert world.cluster.created == []


async def test_a_model_that_has_it_already_is_the_answer_whatever_it_is_called(
    world: Stage, client: httpx.AsyncClient
) -> None:
    world.cluster.add_model(model("mine", source={"uri": "hf://org/new"}, aliases=["org/new"]))
    await engines.known(world, "mine")
    answer = await client.post("/pull", json={"model": "org/new"})
    assert (answer.status_code, answer.json()["id"], world.cluster.created) == (202, "default.mine", [])
    other = await client.post("/pull", json={"model": "org/new", "name": "second"})
    assert (other.status_code, other.json()["id"]) == (202, "default.second")
    assert [name for _, name, _ in world.cluster.created] == ["second"]


async def test_init_preloads_a_new_model_and_wakes_one_that_is_here(world: Stage, client: httpx.AsyncClient) -> None:
    new = await client.post("/pull", json={"model": "org/new", "init": True})
    assert (new.status_code, new.json()["init"]) == (202, True)
    assert world.cluster.created[0][2]["scaling"]["preload"] is True
    assert world.cluster.writes == []
    world.cluster.add_model(model("mine", source={"uri": "hf://org/here"}))
    await engines.known(world, "mine")
    for wakes in (False, True):
        here = await client.post("/pull", json={"model": "org/here", "init": wakes}, timeout=5)
        assert (here.status_code, here.json()["status"]) == (202, "succeeded")
        if wakes:
            await until(lambda: len(world.cluster.writes) == 1)
        else:
            assert world.cluster.reads == 0


async def test_filters_and_pages(world: Stage, client: httpx.AsyncClient) -> None:
    gated = known_status(conditions=[condition("Ready", "False", "Gated", "Accept the licence.")])
    for number in range(5):
        created = f"2026-05-01T10:00:0{number}Z"
        world.cluster.add_model(model(f"m{number}", created=created, status=gated if number % 2 else None))
    await engines.known(world, "m4")
    seen: list[str] = []
    page: dict[str, Any] = {"has_more": True}
    while page["has_more"]:
        query = {"limit": "2"} | ({"after": f"default.{seen[-1]}"} if seen else {})
        page = (await client.get("/jobs", params=query)).json()
        seen += [job["model"] for job in page["jobs"]]
    assert seen == ["m4", "m3", "m2", "m1", "m0"]
    failed = (await client.get("/jobs", params={"state": "failed,retrying"})).json()["jobs"]
    assert [job["model"] for job in failed] == ["m3", "m1"]
    one = (await client.get("/jobs", params={"model": "dormouse/m2"})).json()["jobs"]
    assert [job["id"] for job in one] == ["default.m2"]
    head = await client.head("/jobs")
    assert (head.status_code, head.content) == (200, b"")


async def test_a_pull_under_way_is_cancelled_by_deleting_its_model(world: Stage, client: httpx.AsyncClient) -> None:
    await client.post("/pull", json={"model": "org/new"})
    await engines.known(world, "org-new")
    answer = await client.delete("/jobs/default.org-new")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert world.cluster.deleted == [("default", "org-new")]
    await until(lambda: world.router.catalog.find("org-new") is None)
    gone = await client.get("/jobs/default.org-new")
    assert gone.status_code == 404
    assert "a model that was deleted has none" in gone.json()["error"]


async def test_what_is_not_cancelled(world: Stage, client: httpx.AsyncClient) -> None:
    world.cluster.add_model(model("whole"))
    pulling = known_status(conditions=[condition("Ready", "False", "Pulling")])
    world.cluster.add_model(model("needed", status=pulling))
    world.cluster.add_route("over", ("needed", 1))
    await engines.known(world, "needed")
    await until(lambda: world.router.catalog.find_route("over") is not None)
    for name, words in (("whole", "nothing to cancel"), ("needed", "default/over")):
        answer = await client.delete(f"/jobs/default.{name}")
        assert answer.status_code == 409
        assert words in answer.json()["error"]
    assert world.cluster.deleted == []


async def test_cancelling_is_for_who_may_delete() -> None:
    async with stage(delete=False) as world, httpx.AsyncClient(base_url=world.url) as client:
        await client.post("/pull", json={"model": "org/new"})
        await engines.known(world, "org-new")
        answer = await client.delete("/jobs/default.org-new")
        assert (answer.status_code, world.cluster.deleted) == (403, [])


async def test_an_api_server_that_is_away(world: Stage, client: httpx.AsyncClient) -> None:
    world.cluster.break_down()
    answer = await client.post("/pull", json={"model": "org/new"})
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    world.cluster.come_back()


async def test_metrics(world: Stage, client: httpx.AsyncClient) -> None:
    await client.post("/api/chat", json={"model": "nobody", "messages": [{"role": "user", "content": "x"}]})
    metrics = await client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "dormouse_watch_events_total" in metrics.text
