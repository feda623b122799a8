"""A control plane with fake nodes, volumes and many InferenceModels, and everything the bench does to them.

Pods are kwok's (`stages`); volumes are made beforehand, each for the claim of one model, and bound by Kubernetes' own
controller. Knows nothing of operators.
"""

import base64
import itertools
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from bench.reconciling.births import Births
from bench.reconciling.stages import stages
from bench.reconciling.trace import Moment
from bench.routing.processes import BenchError
from dev.cluster.controlplane import ControlPlane
from dormouse_api import names
from dormouse_api.lease import lease_spec, wish_for

Object = dict[str, Any]
CRDS = Path(__file__).resolve().parents[2] / "crds"
WAKER = "bench-router"
"""User agent of the renewals of Leases."""
SPACES = 4
NODES = 8
DEVICES = 64
START_SECONDS = 0.5
"""From a runtime pod's node to its readiness."""
MERGE = "application/merge-patch+json"
GROUP = f"/apis/{names.API_VERSION}"
PROFILES = ("cpu", "gpu")


@dataclass(frozen=True)
class Name:
    """Where a model is."""

    space: str
    model: str

    @property
    def path(self) -> str:
        return f"{GROUP}/namespaces/{self.space}/{names.MODEL_PLURAL}/{self.model}"

    @property
    def lease(self) -> str:
        child = names.runtime_name(self.model)
        return f"/apis/coordination.k8s.io/v1/namespaces/{self.space}/leases/{child}"


def fleet(count: int) -> list[Name]:
    """The names of `count` models over all namespaces."""
    return [Name(f"bench-{number % SPACES}", f"m{number:05}") for number in range(count)]


