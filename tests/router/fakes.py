"""The outside of the router, in memory or on loopback: an API server, a raw engine, and a router between them.

`FakeCluster` is `cluster.Cluster` with real watch semantics (versions, 410 after compaction, deletions) and faults to
order.
`Engine` is a TCP server whose every byte a test decides.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

from dormouse_api.lease import FOREVER, Wish, micro_time, read_wish
from dormouse_api.names import LABEL_DERIVED, LABEL_MODEL, runtime_name
from dormouse_router.cluster import ClusterError, Event, Expired, LeaseState, Listing, Object, Resource
from dormouse_router.serve import Router
from dormouse_router.settings import Settings

DEADLINE = 20.0


def model(
    name: str = "tiny",
    *,
    namespace: str = "default",
    reason: str = "ScaledToZero",
    message: str = "Asleep.",
    created: float = 1_700_000_000.0,
    aliases: tuple[str, ...] = (),
    scaling: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
) -> Object:
    """An InferenceModel as the API server would send it."""
    ready = "True" if reason in ("ScaledToZero", "Serving", "Waking") else "False"
    condition = {
        "type": "Ready",
        "status": ready,
        "reason": reason,
        "message": message,
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    return {
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": f"uid-{namespace}-{name}",
            "creationTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created)),
        },
        "spec": {
            "source": {"uri": "hf://dormouse/tiny-chat"},
            "aliases": list(aliases),
            "scaling": {"idleSeconds": 60, **(scaling or {})},
        },
        "status": {"conditions": [condition], "commit": "c0ffee", **(status or {})},
    }


def route(
    name: str,
    *variants: tuple[str, int],
    namespace: str = "default",
    created: float = 1_750_000_000.0,
    **spec: Any,
) -> Object:
    """An InferenceRoute over (model, weight) pairs as the API server would send it; `spec` in camelCase."""
    return {
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": f"route-{namespace}-{name}",
            "creationTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created)),
        },
        "spec": {"variants": [{"model": model, "weight": weight} for model, weight in variants], **spec},
    }


def slice_of(name: str, *ports: int, namespace: str = "default", ready: bool = True, host: str = "127.0.0.1") -> Object:
    """The model's EndpointSlice with one endpoint per port: a slice has one port, so tests use one slice per port."""
    port = ports[0] if ports else 8000
    endpoints = [{"addresses": [host], "conditions": {"ready": ready}}] if ports else []
    return {
        "metadata": {
            "namespace": namespace,
            "name": f"{name}-{port}",
            "uid": f"slice-{name}-{port}",
            "labels": {LABEL_MODEL: name, "kubernetes.io/service-name": runtime_name(name)},
        },
        "addressType": "IPv4",
        "ports": [{"name": "serving", "port": port}],
        "endpoints": endpoints,
    }


