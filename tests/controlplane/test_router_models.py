"""Models over HTTP on a real API server, with a real operator: the objects that kubectl shows, judged by its rules."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from dev.cluster.controlplane import ControlPlane
from dormouse_router.kube import Kube
from dormouse_router.serve import Router
from dormouse_router.store.memory import in_memory
from tests.controlplane.kubelet import COMMIT
from tests.controlplane.operatorprocess import Models
from tests.router.fakes import DEADLINE, SETTINGS, until

KEY = {"authorization": "Bearer sk-mine"}
OWNER = hashlib.sha256(b"sk-mine").hexdigest()


@pytest.fixture
async def http(plane: ControlPlane, models: Models) -> AsyncIterator[httpx.AsyncClient]:
    """A router where the operator works, and a client of it with a key."""
    settings = replace(SETTINGS, namespaces=(models.namespace,), default_namespace=models.namespace)
    async with Kube({"KUBECONFIG": str(plane.kubeconfig)}) as kube:
        router, stop = Router(kube, settings, in_memory()), asyncio.Event()
        running = asyncio.create_task(router.run(stop))
        try:
            async with asyncio.timeout(DEADLINE):
                for watcher in router.watchers:
                    await watcher.synced.wait()
            url = f"http://127.0.0.1:{router.port}"
            async with httpx.AsyncClient(base_url=url, headers=KEY, timeout=30) as client:
                yield client
        finally:
            stop.set()
            await running


async def shown(http: httpx.AsyncClient, name: str, state: str) -> dict[str, object]:
    """The model once it is in that state."""
    last: dict[str, object] = {}
    async with asyncio.timeout(90):
        while last.get("state") != state:
            last = (await http.get(f"/v1/models/{name}")).json()
            await asyncio.sleep(0.05)
    return last


async def test_what_is_registered_is_pulled_and_is_what_kubectl_would_have_made(
    models: Models, http: httpx.AsyncClient
) -> None:
    body = {"id": "drafts", "source": "org/drafts", "revision": "v1", "visibility": "private", "aliases": ["little"]}
    made = await http.post("/v1/models", json=body)
    assert made.status_code == 201, made.text
    ready = await shown(http, "drafts", "asleep")
    assert (ready["commit"], ready["revision"], ready["visibility"]) == (COMMIT, "v1", "private")
    [version] = (await http.get("/v1/models/drafts/versions")).json()["data"]
    assert (version["id"], version["revision"], version["current"], version["on_volume"]) == (COMMIT, "v1", True, True)
    access = {"visibility": "Private", "owner": OWNER}
    same = {"source": {"uri": "hf://org/drafts", "revision": "v1"}, "aliases": ["little-too"], "access": access}
    models.apply("by-kubectl", **same)
    over_http = models.rest.get(models.path("drafts"))["spec"]
    by_kubectl = models.rest.get(models.path("by-kubectl"))["spec"]
    assert over_http == by_kubectl | {"aliases": ["little"]}
    assert (await shown(http, "by-kubectl", "asleep"))["owned_by"] == f"key-{OWNER[:12]}"
    for name in ("drafts", "little", "by-kubectl"):
        assert (await http.get(f"/v1/models/{name}", headers={"authorization": ""})).status_code == 404
    for name in ("drafts", "by-kubectl"):
        assert (await http.delete(f"/v1/models/{name}")).status_code == 200
        await until(lambda name=name: not models.rest.get(models.path(name)).get("metadata"))  # type: ignore[misc]


async def test_a_change_is_the_api_servers_to_judge(models: Models, http: httpx.AsyncClient) -> None:
    assert (await http.post("/v1/models", json={"id": "changing", "source": "org/changing"})).status_code == 201
    before = models.rest.get(models.path("changing"))["spec"]
    for body, param, words in (
        ({"quantization": "nf4", "dry_run": True}, None, None),
        ({"visibility": "team"}, "visibility", "name the team"),
        ({"revision": "a..b"}, "revision", "no branch, tag or commit"),
    ):
        answer = await http.patch("/v1/models/changing", json=body)
        assert answer.status_code == (400 if words else 200), answer.text
        if words:
            error = answer.json()["error"]
            assert (error["param"], words in error["message"]) == (param, True), error
    assert models.rest.get(models.path("changing"))["spec"] == before
    patch = {"context_length": 512, "aliases": ["other"], "visibility": "team", "team": "red"}
    changed = await http.patch("/v1/models/changing", json=patch)
    assert changed.status_code == 200, changed.text
    spec = models.rest.get(models.path("changing"))["spec"]
    assert (spec["engine"]["maxModelLen"], spec["aliases"]) == (512, ["other"])
    assert spec["access"] == {"visibility": "Team", "owner": OWNER, "team": "red"}
    back = await http.patch("/v1/models/changing", json={"context_length": None, "visibility": None, "team": None})
    assert (back.status_code, back.json()["visibility"], back.json()["aliases"]) == (200, "public", ["other"]), (
        back.text
    )
    spec = models.rest.get(models.path("changing"))["spec"]
    assert "maxModelLen" not in spec["engine"]
    assert spec["access"] == {"visibility": "Public", "owner": OWNER}
    await shown(http, "other", "asleep")  # an alias is the operator's to grant
    other = await http.patch("/v1/models/changing", json={"revision": "v2"}, headers={"authorization": "Bearer other"})
    assert (other.status_code, other.json()["error"]["code"]) == (403, "not_the_owner")
    assert (await http.delete("/v1/models/changing")).status_code == 200


async def test_what_the_api_server_refuses_is_told_by_its_field_and_makes_nothing(
    models: Models, http: httpx.AsyncClient
) -> None:
    for body, param in (
        ({"id": "refused", "source": "org/x", "revision": "a..b"}, "revision"),
        ({"id": "refused", "source": "org/x", "quantization": "nf4", "profile": "x" * 64}, "profile"),
        ({"id": "refused", "source": "org/x", "revision": "a..b", "dry_run": True}, "revision"),
    ):
        answer = await http.post("/v1/models", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    tried = await http.post("/v1/models", json={"id": "refused", "source": "org/x", "dry_run": True})
    assert tried.status_code == 200
    assert not models.rest.get(models.path("refused")).get("metadata")
    assert (await http.post("/v1/models", json={"id": "once", "source": "org/once"})).status_code == 201
    again = await http.post("/v1/models", json={"id": "once", "source": "org/once"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")
    assert (await http.delete("/v1/models/once")).status_code == 200
