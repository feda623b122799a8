"""Everything up to the first call: machine, cluster, images, chart, model hub, forwards. `python -m dev.testbed`.

Every step looks first and does only what is missing, so that a second run takes seconds and changes nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from dev import cache, host, target
from dev.cluster import forwarding
from dev.cluster.layout import HUB_PORT, ROUTER_PORT, ClusterError, node_layout
from dev.cluster.lifecycle import Cluster
from dev.enginevenv import EngineError
from dev.images.buildah import ImageError
from dev.images.workshop import Made, Workshop
from dev.models.store import ModelsError
from dev.target import Target
from dev.uv import UvError

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "dormouse"
VALUES = ROOT / "dev" / "values.yaml"
RELEASE, NAMESPACE, HUB_NAMESPACE = "dormouse", "dormouse-system", "dormouse-dev"
HUB_ENDPOINT = f"http://hub.{HUB_NAMESPACE}:{HUB_PORT}"
IMAGE_NOTE = "dormouse.dev/image-id"
"""Pod annotation with the image's id: the tag stays `dev`, so this is what makes a new image roll the pods."""
_TAKE_OVER = ("--take-ownership", "--force-conflicts")
"""A cluster of before the CRDs were part of the release has them from kubectl, maybe with other content."""
T = TypeVar("T")
FAILURES = (ClusterError, ImageError, EngineError, UvError, ModelsError)


def main() -> int:
    try:
        ensure()
    except FAILURES as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def ensure() -> Target:
    """Brings everything up and returns where it is; a second process waits for the first."""
    with _alone():
        return _ensure()


def _ensure() -> Target:
    if target.chosen().layout is None:
        return _on_current(target.current())
    if host.main():
        raise ClusterError("this machine lacks something: see the line above")
    here, cluster, workshop = target.local(), Cluster(node_layout()), Workshop()
    _step("cluster", cluster.up)
    made = _step("images", lambda: _images(cluster, workshop))
    ids = {item.reference: item.image.id for item in made}
    _step("hub and chart", lambda: _install(here, ids))
    _forward(cluster)
    return here


def _on_current(there: Target) -> Target:
    cache.say(f"using the cluster of the current kubectl context, with images {there.image('*')}")
    _step("hub and chart", lambda: _install(there, {}))
    return there


def _images(cluster: Cluster, workshop: Workshop) -> Sequence[Made]:
    made = workshop.make()
    workshop.ship(cluster.layout, made)
    return made


def _install(there: Target, ids: dict[str, str]) -> None:
    hub = there.image("hub")
    there.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", send=hub_objects(hub, ids.get(hub, hub)))
    options = _options(there, ids)
    wanted = cache.key("release 1", json.dumps(options), CHART, VALUES)
    status, description = _release(there)
    if status.startswith("pending-"):  # helm was killed, and would refuse to go on for ever
        cache.say(f"helm: the release is {status} from a run that was cut off; starting it anew")
        there.helm("uninstall" if status == "pending-install" else "rollback", RELEASE, "--namespace", NAMESPACE)
    if (status, description) != ("deployed", wanted):
        cache.say("helm: installing the chart")
        namespace = ("--namespace", NAMESPACE, "--create-namespace")
        force = _TAKE_OVER if there.layout else ()  # Helm 3, which another cluster's user may have, knows them not
        there.helm("upgrade", "--install", RELEASE, str(CHART), *namespace, *options, *force, "--description", wanted)
    there.kubectl("label", "namespace", NAMESPACE, "--overwrite", "pod-security.kubernetes.io/enforce=restricted")
    for part in ("operator", "router"):
        there.kubectl("rollout", "status", f"deployment/{RELEASE}-{part}", "-n", NAMESPACE, "--timeout=180s")
    there.kubectl("rollout", "status", "deployment/hub", "-n", HUB_NAMESPACE, "--timeout=120s")


def _options(there: Target, ids: dict[str, str]) -> list[str]:
    options = ["--values", str(VALUES), "--set", f"image.prefix={there.image_prefix},image.tag={there.image_tag}"]
    options += ["--set", f"profiles.cpu.image={there.image('runtime')},hub.endpoint={HUB_ENDPOINT}"]
    note = IMAGE_NOTE.replace(".", "\\.")
    for part in ("operator", "router"):
        if identity := ids.get(there.image(part)):
            options += ["--set-string", f"{part}.podAnnotations.{note}={identity}"]
    return options


def _release(there: Target) -> tuple[str, str]:
    """The release's status and description; the description is the hash of all that went into it."""
    text = there.helm("status", RELEASE, "--namespace", NAMESPACE, "--output", "json", check=False)
    info = json.loads(text)["info"] if text else {}
    return str(info.get("status", "")), str(info.get("description", ""))


def hub_objects(image: str, identity: str) -> dict[str, object]:
    """The model hub in the cluster: a namespace, a Deployment and a Service, as one List."""
    labels = {"app.kubernetes.io/name": "hub", "app.kubernetes.io/part-of": "dormouse-dev"}
    meta = {"name": "hub", "namespace": HUB_NAMESPACE, "labels": labels}
    container = {
        "name": "hub",
        "image": image,
        "ports": [{"name": "http", "containerPort": HUB_PORT}],
        "readinessProbe": {"httpGet": {"path": "/_health", "port": "http"}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 2,
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],  # what tests publish at run time
    }
    deployment = {
        "selector": {"matchLabels": labels},
        "strategy": {"type": "Recreate"},
        "template": {"metadata": {"labels": labels, "annotations": {IMAGE_NOTE: identity}}, "spec": pod},
    }
    service = {"selector": labels, "ports": [{"name": "http", "port": HUB_PORT, "targetPort": "http"}]}
    items = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HUB_NAMESPACE}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": deployment},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _forward(cluster: Cluster) -> None:
    wanted = {ROUTER_PORT: f"{NAMESPACE}/{RELEASE}:{ROUTER_PORT}", HUB_PORT: f"{HUB_NAMESPACE}/hub:{HUB_PORT}"}
    there = {rule["port"]: rule["target"] for rule in forwarding.rules(cluster.layout) if rule["listening"]}
    for port, service in wanted.items():
        if there.get(port) != service:
            forwarding.add(cluster.layout, port, service)
        forwarding.resolve(cluster.layout, service)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    cache.root().mkdir(parents=True, exist_ok=True)
    with (cache.root() / ".testbed.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            cache.say("waiting: another process is bringing the cluster up")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _step(what: str, work: Callable[[], T]) -> T:
    started = time.monotonic()
    result = work()
    cache.say(f"{what}: {time.monotonic() - started:.1f} s")
    return result


if __name__ == "__main__":
    sys.exit(main())
