"""The router on a real API server: what it watches, the leases it writes, what it may create, and its outages.

There is no node here, so an EndpointSlice of a test points at an address that nobody has, and the router's connections
to it are led to an engine on loopback.
"""

import asyncio
import contextlib
import gc
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from dev import ports
from dev.cluster.controlplane import ControlPlane
from dormouse_api import names
from dormouse_api.lease import read_wish
from dormouse_router.cluster import Resource
from dormouse_router.dataplane.connection import Connection
from dormouse_router.dataplane.lease import SPACING
from dormouse_router.kube import Kube
from dormouse_router.serve import Router
from dormouse_router.store.memory import in_memory
from tests.controlplane.kubelet import Rest
from tests.controlplane.operatorprocess import Models
from tests.router.fakes import DEADLINE, SETTINGS, Engine, slice_of, until

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Capital of France?"}]}
NOWHERE = "192.0.2.1"


@pytest.fixture
def models(own_models: Models) -> Models:
    """No operator here: what a router sees is what the test writes."""
    return own_models


@dataclass
class Place:
    """A running router, its engine, and the cluster around it."""

    router: Router
    engine: Engine
    models: Models
    http: httpx.AsyncClient

    async def known(self, name: str) -> None:
        await until(lambda: self.router.catalog.find(name) is not None, 60)

    def make_lease(self, name: str) -> None:
        meta = {"name": names.runtime_name(name), "namespace": self.models.namespace}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta}
        self.models.rest.request("POST", self._of("coordination.k8s.io/v1", "leases"), body)

    def lease(self, name: str) -> dict[str, Any]:
        found = self.models.child("coordination.k8s.io/v1", "leases", names.runtime_name(name))
        return dict(found.get("spec") or {})

    def make_slice(self, name: str) -> None:
        body = slice_of(name, 8000, namespace=self.models.namespace, host=NOWHERE)
        body["metadata"].pop("uid")
        kind = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"}
        self.models.rest.request("POST", self._of("discovery.k8s.io/v1", "endpointslices"), kind | body)

    def set_ready(self, name: str, status: str, reason: str, message: str) -> None:
        condition = {"type": "Ready", "status": status, "reason": reason, "message": message, "observedGeneration": 1}
        condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
        self.models.rest.patch(f"{self.models.path(name)}/status", {"status": {"conditions": [condition]}})

    def _of(self, group: str, plural: str) -> str:
        return f"/apis/{group}/namespaces/{self.models.namespace}/{plural}"