class FakeCluster:
    """An API server in memory. Times of leases are real seconds since the epoch."""

    def __init__(self) -> None:
        self.objects: dict[Resource, dict[tuple[str, str], Object]] = {resource: {} for resource in Resource}
        self.leases: dict[tuple[str, str], tuple[int, dict[str, object]]] = {}
        self.writes: list[tuple[str, str, Wish]] = []
        """(namespace, lease, wish) of every lease write that went through."""
        self.reads = 0
        self.faults: list[ClusterError] = []
        """Raised, one per call, by the next lease calls."""
        self.down: ClusterError | None = None
        """Raised by every call while set; open watches break off."""
        self.created: list[tuple[str, str, Object]] = []
        self.deleted: list[tuple[str, str]] = []
        self._version = 100
        self._log: list[tuple[int, Resource, Event]] = []
        self._oldest = 0
        self._news = asyncio.Event()
        self.on_lease_write: Callable[[str, str, Wish], None] | None = None

    # ------------------------------------------------------------------ what a test does to it

    def put(self, resource: Resource, obj: Object) -> None:
        key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        kind = "MODIFIED" if key in self.objects[resource] else "ADDED"
        self._record(kind, resource, obj)
        self.objects[resource][key] = self._log[-1][2].object

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        self._record("DELETED", resource, self.objects[resource].pop((namespace, name)))

    def add_route(self, name: str, *variants: tuple[str, int], **more: Any) -> None:
        """An InferenceRoute over (model, weight) pairs; `more` as `route` takes it."""
        self.put(Resource.ROUTES, route(name, *variants, **more))

    def add_model(self, obj: Object | None = None, *, lease: bool = True) -> None:
        obj = obj or model()
        self.put(Resource.MODELS, obj)
        meta = obj["metadata"]
        if lease:
            self.leases.setdefault((meta["namespace"], runtime_name(meta["name"])), (1, {}))

    def forget_silently(self, resource: Resource, namespace: str, name: str) -> None:
        """A deletion that no watch will ever tell of, followed by a 410 for everybody."""
        del self.objects[resource][namespace, name]
        self.compact()

    def compact(self) -> None:
        """Every watch is too old now."""
        self._version += 1
        self._oldest = self._version
        self._log.clear()
        self._wake()

    def break_down(self, status: int = 0) -> None:
        self.down = ClusterError(status, "the API server is away")
        self._wake()

    def come_back(self) -> None:
        self.down = None

    def wish(self, name: str = "tiny", namespace: str = "default") -> Wish | None:
        return read_wish(self.leases[namespace, runtime_name(name)][1])

    def steal(self, wish: Wish, name: str = "tiny", namespace: str = "default") -> None:
        """Another router writes the lease."""
        key = (namespace, runtime_name(name))
        version, _ = self.leases[key]
        spec: dict[str, object] = {"renewTime": micro_time(wish.renewed), "leaseDurationSeconds": wish.duration}
        self.leases[key] = (version + 1, spec)

    # ------------------------------------------------------------------ cluster.Cluster

    async def list(self, resource: Resource, namespace: str | None) -> Listing:
        self._check()
        items = [obj for (ns, _), obj in self.objects[resource].items() if namespace in (None, ns)]
        return Listing(items, str(self._version))

    async def watch(self, resource: Resource, namespace: str | None, version: str) -> AsyncGenerator[Event, None]:
        self._check()
        seen = int(version)
        while True:
            if self.down:
                raise self.down
            if seen < self._oldest:
                raise Expired
            news = self._news
            for at, kind, event in list(self._log):
                if at > seen and kind is resource and namespace in (None, event.object["metadata"]["namespace"]):
                    yield event
            seen = max([seen, *(at for at, _, _ in self._log)])
            await news.wait()

    async def get_lease(self, namespace: str, name: str) -> LeaseState:
        self._check()
        self.reads += 1
        self._fault()
        if (namespace, name) not in self.leases:
            raise ClusterError(404, f"leases {name} not found", "NotFound")
        version, spec = self.leases[namespace, name]
        return LeaseState(str(version), read_wish(spec))

    async def patch_lease(self, namespace: str, name: str, spec: Object, version: str) -> LeaseState:
        self._check()
        self._fault()
        current, _ = self.leases[namespace, name]
        if str(current) != version:
            raise ClusterError(409, "the object has been modified", "Conflict")
        _validate_lease(spec)
        self.leases[namespace, name] = (current + 1, dict(spec))
        wish = read_wish(spec)
        assert wish is not None
        self.writes.append((namespace, name, wish))
        if self.on_lease_write is not None:
            self.on_lease_write(namespace, name, wish)
        return LeaseState(str(current + 1), wish)

    async def create_model(self, namespace: str, name: str, spec: Object) -> None:
        self._check()
        if (namespace, name) in self.objects[Resource.MODELS]:
            raise ClusterError(409, f"{name} already exists", "AlreadyExists")
        self.created.append((namespace, name, spec))
        obj = model(name, namespace=namespace, reason="Pulling", message="Pulling.")
        self.add_model(obj | {"spec": spec})

    async def delete_model(self, namespace: str, name: str, uid: str) -> None:
        self._check()
        found = self.objects[Resource.MODELS].get((namespace, name))
        if found is None:
            raise ClusterError(404, f"{name} not found", "NotFound")
        if found["metadata"]["uid"] != uid:
            raise ClusterError(409, "the uid is another", "Conflict")
        self.deleted.append((namespace, name))
        self.remove(Resource.MODELS, namespace, name)

    async def create_route(self, namespace: str, name: str, spec: Object) -> None:
        self._check()
        if (namespace, name) in self.objects[Resource.ROUTES]:
            raise ClusterError(409, f"{name} already exists", "AlreadyExists")
        obj = route(name, namespace=namespace, created=time.time())
        obj["metadata"]["labels"] = {LABEL_DERIVED: "true"}
        self.put(Resource.ROUTES, obj | {"spec": spec})

    async def replace_route(self, namespace: str, name: str, spec: Object, version: str) -> None:
        self._check()
        found = self.objects[Resource.ROUTES].get((namespace, name))
        if found is None:
            raise ClusterError(404, f"{name} not found", "NotFound")
        if found["metadata"]["resourceVersion"] != version:
            raise ClusterError(409, "the object has been modified", "Conflict")
        self.put(Resource.ROUTES, found | {"spec": spec})

    async def delete_route(self, namespace: str, name: str, uid: str) -> None:
        self._check()
        found = self.objects[Resource.ROUTES].get((namespace, name))
        if found is None:
            raise ClusterError(404, f"{name} not found", "NotFound")
        if found["metadata"]["uid"] != uid:
            raise ClusterError(409, "the uid is another", "Conflict")
        self.remove(Resource.ROUTES, namespace, name)

    # ------------------------------------------------------------------ inside

    def _check(self) -> None:
        if self.down:
            raise self.down

    def _fault(self) -> None:
        if self.faults:
            raise self.faults.pop(0)

    def _record(self, kind: str, resource: Resource, obj: Object) -> None:
        self._version += 1
        obj = obj | {"metadata": obj["metadata"] | {"resourceVersion": str(self._version)}}
        self._log.append((self._version, resource, Event(kind, obj)))
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


