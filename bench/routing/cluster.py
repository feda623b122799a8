"""A cluster in memory for the router under test: models, endpoints and leases, changed by whoever runs the bench.

`dormouse_router.cluster.Cluster` without a server. Keeps no history, so that its own memory stays flat in a soak: a
watch hears of what changes after it began, and the router begins it in the same turn of the loop in which it listed.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Mapping

from dormouse_api.lease import Wish, read_wish
from dormouse_api.names import LABEL_MODEL, runtime_name
from dormouse_router.cluster import ClusterError, Event, LeaseState, Listing, Object, Resource

NAMESPACE = "default"


def model(name: str, uid: str, scaling: dict[str, int] | None = None) -> Object:
    """An InferenceModel whose weights are here."""
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Serving",
        "message": "Serving.",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    return {
        "metadata": {
            "namespace": NAMESPACE,
            "name": name,
            "uid": uid,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"source": {"uri": "hf://dormouse/bench"}, "scaling": scaling or {}},
        "status": {
            "conditions": [condition],
            "commit": "0" * 40,
            "engine": {"name": "vllm", "quantization": "int4"},
        },
    }


def endpoint_slice(name: str, port: int) -> Object:
    """One ready engine of the model. A slice has one port for all its addresses, so each engine has its own slice."""
    return {
        "metadata": {
            "namespace": NAMESPACE,
            "name": f"{name}-{port}",
            "labels": {LABEL_MODEL: name, "kubernetes.io/service-name": runtime_name(name)},
        },
        "ports": [{"name": "serving", "port": port}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
    }


class MemoryCluster:
    """An API server in which only the bench and the router's leases change anything."""

    def __init__(self) -> None:
        self._objects: dict[Resource, dict[str, Object]] = {resource: {} for resource in Resource}
        self._watches: dict[Resource, set[asyncio.Queue[Event]]] = {resource: set() for resource in Resource}
        self._leases: dict[str, LeaseState] = {}
        self._version = 0

    # ------------------------------------------------------------------ what the bench does

    def add_model(self, name: str, scaling: dict[str, int] | None = None) -> None:
        self._leases[runtime_name(name)] = LeaseState("1", None)
        self._put(Resource.MODELS, model(name, f"{name}-{self._version}", scaling))

    def remove_model(self, name: str) -> None:
        self._leases.pop(runtime_name(name), None)
        self.set_endpoints(name, ())
        self._remove(Resource.MODELS, name)

    def set_endpoints(self, name: str, ports: Iterable[int]) -> int:
        """Exactly these engines are ready for the model; monotonic nanoseconds just before the router can know."""
        wanted = {f"{name}-{port}": endpoint_slice(name, port) for port in ports}
        slices = self._objects[Resource.SLICES]
        have = {key for key, obj in slices.items() if obj["metadata"]["labels"][LABEL_MODEL] == name}
        began = time.monotonic_ns()
        for key in have - wanted.keys():
            self._remove(Resource.SLICES, key)
        for key in wanted.keys() - have:
            self._put(Resource.SLICES, wanted[key])
        return began

    def wishes(self) -> dict[str, float]:
        """By model: until when it is wanted awake, in seconds since the epoch."""
        names = {runtime_name(name): name for name in self._objects[Resource.MODELS]}
        return {
            names[lease]: state.wish.ends
            for lease, state in self._leases.items()
            if state.wish is not None and lease in names
        }

    # ------------------------------------------------------------------ dormouse_router.cluster.Cluster

    async def list(self, resource: Resource, namespace: str | None) -> Listing:
        return Listing(list(self._objects[resource].values()), str(self._version))

    async def watch(self, resource: Resource, namespace: str | None, version: str) -> AsyncGenerator[Event, None]:
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self._watches[resource].add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._watches[resource].discard(queue)

    async def get_lease(self, namespace: str, name: str) -> LeaseState:
        return self._lease(name)

    async def patch_lease(self, namespace: str, name: str, spec: Object, version: str) -> LeaseState:
        known = self._lease(name)
        if known.version != version:
            raise ClusterError(409, "the object has been modified", "Conflict")
        wish: Wish | None = read_wish(spec)
        self._leases[name] = state = LeaseState(str(int(version) + 1), wish)
        return state

    async def annotate_lease(self, namespace: str, name: str, annotations: Mapping[str, str]) -> None:
        raise ClusterError(403, "nothing is reloaded in a bench")

    async def create_model(self, meta: Object, spec: Object, *, dry_run: bool = False) -> None:
        raise ClusterError(403, "nothing is created in a bench")

    async def patch_model(self, namespace: str, name: str, uid: str, spec: Object, *, dry_run: bool = False) -> None:
        raise ClusterError(403, "nothing is changed in a bench")

    async def delete_model(self, namespace: str, name: str, uid: str) -> None:
        raise ClusterError(403, "nothing is deleted in a bench")

    async def create_route(self, namespace: str, name: str, spec: Object) -> None:
        raise ClusterError(403, "nothing is created in a bench")

    async def replace_route(self, namespace: str, name: str, spec: Object, version: str) -> None:
        raise ClusterError(403, "nothing is changed in a bench")

    async def delete_route(self, namespace: str, name: str, uid: str) -> None:
        raise ClusterError(403, "nothing is deleted in a bench")

    # ------------------------------------------------------------------ inside

    def _lease(self, name: str) -> LeaseState:
        if name not in self._leases:
            raise ClusterError(404, f"leases {name} not found", "NotFound")
        return self._leases[name]

    def _put(self, resource: Resource, obj: Object) -> None:
        name = obj["metadata"]["name"]
        kind = "MODIFIED" if name in self._objects[resource] else "ADDED"
        self._objects[resource][name] = obj
        self._tell(resource, kind, obj)

    def _remove(self, resource: Resource, name: str) -> None:
        obj = self._objects[resource].pop(name, None)
        if obj is not None:
            self._tell(resource, "DELETED", obj)

    def _tell(self, resource: Resource, kind: str, obj: Object) -> None:
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        for queue in self._watches[resource]:
            queue.put_nowait(Event(kind, obj))
