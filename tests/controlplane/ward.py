"""Where models are made to fail: one operator, many rows at once, each with its own cause, cure and clock.

The test plays what the cluster has none of here (kubelets, provisioners, a hub); scheduler, controllers and admission
are the real ones. A `Case` is one model that is to fail, and all that a row may do to it.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from dev.cluster.controlplane import ControlPlane
from dormouse_api import names
from tests.controlplane.kubelet import Kubelet, Object, Play, Rest, stamp
from tests.controlplane.operatorprocess import Models, until

PROFILES = f"/apis/{names.API_VERSION}/{names.PROFILE_PLURAL}"


class Ward(Kubelet):
    """A kubelet that plays each model by itself, and leaves some to the real scheduler."""

    def __init__(self, rest: Rest, plane: ControlPlane) -> None:
        super().__init__(rest)
        self.plane = plane
        self.plays: dict[tuple[str, str], Play] = {}
        self.usual = dict(self.script)
        self.placed: set[str] = set()
        """Models whose runtime pods the real scheduler places."""
        self.lost: set[str] = set()
        """Models whose pods are not ended: their node does not answer."""
        self.script = {component: self._of(component) for component in self.usual}

    def _of(self, component: str) -> Play:
        def play(pod: Object) -> Object | None:
            model = pod["metadata"]["labels"][names.LABEL_MODEL]
            return self.plays.get((model, component), self.usual[component])(pod)

        return play

    def _play(self, pod: Object) -> None:
        meta = pod["metadata"]
        model, component = meta["labels"].get(names.LABEL_MODEL), meta["labels"].get(names.LABEL_COMPONENT)
        if model in self.lost and "deletionTimestamp" in meta:
            return
        if model in self.placed and component == names.COMPONENT_RUNTIME and not pod["spec"].get("nodeName"):
            if "deletionTimestamp" in meta:
                super()._play(pod)
            return
        try:
            super()._play(pod)
        except httpx.HTTPStatusError as error:
            # the real scheduler or a controller came first: the next round sees what it did
            if error.response.status_code not in (404, 409):
                raise


@dataclass
class Case:
    """One model, and when its cause was there (`began`, monotonic seconds)."""

    name: str
    models: Models
    ward: Ward
    began: float | None = None
    made: list[Callable[[], object]] = field(default_factory=list)
    """What takes away again what the row has made."""

    @property
    def rest(self) -> Rest:
        return self.ward.rest

    @property
    def space(self) -> str:
        return self.models.namespace

    def apply(self, **spec: Any) -> None:
        """The model, with a volume of its own: what befalls one row is not to befall another."""
        self.models.apply(self.name, **spec | {"storage": {"share": False} | spec.get("storage", {})})

    def patch(self, **spec: Any) -> None:
        self.rest.patch(self.models.path(self.name), {"spec": spec})

    def wake(self) -> None:
        self.models.wake(self.name, 600)

    def asleep(self, **spec: Any) -> None:
        """Apply it and wait until it sleeps, its weights whole."""
        self.apply(**spec)
        self.models.await_reason(self.name, "ScaledToZero")

    def serving(self, **spec: Any) -> None:
        self.asleep(**spec)
        self.wake()
        self.models.await_reason(self.name, "Serving")

    def mark(self) -> None:
        """The cause is there from now on."""
        self.began = time.monotonic()

    def play(self, component: str, status: Play | Object, *events: Object) -> None:
        """What becomes of its pods of `component`; `events` are told of each as it begins."""
        told: set[str] = set()

        def play(pod: Object) -> Object | None:
            if pod["metadata"]["uid"] not in told:
                told.add(pod["metadata"]["uid"])
                for event in events:
                    self.tell("Pod", "v1", pod, **event)
                self.began = self.began or time.monotonic()
            return status(pod) if callable(status) else status

        self.ward.plays[self.name, component] = play

    def cure(self, component: str) -> None:
        """Its pods of `component` do well from now on."""
        self.ward.plays.pop((self.name, component), None)

    def tell(self, kind: str, version: str, of: Object, *, reason: str, message: str, kind_of: str = "Warning") -> None:
        """A core/v1 Event, as kubelets and controllers write them."""
        meta = of["metadata"]
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{meta['name'][:40]}.", "namespace": meta["namespace"]},
            "involvedObject": {
                "apiVersion": version,
                "kind": kind,
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
            },
            "reason": reason,
            "message": message,
            "type": kind_of,
            "source": {"component": "kubelet", "host": "pretended"},
            "firstTimestamp": stamp(),
            "lastTimestamp": stamp(),
            "count": 1,
        }
        self.rest.request("POST", f"/api/v1/namespaces/{meta['namespace']}/events", body)

    def profile(self, **spec: Any) -> str:
        """A profile of its own, named as the model."""
        body = {"image": "runtime:1", "device": "cpu", "kvCacheMemory": "1Gi"} | spec
        whole = {"apiVersion": names.API_VERSION, "kind": names.PROFILE_KIND}
        self.rest.request("POST", PROFILES, whole | {"metadata": {"name": self.name}, "spec": body})
        self.made.append(lambda: self.rest.request("DELETE", f"{PROFILES}/{self.name}"))
        return self.name

    def change_profile(self, **spec: Any) -> None:
        self.rest.patch(f"{PROFILES}/{self.name}", {"spec": spec})

    def object(self, path: str, kind: str, name: str, version: str = "v1", **body: Any) -> str:
        """Make any object; its path."""
        whole = {"apiVersion": version, "kind": kind, "metadata": {"name": name}} | body
        self.rest.request("POST", path, whole)
        self.made.append(lambda: self.rest.request("DELETE", f"{path}/{name}"))
        return f"{path}/{name}"

    def node(self, *, taints: Iterable[Object] = (), unschedulable: bool = False, **resources: str) -> str:
        """A node of its own, that only pods which ask for `row: <name>` may have; its path."""
        spec = {"taints": list(taints), "unschedulable": unschedulable}
        meta = {"name": self.name, "labels": {"row": self.name, "kubernetes.io/hostname": self.name}}
        path = self.object("/api/v1/nodes", "Node", self.name, metadata=meta, spec=spec)
        capacity = {"cpu": "8", "memory": "32Gi", "pods": "20"} | resources
        ready = {"type": "Ready", "status": "True", "reason": "Pretended", "lastHeartbeatTime": stamp()}
        status = {"capacity": capacity, "allocatable": capacity, "conditions": [ready]}
        self.rest.patch(f"{path}/status", {"status": status})
        self.ward.nodes.add(self.name)
        self.made.append(lambda: self.ward.nodes.discard(self.name))
        until(lambda: not _unready(self.rest.get(path)), why="the node's controller takes its taint away")
        return path

    def claim_path(self) -> str:
        return f"/api/v1/namespaces/{self.space}/persistentvolumeclaims/{self.name}-weights"

    def claim(self) -> Object:
        """The model's claim, once it is there."""
        return until(lambda: self.rest.get(self.claim_path()), why="a claim")

    def shelf(self, **more: Any) -> str:
        """A volume that only its claim may have, bound to it by the real controller; the volume's path."""
        name = f"{self.space}-{self.name}"
        reference = {"namespace": self.space, "name": f"{self.name}-weights"}
        spec: Object = {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "100Gi"},
            "storageClassName": "",
            "claimRef": reference,
            "hostPath": {"path": f"/nowhere/{name}"},
        }
        path = self.object("/api/v1/persistentvolumes", "PersistentVolume", name, spec=spec | more)
        until(lambda: self.claim().get("status", {}).get("phase") == "Bound", why="the claim is bound")
        return path

    def pods(self, component: str = names.COMPONENT_RUNTIME) -> list[Object]:
        found = self.models.child("v1", "pods").get("items", [])
        wanted = {names.LABEL_MODEL: self.name, names.LABEL_COMPONENT: component}
        return [pod for pod in found if wanted.items() <= pod["metadata"]["labels"].items()]

    def on_its_node(self, component: str) -> Object:
        """A pod of `component`, once it has a node: before that it uses no claim, and a delete removes it at once."""

        def placed() -> list[Object]:
            return [pod for pod in self.pods(component) if pod["spec"].get("nodeName")]

        return until(placed, why=f"a {component} pod on its node")[0]

    def clean(self) -> None:
        for undo in reversed(self.made):
            undo()
        self.made.clear()


def _unready(node: Object) -> bool:
    taints = node.get("spec", {}).get("taints") or ()
    return any(taint["key"] == "node.kubernetes.io/not-ready" for taint in taints)