def _validate_lease(spec: Object) -> None:
    if not 1 <= spec["leaseDurationSeconds"] <= FOREVER or not spec["renewTime"].endswith("Z"):
        raise ClusterError(422, f"invalid lease {spec}", "Invalid")


# ---------------------------------------------------------------------------------------------------- an engine

Serve = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """One request at an engine, and the raw way back."""

    def __init__(self, head: bytes, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.head, self.body = head, body
        self._reader, self._writer = reader, writer

    @property
    def path(self) -> str:
        return self.head.split(b" ", 2)[1].decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, value: object, status: int = 200, headers: str = "") -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
        await self.raw(head.encode() + body)

    async def stream_head(self) -> None:
        await self.raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")

    async def chunk(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def event(self, value: object) -> None:
        await self.chunk(b"data: " + json.dumps(value).encode() + b"\n\n")

    async def finish(self) -> None:
        await self.chunk(b"data: [DONE]\n\n")
        await self.raw(b"0\r\n\r\n")

    def cut(self) -> None:
        """Close the connection without another byte."""
        self._writer.transport.abort()

    async def closed(self) -> None:
        """Until the router has closed the connection."""
        while await self._reader.read(65536):
            pass


async def speak(exchange: Exchange) -> None:
    """An engine that answers every chat with "Paris.", streamed if asked."""
    body = exchange.json
    if not body.get("stream"):
        await exchange.answer(chat_completion("Paris.", body["model"]))
        return
    await exchange.stream_head()
    for word in ("Par", "is", "."):
        await exchange.event(chat_chunk(word, body["model"]))
    await exchange.event(chat_chunk("", body["model"], "stop"))
    await exchange.finish()


def chat_completion(text: str, model_name: str = "tiny") -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model_name,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    }