class World:
    """One API server as the administrator; `opened` makes it."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        user = yaml.safe_load(plane.kubeconfig.read_text())
        cluster, credentials = user["clusters"][0]["cluster"], user["users"][0]["user"]
        files = {key: plane.folder / f"bench-{key}" for key in ("ca", "crt", "key")}
        for key, text in zip(files, (cluster, credentials, credentials), strict=True):
            field = {"ca": "certificate-authority", "crt": "client-certificate", "key": "client-key"}[key]
            files[key].write_bytes(_decoded(text[f"{field}-data"]))
        self._context = ssl.create_default_context(cafile=str(files["ca"]))
        self._context.load_cert_chain(files["crt"], files["key"])
        self._http = self._client()

    def close(self) -> None:
        self._http.close()

    def request(self, method: str, path: str, body: Object | None = None, **headers: str) -> Object:
        """The decoded answer; BenchError when it is a refusal."""
        answer = self._http.request(method, path, json=body, headers=headers)
        if answer.status_code >= 300:
            raise BenchError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return dict(answer.json())

    def furnish(self) -> None:
        """CRDs, profiles, namespaces and nodes."""
        for path in sorted(CRDS.glob("*.yaml")):
            self.plane.kubectl("apply", "--server-side", "-f", str(path))
        self.plane.kubectl("wait", "crd", "--all", "--for=condition=Established", "--timeout=30s")
        for profile in PROFILES:
            self.request("POST", f"{GROUP}/{names.PROFILE_PLURAL}", _profile(profile))
        for number in range(SPACES):
            self.request("POST", "/api/v1/namespaces", {"metadata": {"name": f"bench-{number}"}})
        for number in range(NODES):
            self.request("POST", "/api/v1/nodes", _node(f"node-{number}"))
        self.plane.kubectl("wait", "nodes", "--all", "--for=condition=Ready", "--timeout=60s")

    def apply(self, models: Iterable[Name], profile: str) -> None:
        """The models and their volumes."""

        def make(name: Name) -> None:
            self.request("POST", "/api/v1/persistentvolumes", _volume(name))
            spec = {"source": {"uri": f"hf://bench/{name.model}"}, "profile": profile}
            body = {"apiVersion": names.API_VERSION, "kind": names.MODEL_KIND, "metadata": {"name": name.model}}
            self.request("POST", name.path.rpartition("/")[0], body | {"spec": spec})

        with ThreadPoolExecutor(4) as pool:
            for _ in pool.map(make, models):
                pass

    def reasons(self) -> dict[str, int]:
        """How many models there are by the reason of Ready."""
        found: dict[str, int] = {}
        for item in self._all(f"{GROUP}/{names.MODEL_PLURAL}"):
            conditions = {c["type"]: c for c in item.get("status", {}).get("conditions", ())}
            reason = conditions.get("Ready", {}).get("reason", "nothing yet")
            found[reason] = found.get(reason, 0) + 1
        return found

    def count(self, path: str) -> int:
        """How many objects of a kind carry our label."""
        page = self.request("GET", f"{path}?limit=1&labelSelector={names.SELECTOR.replace('=', '%3D')}")
        return len(page["items"]) + int(page["metadata"].get("remainingItemCount", 0))

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self.plane.url, verify=self._context, timeout=30, trust_env=False)

    def births(self) -> Births:
        """A watch of runtime pods, from now on."""
        return Births(self._client)

    def wake(self, name: Name, seconds: float) -> Moment:
        """Renew the Lease, as a router does; the moment before."""
        now = time.time()
        spec = lease_spec(wish_for(now, seconds), WAKER)
        self.request("PATCH", name.lease, {"spec": spec}, **{"Content-Type": MERGE, "User-Agent": WAKER})
        return Moment(name.space, name.model, now)

    def change(self, name: Name, seconds: int) -> None:
        """Change the spec, as a user does."""
        self.request("PATCH", name.path, {"spec": {"scaling": {"idleSeconds": seconds}}}, **{"Content-Type": MERGE})

    def _all(self, path: str) -> Iterator[Object]:
        query = "?limit=500"
        while query:
            page = self.request("GET", path + query)
            yield from page["items"]
            token = page["metadata"].get("continue")
            query = f"?limit=500&continue={token}" if token else ""


@contextmanager
def opened() -> Iterator[World]:
    """A furnished control plane that is gone afterwards."""
    with ControlPlane(kwok=True, audit=True, stages=lambda given: stages(given, START_SECONDS)) as plane:
        world = World(plane)
        try:
            world.furnish()
            yield world
        finally:
            world.close()


def until(what: Callable[[], bool], seconds: float, tell: Callable[[], object], every: float = 0.1) -> bool:
    """Whether `what` came true within `seconds`; `tell` is called every few seconds meanwhile."""
    began = time.monotonic()
    for turn in itertools.count(1):
        if what():
            return True
        passed = time.monotonic() - began
        if passed > seconds:
            return False
        if turn % max(1, round(5 / every)) == 0:
            tell()
        time.sleep(every)
    raise AssertionError("unreachable: the counter has no end")


def _decoded(text: str) -> bytes:
    return base64.b64decode(text)


def _profile(name: str) -> Object:
    spec: Object = {"image": "runtime:1", "device": "cpu", "kvCacheMemory": "1Gi"}
    if name == "gpu":
        accelerator = {"resource": "nvidia.com/gpu", "memory": "80Gi"}
        spec = {"image": "runtime:1", "device": "cuda", "accelerator": accelerator, "maxAwake": NODES * DEVICES}
    return {"apiVersion": names.API_VERSION, "kind": names.PROFILE_KIND, "metadata": {"name": name}, "spec": spec}


def _node(name: str) -> Object:
    room = {"cpu": "1000", "memory": "4Ti", "pods": "1000", "nvidia.com/gpu": str(DEVICES)}
    labels = {"kubernetes.io/hostname": name}  # what a kubelet says of itself, and pods that follow others go by
    meta = {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": labels}
    return {"metadata": meta, "status": {"capacity": room, "allocatable": room}}


def _volume(name: Name) -> Object:
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": name.space}
    spec = {
        "capacity": {"storage": "1Ti"},
        "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
        "claimRef": claim | {"name": names.weights_name(name.model)},
        "persistentVolumeReclaimPolicy": "Retain",
        "hostPath": {"path": f"/nowhere/{name.model}"},
    }
    return {"metadata": {"name": f"{name.space}-{name.model}"}, "spec": spec}
