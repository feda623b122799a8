"""The router itself, whole (metrics, accounting, leases, limits), on a cluster in memory with one awake model.

python -m bench.routing.proxy PORT ENGINE_PORT
"""

import asyncio
import sys
from collections.abc import AsyncGenerator
from dataclasses import replace

import structlog
import uvloop

from bench.routing.bodies import MODEL
from dormouse_api.lease import read_wish
from dormouse_api.names import LABEL_MODEL, runtime_name
from dormouse_router.__main__ import tune_gc
from dormouse_router.cluster import ClusterError, Event, LeaseState, Listing, Object, Resource
from dormouse_router.serve import Router
from dormouse_router.settings import Settings

MODEL_OBJECT: Object = {
    "metadata": {
        "namespace": "default",
        "name": MODEL,
        "uid": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "resourceVersion": "1",
    },
    "spec": {"source": {"uri": "hf://dormouse/bench"}},
    "status": {
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Serving",
                "message": "Serving.",
                "observedGeneration": 1,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
        "commit": "0" * 40,
        "engine": {"name": "vllm", "quantization": "int4"},
    },
}


class StillCluster:
    """An API server in which nothing ever changes but the leases."""

    def __init__(self, engine_port: int) -> None:
        labels = {LABEL_MODEL: MODEL, "kubernetes.io/service-name": runtime_name(MODEL)}
        endpoint = {"addresses": ["127.0.0.1"], "conditions": {"ready": True}}
        self._objects: dict[Resource, list[Object]] = {
            Resource.MODELS: [MODEL_OBJECT],
            Resource.SLICES: [
                {
                    "metadata": {"namespace": "default", "name": "bench-1", "labels": labels},
                    "ports": [{"port": engine_port}],
                    "endpoints": [endpoint],
                }
            ],
        }
        self._lease = LeaseState("1", None)

    async def list(self, resource: Resource, namespace: str | None) -> Listing:
        return Listing(self._objects[resource], "1")

    async def watch(self, resource: Resource, namespace: str | None, version: str) -> AsyncGenerator[Event, None]:
        await asyncio.Event().wait()
        yield Event("BOOKMARK", {})

    async def get_lease(self, namespace: str, name: str) -> LeaseState:
        return self._lease

    async def patch_lease(self, namespace: str, name: str, spec: Object, version: str) -> LeaseState:
        self._lease = LeaseState(str(int(version) + 1), read_wish(spec))
        return self._lease

    async def create_model(self, namespace: str, name: str, spec: Object) -> None:
        raise ClusterError(403, "nothing is created in a bench")

    async def delete_model(self, namespace: str, name: str, uid: str) -> None:
        raise ClusterError(403, "nothing is deleted in a bench")


async def main(port: int, engine_port: int) -> None:
    settings = replace(Settings(), host="127.0.0.1", port=port, ops_port=0)
    router = Router(StillCluster(engine_port), settings)
    tune_gc()
    await router.run(asyncio.Event())


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