def chat_chunk(text: str, model_name: str = "tiny", finish: str | None = None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model_name,
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}],
    }


class Engine:
    """A raw HTTP server. `serve` decides every answer; `seen` holds every request."""

    def __init__(self, serve: Serve = speak, *, requests_per_connection: int | None = None) -> None:
        self.serve = serve
        self.seen: list[Exchange] = []
        self.connections = 0
        self.open: set[asyncio.StreamWriter] = set()
        self._limit = requests_per_connection
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and reset every connection, as a killed pod does."""
        if self._server is not None:
            self._server.close()
            for writer in list(self.open):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        served = 0
        try:
            while self._limit is None or served < self._limit:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                exchange = Exchange(head, await reader.readexactly(length), reader, writer)
                self.seen.append(exchange)
                served += 1
                await self.serve(exchange)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


# ---------------------------------------------------------------------------------------------------- a router


class Stage:
    """A running router with a fake cluster behind it and, once `awake`, engines."""

    def __init__(self, settings: Settings, cluster: FakeCluster | None = None) -> None:
        self.cluster = cluster or FakeCluster()
        self.router = Router(self.cluster, settings)
        self.stop = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.router.port}"

    @property
    def ops(self) -> str:
        return f"http://127.0.0.1:{self.router.ops_port}"

    def ready(self, *engines: Engine, name: str = "tiny") -> None:
        """The engines become the model's ready endpoints."""
        for engine in engines:
            self.cluster.put(Resource.SLICES, slice_of(name, engine.port))

    def unready(self, engine: Engine, name: str = "tiny") -> None:
        self.cluster.put(Resource.SLICES, slice_of(name, engine.port, ready=False))

    async def awake(self, *engines: Engine, name: str = "tiny") -> None:
        """Add the model and make the engines its endpoints; returns when the router knows."""
        if (("default", name)) not in self.cluster.objects[Resource.MODELS]:
            self.cluster.add_model(model(name))
        self.ready(*engines, name=name)
        await until(lambda: self.endpoints(name) == len(engines))

    async def asleep(self, obj: Object | None = None) -> None:
        """Add a model without endpoints; returns when the router knows."""
        obj = obj or model()
        self.cluster.add_model(obj)
        key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        await until(lambda: self.router.catalog.get(key) is not None)

    def endpoints(self, name: str = "tiny") -> int:
        """How many ready endpoints the router knows."""
        entry = self.router.catalog.find(name)
        return len(entry.endpoints) if entry is not None else 0

    def wake_with(self, engine: Engine, name: str = "tiny") -> None:
        """Stand in for the operator: the first wish for the model brings `engine` up."""
        self.cluster.on_lease_write = lambda _namespace, _lease, wish: (
            self.ready(engine, name=name) if wish.ends > time.time() else None
        )


SETTINGS = Settings(host="127.0.0.1", port=0, ops_port=0, pod_name="router-1", drain_delay=0.0, drain_seconds=5.0)


@contextlib.asynccontextmanager
async def stage(**settings: Any) -> AsyncIterator[Stage]:
    """A running router, listed and ready."""
    made = Stage(replace(SETTINGS, **settings))
    running = asyncio.create_task(made.router.run(made.stop))
    try:
        async with asyncio.timeout(DEADLINE):
            for watcher in made.router.watchers:
                await watcher.synced.wait()
        yield made
    finally:
        made.stop.set()
        async with asyncio.timeout(DEADLINE):
            await running


async def until(condition: Callable[[], bool], seconds: float = DEADLINE) -> None:
    """Wait until `condition` holds; the test fails when it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is not ours to signal
            await asyncio.sleep(0.005)
