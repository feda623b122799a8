"""The operator as a process of its own beside a control plane, and the waiting that its tests do."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
from prometheus_client.parser import text_string_to_metric_families

from dev import ports
from dev.cluster.controlplane import ControlPlane
from dormouse_api import names
from dormouse_api.lease import lease_spec, wish_for
from tests.controlplane.kubelet import Rest

T = TypeVar("T")
Object = dict[str, Any]
MODELS = f"/apis/{names.API_VERSION}/namespaces"
AGENT = "dormouse-operator"
CONTROLLER = "dormouse.dev/operator"
PATIENCE = 150.0
"""Seconds until a test gives up: seconds suffice on an idle machine, and builds may share this one."""


def until(what: Callable[[], T | None], seconds: float = PATIENCE, why: str = "") -> T:
    """The first truthy answer of `what`, asked again and again; an AssertionError with `why` at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s: {why or what}"
        time.sleep(0.03)


class OperatorProcess:
    """`python -m dormouse_operator` against a control plane."""

    def __init__(self, kubeconfig: Path, log: Path, **env: str) -> None:
        (self.port,) = ports.reserve()
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/root"),
            "KUBECONFIG": str(kubeconfig),
            "DORMOUSE_PULLER_IMAGE": "puller:1",
            "DORMOUSE_OPS_PORT": str(self.port),
            "PYTHONDONTWRITEBYTECODE": "1",
        } | env
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "OperatorProcess":
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "dormouse_operator"], env=self._env, stdout=out, stderr=out
            )
        return self

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit code. Of one that is not 0 the log's end is told."""
        code = self._end(signal.SIGTERM)
        if code:
            sys.stdout.write(f"the operator's exit code is {code}:\n{self.log.read_text()[-6000:]}\n")
        return code

    def freeze(self) -> None:
        """SIGSTOP: it hears and does nothing until `thaw`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, path: str) -> httpx.Response:
        """One of its own endpoints."""
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=30)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels; 0 while it does not answer."""
        try:
            families = text_string_to_metric_families(self.ask("/metrics").text)
        except httpx.TransportError:
            return 0.0
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(number)
        code = self._process.wait(60)
        self._process = None
        return code

    def __enter__(self) -> "OperatorProcess":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


class Models:
    """InferenceModels of one namespace and what is around them."""

    def __init__(self, rest: Rest, namespace: str) -> None:
        self.rest = rest
        self.namespace = namespace

    def path(self, name: str) -> str:
        return f"{MODELS}/{self.namespace}/{names.MODEL_PLURAL}/{name}"

    def child(self, group: str, plural: str, name: str = "") -> Object:
        prefix = f"/apis/{group}" if "/" in group else f"/api/{group}"
        return self.rest.get(f"{prefix}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else ""))

    def apply(self, name: str, **spec: Any) -> None:
        body = {"source": {"uri": f"hf://org/{name}"}} | spec  # of the same source they would share a volume
        meta = {"name": name, "namespace": self.namespace}
        model = {"apiVersion": names.API_VERSION, "kind": names.MODEL_KIND, "metadata": meta, "spec": body}
        self.rest.request("POST", f"{MODELS}/{self.namespace}/{names.MODEL_PLURAL}", model)

    def status(self, name: str) -> Object:
        return dict(self.rest.get(self.path(name)).get("status") or {})

    def condition(self, name: str, kind: str = "Ready") -> Object:
        return next((c for c in self.status(name).get("conditions", []) if c["type"] == kind), {})

    def await_reason(self, name: str, reason: str, kind: str = "Ready", seconds: float = PATIENCE) -> Object:
        """The condition once it says `reason`."""

        def look() -> Object | None:
            found = self.condition(name, kind)
            return found if found.get("reason") == reason else None

        try:
            return until(look, seconds)
        except AssertionError:
            raise AssertionError(f"{name} is not {reason}: {json.dumps(self.status(name), indent=1)}") from None

    def wake(self, name: str, seconds: float) -> float:
        """Renew the Lease as a router does; the moment of the renewal."""
        now = time.time()
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/{names.runtime_name(name)}"
        assert self.rest.patch(path, {"spec": lease_spec(wish_for(now, seconds), "test")})
        return now

    def replicas(self, name: str) -> int | None:
        spec = self.child("apps/v1", "deployments", names.runtime_name(name)).get("spec")
        return int(spec["replicas"]) if spec else None

    def remove(self) -> None:
        """Delete all models; what they own goes with them, in its own time."""
        self.rest.request("DELETE", f"{MODELS}/{self.namespace}/{names.MODEL_PLURAL}")

    def jobs(self, name: str = "") -> list[str]:
        """Names of the Jobs of one model, or of all."""
        return self._of("batch/v1", "jobs", name)

    def pods(self, name: str) -> list[str]:
        """Names of the runtime pods."""
        return [pod for pod in self._of("v1", "pods", name) if f"{name}-runtime-" in pod]

    def _of(self, group: str, plural: str, name: str) -> list[str]:
        found = self.child(group, plural).get("items", [])
        wanted = [o["metadata"] for o in found if not name or o["metadata"]["labels"].get(names.LABEL_MODEL) == name]
        return sorted(meta["name"] for meta in wanted)

    def events(self, name: str) -> list[Object]:
        """The operator's own Events on a model."""
        found = self.child("events.k8s.io/v1", "events").get("items", [])
        return [e for e in found if e["reportingController"] == CONTROLLER and e["regarding"]["name"] == name]


def writes(plane: ControlPlane, namespace: str) -> list[Object]:
    """What the operator asked the API server to write so far, from the audit log; its Events are not counted."""
    found = [e for e in plane.writes(agent=AGENT) if e.get("objectRef", {}).get("namespace") == namespace]
    return [e for e in found if e["objectRef"]["resource"] != "events"]


def created(plane: ControlPlane, namespace: str) -> list[str]:
    """Every object the operator made, by `resource/name`: one that was made twice is there twice."""
    return sorted(
        f"{e['objectRef']['resource']}/{e['objectRef']['name']}"
        for e in writes(plane, namespace)
        if e.get("responseStatus", {}).get("code") == 201
    )


def shelf(models: Models, name: str) -> str:
    """A bound claim: the scheduler places no pod whose volume is not."""
    volume = f"{models.namespace}-{name}"
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    models.rest.request(
        "POST",
        "/api/v1/persistentvolumes",
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": common | {"capacity": {"storage": "1Gi"}, "hostPath": {"path": f"/nowhere/{volume}"}},
        },
    )
    models.rest.request(
        "POST",
        f"/api/v1/namespaces/{models.namespace}/persistentvolumeclaims",
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name},
            "spec": common | {"volumeName": volume, "resources": {"requests": {"storage": "1Gi"}}},
        },
    )
    return name
