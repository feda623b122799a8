"""Two router processes on a real API server: one wake for both, and what ends one leaves the other's calls alone."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from dev import ports
from dev.cluster.controlplane import ControlPlane
from dormouse_api import names
from dormouse_api.lease import read_wish
from tests.controlplane.operatorprocess import Models
from tests.controlplane.routerprocess import NOWHERE
from tests.controlplane.test_router_path import until_ready
from tests.router.fakes import Engine, Exchange, chat_chunk, slice_of, speak, until

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Capital of France?"}]}
URL = "/v1/chat/completions"
LEASES = "coordination.k8s.io/v1"
RENEWED = 10
"""Seconds after which a router that still has calls says again what it wants."""
READS = ("/v1/models", "/v1/models/tiny", "/api/tags", "/api/ps", "/jobs", "/health", "/metrics", "/docs")


@pytest.fixture
def models(own_models: Models) -> Models:
    """No operator here: what a router sees is what the test writes."""
    return own_models


@dataclass
class Replica:
    """`python -m dormouse_router` with a name of its own."""

    name: str
    process: asyncio.subprocess.Process
    url: str
    ops: str

    async def held(self, http: httpx.AsyncClient) -> int:
        """How many calls it holds, as the operator asks it."""
        demand = (await http.get(f"{self.ops}/demand")).json()["models"]
        return sum(row["held"] for row in demand.values())

    async def lease_writes(self, http: httpx.AsyncClient) -> float:
        lines = (await http.get(f"{self.ops}/metrics")).text.splitlines()
        return float(next(line for line in lines if line.startswith("dormouse_lease_writes_total ")).split()[1])


@dataclass
class Pair:
    """Two replicas, an engine, and the cluster around them."""

    first: Replica
    second: Replica
    engine: Engine
    models: Models
    http: httpx.AsyncClient

    @property
    def both(self) -> tuple[Replica, Replica]:
        return self.first, self.second

    async def asleep(self, name: str = "tiny", **spec: Any) -> None:
        """A model with its Lease, known to both."""
        self.models.apply(name, **spec)
        meta = {"name": names.runtime_name(name), "namespace": self.models.namespace}
        body = {"apiVersion": LEASES, "kind": "Lease", "metadata": meta}
        self.models.rest.request("POST", f"/apis/{LEASES}/namespaces/{self.models.namespace}/leases", body)
        for replica in self.both:
            async with asyncio.timeout(60):
                while name not in await self.listed(replica):  # noqa: ASYNC110 - it is another process
                    await asyncio.sleep(0.02)

    async def listed(self, replica: Replica) -> set[str]:
        cards = (await self.http.get(f"{replica.url}/v1/models")).json()["data"]
        return {card["id"].split("/")[-1] for card in cards}

    def ready(self, name: str = "tiny") -> None:
        body = slice_of(name, self.engine.port, namespace=self.models.namespace, host=NOWHERE)
        body["metadata"].pop("uid")
        kind = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"}
        path = f"/apis/discovery.k8s.io/v1/namespaces/{self.models.namespace}/endpointslices"
        self.models.rest.request("POST", path, kind | body)

    def lease(self, name: str = "tiny") -> dict[str, Any]:
        return dict(self.models.child(LEASES, "leases", names.runtime_name(name)))

    async def call(self, replica: Replica, **fields: Any) -> httpx.Response:
        return await self.http.post(replica.url + URL, json=CHAT | fields)

    async def all_held(self, replica: Replica, count: int) -> None:
        async with asyncio.timeout(60):
            while await replica.held(self.http) != count:  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.02)


@asynccontextmanager
async def replica(plane: ControlPlane, name: str, namespace: str) -> AsyncIterator[Replica]:
    port, ops = ports.reserve(2)
    env = {
        **os.environ,
        "KUBECONFIG": str(plane.kubeconfig),
        "POD_NAME": name,
        "DORMOUSE_NAMESPACES": namespace,
        "DORMOUSE_HOST": "127.0.0.1",
        "DORMOUSE_PORT": str(port),
        "DORMOUSE_OPS_PORT": str(ops),
        "DORMOUSE_DRAIN_DELAY": "3",
        "DORMOUSE_DRAIN_SECONDS": "20",
        "DORMOUSE_DATABASE_URL": "memory",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.controlplane.routerprocess", env=env)
    try:
        yield Replica(name, process, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{ops}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def pair(plane: ControlPlane, models: Models) -> AsyncIterator[Pair]:
    engine = Engine()
    await engine.start()
    async with (
        replica(plane, "router-1", models.namespace) as first,
        replica(plane, "router-2", models.namespace) as second,
        httpx.AsyncClient(timeout=40, limits=httpx.Limits(max_connections=None, max_keepalive_connections=0)) as http,
    ):
        await asyncio.gather(*(until_ready(http, f"{each.ops}/readyz") for each in (first, second)))
        yield Pair(first, second, engine, models, http)
    await engine.stop()


def lease_patches(plane: ControlPlane, models: Models) -> list[int]:
    """The API server's answers to every write of the namespace's leases by a router."""
    return [
        entry["responseStatus"]["code"]
        for entry in plane.writes("leases", agent="OpenAPI-Generator")
        if entry["verb"] == "patch" and entry["objectRef"]["namespace"] == models.namespace
    ]


async def test_calls_held_by_either_are_released_by_one_wake(plane: ControlPlane, models: Models) -> None:
    async with pair(plane, models) as here:
        await here.asleep(scaling={"idleSeconds": 600})
        began = time.monotonic()
        calls = [asyncio.create_task(here.call(each)) for each in (*here.both, *here.both, here.second)]
        await here.all_held(here.first, 2)
        await here.all_held(here.second, 3)
        await until(lambda: bool(here.lease().get("spec", {}).get("renewTime")))
        wish = read_wish(here.lease()["spec"])
        assert wish is not None
        here.ready()
        answers = await asyncio.gather(*calls)
        assert [answer.json()["choices"][0]["message"]["content"] for answer in answers] == ["Paris."] * 5
        # one write wins; the other router is refused at most once, and sees that what it wants is there
        codes = lease_patches(plane, models)
        assert set(codes) <= {200, 409}
        assert codes.count(200) <= 2 * (1 + (time.monotonic() - began) // RENEWED)
        assert here.lease()["spec"]["holderIdentity"] in ("router-1", "router-2")


async def test_one_that_is_killed_takes_only_its_own_connections_with_it(plane: ControlPlane, models: Models) -> None:
    go_on = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        if not exchange.json.get("stream"):
            await speak(exchange)
            return
        await exchange.stream_head()
        await exchange.event(chat_chunk("Par"))
        with contextlib.suppress(ConnectionError):
            await go_on.wait()
            await exchange.event(chat_chunk("is."))
            await exchange.finish()

    async with pair(plane, models) as here:
        here.engine.serve = slow
        await here.asleep(scaling={"idleSeconds": 600})
        await here.asleep("sleeper")
        here.ready()
        streams = [asyncio.create_task(here.call(each, stream=True)) for each in here.both]
        waits = [asyncio.create_task(here.call(each, model="sleeper")) for each in here.both]
        await until(lambda: len(here.engine.seen) == 2)
        for each in here.both:
            await here.all_held(each, 1)
        here.first.process.send_signal(signal.SIGKILL)
        for lost in (streams[0], waits[0]):
            with pytest.raises(httpx.TransportError):
                await lost
        assert (await here.call(here.second)).status_code == 200
        go_on.set()
        assert (await streams[1]).text.endswith("data: [DONE]\n\n")
        assert await here.second.held(here.http) == 1
        here.ready("sleeper")
        assert (await waits[1]).status_code == 200


async def test_one_that_is_told_to_stop_loses_nothing(plane: ControlPlane, models: Models) -> None:
    """Clients of a Service: each call goes to a replica that is ready, over kept connections and over new ones."""
    async with pair(plane, models) as here:
        await here.asleep(scaling={"idleSeconds": 600})
        here.ready()
        ready = list(here.both)
        stop = asyncio.Event()
        served: list[int] = []

        async def calls(keep: bool) -> None:
            limits = httpx.Limits(max_keepalive_connections=10 if keep else 0)
            async with httpx.AsyncClient(limits=limits, timeout=20) as http:
                while not stop.is_set():
                    answer = await http.post(ready[len(served) % len(ready)].url + URL, json=CHAT)
                    served.append(answer.status_code)

        load = [asyncio.create_task(calls(number % 2 == 0)) for number in range(6)]
        await until(lambda: len(served) >= 60)
        here.first.process.terminate()
        async with asyncio.timeout(60):
            while (await here.http.get(f"{here.first.ops}/readyz")).status_code != 503:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        ready.remove(here.first)
        assert await here.first.process.wait() == 0
        at_end = len(served)
        await until(lambda: len(served) >= at_end + 60)
        stop.set()
        await asyncio.gather(*load)
        assert set(served) == {200}


async def test_nothing_but_a_call_changes_the_lease(plane: ControlPlane, models: Models) -> None:
    """On the real API server: the Lease keeps its resourceVersion through every list, scrape, probe and bad request."""
    async with pair(plane, models) as here:
        await here.asleep()
        before = here.lease()["metadata"]["resourceVersion"]
        for each in here.both:
            for path in READS:
                assert (await here.http.get(each.url + path)).status_code == 200, path
                await here.http.head(each.url + path)
            for path in ("/livez", "/readyz", "/demand", "/metrics"):
                assert (await here.http.get(each.ops + path)).status_code == 200, path
            bad: tuple[dict[str, Any], ...] = ({"messages": "x"}, {"model": "nobody"}, {"temperature": "hot"})
            for fields in bad:
                assert (await here.call(each, **fields)).status_code in (400, 404)
            assert (await here.http.put(each.url + URL, json=CHAT)).status_code == 405
            assert (await here.http.post(f"{each.url}/v1/chat", json=CHAT)).status_code == 404
            assert (await here.http.post(f"{each.url}/api/show", json={"model": "tiny"})).status_code == 200
            assert await each.lease_writes(here.http) == 0
        assert here.lease()["metadata"]["resourceVersion"] == before
        call = asyncio.create_task(here.call(here.first))
        await until(lambda: here.lease()["metadata"]["resourceVersion"] != before)
        here.ready()
        assert (await call).status_code == 200
