"""A pretended kubelet for a control plane without a node: binds our pods to a Node of its own and plays their lives.

Tests choose what each stage's pods do (`script`); a thread of its own sees to the rest, as the real one would.
"""

import base64
import json
import os
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import yaml

from dormouse_api import names
from dormouse_api.lease import micro_time
from dormouse_api.results import InspectResult, Outcome, PullResult, QuantizeResult

Object = dict[str, Any]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
MERGE = {"Content-Type": "application/merge-patch+json"}
NODE = "pretended"
POD_IP = f"127.0.{os.environ.get('PYTEST_XDIST_WORKER', '0').removeprefix('gw')}.9"
"""Of every pod of this process: its tests may listen there, while those of another have pods and operators, too."""
PATIENCE = 30.0
"""Seconds for an answer of the API server, on a machine that has much else to do."""
BEAT = 5.0
"""Seconds between two signs of a node's life; without one for 40 it is given up."""


class Rest:
    """The API server as the administrator, in plain JSON."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        files = {}
        for name, holder in (("certificate-authority", cluster), ("client-certificate", user), ("client-key", user)):
            if f"{name}-data" in holder:
                files[name] = folder / name
                files[name].write_bytes(base64.b64decode(holder[f"{name}-data"]))
            else:
                files[name] = Path(holder[name])
        self.context = context = ssl.create_default_context(cafile=str(files["certificate-authority"]))
        context.load_cert_chain(files["client-certificate"], files["client-key"])
        agent = {"User-Agent": "test", "Content-Type": "application/json"}
        self._http = httpx.Client(base_url=cluster["server"], verify=context, timeout=PATIENCE, headers=agent)

    def close(self) -> None:
        self._http.close()

    def request(self, method: str, path: str, body: Object | None = None, **headers: str) -> Object:
        """The decoded answer; a missing object is an empty one, any other refusal raises.

        429 is what it says while it begins to keep a kind: nothing was done, and every client asks again.
        """
        content = None if body is None else json.dumps(body)
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._http.request(method, path, content=content, headers=headers)
            if answer.status_code != 429 or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        if answer.status_code == 404:
            return {}
        if answer.status_code >= 300:
            raise httpx.HTTPStatusError(answer.text, request=answer.request, response=answer)
        return dict(answer.json())

    def get(self, path: str) -> Object:
        return self.request("GET", path)

    def patch(self, path: str, body: Object) -> Object:
        return self.request("PATCH", path, body, **MERGE)


def stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def succeeded(message: str) -> Object:
    """The status of a pod whose container ended well with this termination message."""
    ended = {"exitCode": 0, "reason": "Completed", "message": message, "startedAt": stamp(), "finishedAt": stamp()}
    return {"phase": "Succeeded", "containerStatuses": [_container({"terminated": ended})]}


def failed(code: int, message: str = "", reason: str = "Error") -> Object:
    """The status of a pod whose container ended badly."""
    ended = {"exitCode": code, "reason": reason, "message": message, "startedAt": stamp(), "finishedAt": stamp()}
    return {"phase": "Failed", "containerStatuses": [_container({"terminated": ended})]}


def running(*, ready: bool = False, last: Object | None = None, restarts: int = 0) -> Object:
    """The status of a running pod."""
    container = _container({"running": {"startedAt": stamp()}}, ready=ready) | {"restartCount": restarts}
    if last:
        container["lastState"] = {"terminated": last}
    return {
        "phase": "Running",
        "podIP": POD_IP,
        "podIPs": [{"ip": POD_IP}],
        "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": stamp()}],
        "containerStatuses": [container],
    }


def _container(state: Object, *, ready: bool = False) -> Object:
    return {"name": "c", "image": "i", "imageID": "", "ready": ready, "restartCount": 0, "state": state}


def inspected(**more: Any) -> str:
    """The inspect Job's good message."""
    facts: Object = {"commit": COMMIT, "files": 3, "bytes": 1000, "capabilities": ("completion",)} | more
    return Outcome(inspect=InspectResult(**facts)).text()


def pulled() -> str:
    result = PullResult(commit=COMMIT, files=3, bytes=1000, fetched_bytes=1000, seconds=1, digest="d")
    return Outcome(pull=result).text()


def quantized(method: str) -> str:
    return Outcome(quantize=QuantizeResult(directory=f"{COMMIT}-{method}", method=method, bytes=1, seconds=1)).text()


