"""The API server in memory, and the objects of it that tests put there.

`FakeCluster` is `cluster.Cluster` with real watch semantics (versions, 410 after compaction, deletions) and faults to
order.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from dormouse_api.lease import FOREVER, Wish, micro_time, read_wish
from dormouse_api.names import LABEL_DERIVED, LABEL_MODEL, runtime_name
from dormouse_router.cluster import ClusterError, Event, Expired, LeaseState, Listing, Object, Resource


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
        self.lag = 0.0
        """Seconds until watches hear of a change, as those of a busy API server do."""
        self.created: list[tuple[str, str, Object]] = []
        self.deleted: list[tuple[str, str]] = []
        self.annotations: dict[tuple[str, str], dict[str, str]] = {}
        """Of leases, by (namespace, lease)."""
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

    async def annotate_lease(self, namespace: str, name: str, annotations: Mapping[str, str]) -> None:
        self._check()
        if (namespace, name) not in self.leases:
            raise ClusterError(404, f"leases {name} not found", "NotFound")
        self.annotations.setdefault((namespace, name), {}).update(annotations)

    async def create_model(self, meta: Object, spec: Object, *, dry_run: bool = False) -> None:
        self._check()
        namespace, name = meta["namespace"], meta["name"]
        if (namespace, name) in self.objects[Resource.MODELS]:
            raise ClusterError(409, f"{name} already exists", "AlreadyExists")
        if dry_run:
            return
        self.created.append((namespace, name, spec))
        obj = model(name, namespace=namespace, reason="Pulling", message="Pulling.")
        self.add_model(obj | {"metadata": obj["metadata"] | meta, "spec": spec})

    async def patch_model(self, namespace: str, name: str, uid: str, spec: Object, *, dry_run: bool = False) -> None:
        self._check()
        found = self.objects[Resource.MODELS].get((namespace, name))
        if found is None:
            raise ClusterError(404, f"{name} not found", "NotFound")
        if found["metadata"]["uid"] != uid:
            raise ClusterError(409, "the uid is another", "Conflict")
        if not dry_run:
            self.put(Resource.MODELS, found | {"spec": merged(found["spec"], spec)})

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
        if self.lag:
            asyncio.get_running_loop().call_later(self.lag, self._wake)
        else:
            self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


def merged(old: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    kept = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = merged(kept.get(key), value)
    return kept


def _validate_lease(spec: Object) -> None:
    if not 1 <= spec["leaseDurationSeconds"] <= FOREVER or not spec["renewTime"].endswith("Z"):
        raise ClusterError(422, f"invalid lease {spec}", "Invalid")