@asynccontextmanager
async def place(plane: ControlPlane, models: Models, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    engine = Engine()
    await engine.start()
    settings = replace(SETTINGS, namespaces=(models.namespace,), default_namespace=models.namespace)
    async with Kube({"KUBECONFIG": str(plane.kubeconfig)}) as kube, httpx.AsyncClient(timeout=30) as http:
        router = Router(kube, settings, in_memory())
        connect = router.plane.pool.connect

        async def led(host: str, port: int) -> Connection:
            assert (host, port) == (NOWHERE, 8000)
            return await connect("127.0.0.1", engine.port)

        monkeypatch.setattr(router.plane.pool, "connect", led)
        stop = asyncio.Event()
        running = asyncio.create_task(router.run(stop))
        http.base_url = httpx.URL(f"http://127.0.0.1:{router.port}")
        try:
            async with asyncio.timeout(DEADLINE):
                for watcher in router.watchers:
                    await watcher.synced.wait()
            yield Place(router, engine, models, http)
        finally:
            stop.set()
            await running
            await engine.stop()


async def test_a_sleeping_model_is_found_woken_and_called(
    plane: ControlPlane, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answered() -> list[int]:
        """The answers to the router's writes of the Lease."""
        writes = [w for w in plane.writes("leases", agent="OpenAPI-Generator") if w["verb"] == "patch"]
        return [w["responseStatus"]["code"] for w in writes if w["objectRef"]["namespace"] == models.namespace]

    async with place(plane, models, monkeypatch) as here:
        models.apply("tiny", aliases=["org/tiny"], scaling={"idleSeconds": 60})
        here.make_lease("tiny")
        await here.known("org/tiny")
        began = time.monotonic()
        call = asyncio.create_task(here.http.post("/v1/chat/completions", json=CHAT))
        await until(lambda: bool(here.lease("tiny")))
        spec = here.lease("tiny")
        assert spec["holderIdentity"] == "router-1"
        wish = read_wish(spec)
        assert wish is not None
        assert wish.duration == 30
        here.make_slice("tiny")
        assert (await call).json()["choices"][0]["message"]["content"] == "Paris."
        models.rest.request("DELETE", models.path("tiny"))
        await until(lambda: here.router.catalog.find("tiny") is None)
        before = answered()
        took = time.monotonic() - began
    assert set(before) == {200}
    assert len(before) <= 1 + took / SPACING, "one, and on a slow machine another in its turn"
    assert answered() == before, "the model went before the router did: no last word about it"


async def test_the_last_word_is_written_when_the_router_stops(
    plane: ControlPlane, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(plane, models, monkeypatch) as here:
        models.apply("tiny", scaling={"idleSeconds": 600})
        here.make_lease("tiny")
        here.make_slice("tiny")
        await until(lambda: bool((e := here.router.catalog.find("tiny")) and e.endpoints))
        assert (await here.http.post("/v1/chat/completions", json=CHAT)).status_code == 200
    wish = read_wish(here.lease("tiny"))
    assert wish is not None
    assert wish.duration > 500


async def test_a_cause_reaches_a_held_caller_as_soon_as_it_is_written(
    plane: ControlPlane, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(plane, models, monkeypatch) as here:
        models.apply("tiny")
        await here.known("tiny")
        call = asyncio.create_task(here.http.post("/v1/chat/completions", json=CHAT))
        await until(lambda: bool(here.router.plane.hold.bytes))
        here.set_ready("tiny", "False", "Gated", "Accept the licence at the hub.")
        async with asyncio.timeout(DEADLINE):
            answer = await call
        assert answer.status_code == 503
        assert "Accept the licence" in answer.json()["error"]["message"]


async def test_the_catalogue_is_right_after_the_api_server_was_killed(
    plane: ControlPlane, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(plane, models, monkeypatch) as here:
        models.apply("stays")
        models.apply("goes")
        here.make_lease("stays")
        here.make_slice("stays")
        await here.known("stays")
        await here.known("goes")
        plane.kill_apiserver()
        body = CHAT | {"model": "stays"}
        assert (await here.http.post("/v1/chat/completions", json=body)).status_code == 200
        plane.restart_apiserver()  # from this thread: its processes die with the thread that starts them
        models.rest.request("DELETE", models.path("goes"))
        models.apply("comes")
        await here.known("comes")
        await until(lambda: here.router.catalog.find("goes") is None, 60)
        assert (await here.http.post("/v1/chat/completions", json=body)).status_code == 200
        await until(lambda: bool(here.lease("stays")))


def test_a_watch_that_is_left_leaves_no_socket(
    plane: ControlPlane, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def leave() -> None:
        async with Kube({"KUBECONFIG": str(plane.kubeconfig)}) as kube:
            before = (await kube.list(Resource.MODELS, models.namespace)).version
            models.apply("seen")
            async with contextlib.aclosing(kube.watch(Resource.MODELS, models.namespace, before)) as events:
                assert (await anext(events)).object["metadata"]["name"] == "seen"
                plane.pause_apiserver()  # as one that has much to do: it does not take part in an orderly end

    found: list[object] = []
    gc.collect()  # what others left is theirs
    monkeypatch.setattr(sys, "unraisablehook", lambda told: found.append(told.exc_value))
    try:
        asyncio.run(leave())
    finally:
        plane.resume_apiserver()
    gc.collect()
    assert found == []


async def test_models_are_created_and_deleted_for_clients(
    plane: ControlPlane, models: Models, rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(plane, models, monkeypatch) as here:
        made = await here.http.post("/pull", json={"model": "dormouse/tiny-chat"})
        assert made.status_code == 202
        await here.known("dormouse-tiny-chat")
        assert rest.get(models.path("dormouse-tiny-chat"))["spec"]["source"]["uri"] == "hf://dormouse/tiny-chat"
        gone = await here.http.request("DELETE", "/api/delete", json={"model": "dormouse-tiny-chat"})
        assert gone.status_code == 200
        await until(lambda: here.router.catalog.find("dormouse-tiny-chat") is None)


async def test_the_process_starts_serves_and_stops_in_order(
    plane: ControlPlane, models: Models, tmp_path: Path
) -> None:
    """`python -m dormouse_router`, as in its image: from its environment to its end by SIGTERM."""
    listening = ports.reserve(2)
    env = {
        **os.environ,
        "KUBECONFIG": str(plane.kubeconfig),
        "DORMOUSE_HOST": "127.0.0.1",
        "DORMOUSE_PORT": str(listening[0]),
        "DORMOUSE_OPS_PORT": str(listening[1]),
        "DORMOUSE_DRAIN_DELAY": "3",
        "DORMOUSE_DATABASE_URL": f"sqlite:///{tmp_path}/kept/router.db",
    }
    models.apply("tiny")
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "dormouse_router", env=env)
    try:
        async with httpx.AsyncClient(timeout=30) as http:
            await until_ready(http, f"http://127.0.0.1:{listening[1]}/readyz")
            listed = (await http.get(f"http://127.0.0.1:{listening[0]}/v1/models")).json()
            assert "tiny" in {card["id"].split("/")[-1] for card in listed["data"]}
            unknown = await http.get(f"http://127.0.0.1:{listening[0]}/sessions/none")
            assert "there is no session" in unknown.json()["error"]  # the file's tables were made
            process.terminate()
            async with asyncio.timeout(60):
                while (await http.get(f"http://127.0.0.1:{listening[1]}/readyz")).status_code != 503:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                assert (await http.get(f"http://127.0.0.1:{listening[0]}/v1/models")).status_code == 200
                assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def until_ready(http: httpx.AsyncClient, url: str) -> None:
    async with asyncio.timeout(90):
        while True:
            with contextlib.suppress(httpx.ConnectError):
                if (await http.get(url)).status_code == 200:
                    return
            await asyncio.sleep(0.05)