Play = Callable[[Object], Object | None]
"""From a pod to the status it shall have now; None leaves it as it is."""


class Kubelet:
    """Plays every pod of ours, in all namespaces. `script[component]` may be changed at any time."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest
        self.script: dict[str, Play] = {
            names.COMPONENT_INSPECT: lambda pod: succeeded(inspected()),
            names.COMPONENT_PULL: lambda pod: succeeded(pulled()),
            names.COMPONENT_QUANTIZE: lambda pod: succeeded(quantized("int4")),
            names.COMPONENT_RUNTIME: lambda pod: running(ready=True),
        }
        self.unbound: set[str] = set()
        """Components whose pods find no node."""
        self.scheduled: set[str] = set()
        """Components whose pods are left to the real scheduler."""
        self.nodes = {NODE}
        """Nodes that show that they live; a test may add its own."""
        self.errors: list[BaseException] = []
        self._played: dict[str, Object] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Kubelet":
        self._node()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        self.rest.request("DELETE", f"/api/v1/nodes/{NODE}")

    def _node(self) -> None:
        meta = {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}}  # kubelets always say so
        self.rest.request("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": meta})
        status = {
            "conditions": [{"type": "Ready", "status": "True", "reason": "Pretended", "lastHeartbeatTime": stamp()}]
        }
        self.rest.patch(f"/api/v1/nodes/{NODE}/status", {"status": status})

    def carry(self, **resources: str) -> None:
        """Let the node have so much of each resource, for the scheduler to see."""
        status = {"capacity": resources, "allocatable": resources}
        self.rest.patch(f"/api/v1/nodes/{NODE}/status", {"status": status})

    def _run(self) -> None:
        due = 0.0
        while not self._stop.wait(0.03):
            try:
                if time.monotonic() >= due:  # by the clock: rounds take seconds on a machine that has much else to do
                    for node in tuple(self.nodes):
                        beat(self.rest, node)
                    due = time.monotonic() + BEAT
                query = f"labelSelector={names.LABEL_MANAGED_BY}%3D{names.MANAGED_BY}"
                pods = self.rest.get(f"/api/v1/pods?{query}").get("items", [])
            except httpx.HTTPError as error:
                self._note(error)
                continue
            for pod in pods:
                try:
                    self._play(pod)
                except httpx.HTTPError as error:  # of one pod: the others must not wait for it
                    self._note(error)

    def _note(self, error: httpx.HTTPError) -> None:
        if not isinstance(error, httpx.TransportError | httpx.HTTPStatusError):
            self.errors.append(error)

    def _play(self, pod: Object) -> None:
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        if "deletionTimestamp" in meta:
            self.rest.request("DELETE", path, {"gracePeriodSeconds": 0})
            return
        if meta["labels"].get(names.LABEL_COMPONENT) in self.unbound:
            return
        if not pod["spec"].get("nodeName"):
            if meta["labels"].get(names.LABEL_COMPONENT) in self.scheduled:
                return
            target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
            body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": meta["name"]}, "target": target}
            self.rest.request("POST", f"{path}/binding", body)
            return
        play = self.script.get(meta["labels"].get(names.LABEL_COMPONENT, ""))
        wanted = play(pod) if play else None
        if wanted is None or pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            return
        if _same(self._played.get(meta["uid"]), wanted):
            return
        container = pod["spec"]["containers"][0]["name"]
        named = {"containerStatuses": [c | {"name": container} for c in wanted.get("containerStatuses", [])]}
        conditions = [c for c in pod["status"].get("conditions", []) if c["type"] != "Ready"]
        body = wanted | named | {"conditions": conditions + wanted.get("conditions", [])}
        self.rest.patch(f"{path}/status", {"status": body})
        self._played[meta["uid"]] = wanted


def beat(rest: Rest, node: str) -> None:
    """The lease by which a kubelet shows that it lives."""
    path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    spec = {"holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": micro_time(time.time())}
    if not rest.patch(f"{path}/{node}", {"spec": spec}):
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": node}, "spec": spec}
        rest.request("POST", path, body)


def _same(old: Object | None, new: Object) -> bool:
    """Equal but for the moments."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: timeless(v) for k, v in value.items() if not k.endswith(("At", "Time"))}
        return [timeless(v) for v in value] if isinstance(value, list) else value

    return old is not None and timeless(old) == timeless(new)
