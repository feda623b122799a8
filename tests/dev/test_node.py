"""The local cluster's node keeps its promises: names, volumes, full disks, forwards, and life after a SIGKILL.

Needs the running cluster (`make up`). Everything happens in a namespace of its own with a one-program image.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.cluster import forwarding, images, netns, node
from dev.cluster.layout import NODE_LINK, POD_BRIDGE, RUN_ROOT, Layout, node_layout
from dev.cluster.lifecycle import Cluster

pytestmark = pytest.mark.e2e

IMAGE = "localhost/dormouse-busybox:1"
SERVE = "echo hello > /tmp/index.html; exec /busybox httpd -f -p 8080 -h /tmp"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    found = Cluster(node_layout())
    assert found.running(), "the local cluster is down: `make up` starts it"
    program = shutil.which("busybox")
    assert program, "no busybox: `python -m dev.host` installs it"
    archive = tmp_path_factory.mktemp("image") / "busybox.tar"
    archive.write_bytes(images.pack(IMAGE, Path(program)))
    images.load(found.layout, archive)
    assert IMAGE in images.names(found.layout)
    yield found
    images.remove(found.layout, IMAGE)


@pytest.fixture
def kube(cluster: Cluster) -> Iterator[Callable[..., str]]:
    """kubectl in a fresh namespace; `stdin` is an object to send."""
    namespace = f"node-test-{time.monotonic_ns()}"
    kubectl = [str(cluster.layout.bin / "kubectl"), "--kubeconfig", str(cluster.layout.kubeconfig)]

    def run(*arguments: str, send: Any = None) -> str:
        command = [*kubectl, "-n", namespace, *arguments]
        done = subprocess.run(command, input=json.dumps(send), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    run("create", "namespace", namespace)
    until("a service account", lambda: "default" in run("get", "serviceaccounts", "-o", "name"))
    yield run
    run("delete", "namespace", namespace, "--wait=false")


def until(what: str, condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {seconds} s"
        threading.Event().wait(0.1)


def pod(name: str, script: str, claim: str = "", app: str = "") -> dict[str, Any]:
    mounts = [{"name": "tmp", "mountPath": "/tmp"}] + ([{"name": "data", "mountPath": "/data"}] if claim else [])
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    volumes += [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}] if claim else []
    command = ["/busybox", "sh", "-c", script]
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "Never", "command": command, "volumeMounts": mounts}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container], "volumes": volumes}
    labels = {"app": app or name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def claim(name: str, size: str, storage_class: str) -> dict[str, Any]:
    resources = {"requests": {"storage": size}}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": resources, "storageClassName": storage_class}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def service(name: str, app: str) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    spec = {"selector": {"app": app}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def ended(kube: Callable[..., str], name: str, phase: str = "Succeeded") -> str:
    """Waits for the pod's end and returns its log."""
    kube("wait", f"--for=jsonpath={{.status.phase}}={phase}", f"pod/{name}", "--timeout=180s")
    return kube("logs", name)


def test_a_service_has_a_name_and_an_address_for_other_pods(kube: Callable[..., str]) -> None:
    kube("create", "-f", "-", send=pod("web", SERVE))
    kube("create", "-f", "-", send=service("web", "web"))
    kube("wait", "--for=condition=Ready", "pod/web", "--timeout=180s")
    fetch = "until /busybox wget -q -O - http://web/; do /busybox sleep 0.1; done; /busybox nslookup example.com"
    kube("create", "-f", "-", send=pod("client", f"{fetch} && exit 1; exit 0"))
    said = ended(kube, "client")
    assert "hello" in said
    assert "NXDOMAIN" in said  # names of the outside do not resolve, and say so at once


def test_a_volumes_data_outlives_its_pod(kube: Callable[..., str]) -> None:
    kube("create", "-f", "-", send=claim("data", "1Gi", "standard"))
    kube("create", "-f", "-", send=pod("writer", "echo kept > /data/x", claim="data"))
    ended(kube, "writer")
    kube("delete", "pod", "writer")
    kube("create", "-f", "-", send=pod("reader", "/busybox cat /data/x", claim="data"))
    assert ended(kube, "reader") == "kept\n"


def test_a_small_disk_is_full_when_it_is_full_and_grows(kube: Callable[..., str]) -> None:
    kube("create", "-f", "-", send=claim("data", "4Mi", "small-disk"))
    fill = "/busybox dd if=/dev/zero of=/data/x bs=1M count=8"
    kube("create", "-f", "-", send=pod("first", fill, claim="data"))
    assert "No space left on device" in ended(kube, "first", "Failed")
    wider = {"spec": {"resources": {"requests": {"storage": "16Mi"}}}}
    kube("patch", "pvc", "data", "--patch", json.dumps(wider))
    kube("wait", "--for=jsonpath={.status.capacity.storage}=16Mi", "pvc/data", "--timeout=180s")
    kube("create", "-f", "-", send=pod("second", fill, claim="data"))
    ended(kube, "second")


def test_a_small_disk_is_unmounted_with_its_claim(kube: Callable[..., str], cluster: Cluster) -> None:
    kube("create", "-f", "-", send=claim("data", "4Mi", "small-disk"))
    kube("create", "-f", "-", send=pod("first", "true", claim="data"))
    ended(kube, "first")
    volume = kube("get", "pvc", "data", "-o", "jsonpath={.spec.volumeName}")
    place = str(cluster.layout.volumes / volume)
    assert place in Path("/proc/mounts").read_text()
    kube("delete", "pod/first", "pvc/data")
    until("unmount", lambda: place not in Path("/proc/mounts").read_text() and not Path(place).exists())


def test_a_forward_follows_the_service_and_outlives_pod_and_service(kube: Callable[..., str], cluster: Cluster) -> None:
    namespace = json.loads(kube("get", "serviceaccount", "default", "-o", "json"))["metadata"]["namespace"]
    kube("create", "-f", "-", send=pod("web-1", SERVE, app="web"))
    kube("create", "-f", "-", send=service("web", "web"))
    kube("wait", "--for=condition=Ready", "pod/web-1", "--timeout=180s")
    port = _free_port()
    forwarding.add(cluster.layout, port, f"{namespace}/web:http")
    try:
        until("answer through the forward", lambda: _fetch(port) == b"hello\n")
        kube("delete", "pod/web-1", "service/web")
        kube("create", "-f", "-", send=pod("web-2", SERVE, app="web"))
        kube("create", "-f", "-", send=service("web", "web"))
        until("answer from the new service and pod", lambda: _fetch(port) == b"hello\n")
    finally:
        forwarding.remove(cluster.layout, port)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()


def test_the_machine_has_no_link_and_no_firewall_rule_of_the_clusters(cluster: Cluster) -> None:
    with netns.inside(cluster.layout.network):
        inside, links = node.firewall_chains(), socket.if_nameindex()
    assert inside  # so that an empty list outside means something
    assert {NODE_LINK, POD_BRIDGE} <= {name for _, name in links}
    assert node.firewall_chains() == []
    assert not {NODE_LINK, POD_BRIDGE} & {name for _, name in socket.if_nameindex()}


def test_a_killed_part_is_repaired_and_pods_do_not_notice(kube: Callable[..., str], cluster: Cluster) -> None:
    kube("create", "-f", "-", send=pod("web", SERVE))
    kube("wait", "--for=condition=Ready", "pod/web", "--timeout=180s")
    for name in ("kubelet", "containerd", "apiserver", "forwarder"):
        cluster.kill(name)
        assert name in cluster.processes.dead()
    cluster.up()
    assert cluster.processes.dead() == []
    until("the pod, not restarted", lambda: kube("get", "pod", "web", "-o", "jsonpath={.status.phase}") == "Running")
    assert kube("get", "pod", "web", "-o", "jsonpath={.status.containerStatuses[0].restartCount}") == "0"


@pytest.mark.timeout(900)
def test_down_leaves_nothing_and_up_brings_everything_back(kube: Callable[..., str], cluster: Cluster) -> None:
    kube("create", "-f", "-", send=claim("data", "1Gi", "standard"))
    kube("create", "-f", "-", send=pod("writer", "echo kept > /data/x", claim="data"))
    ended(kube, "writer")
    web = pod("web", SERVE)
    web["spec"]["restartPolicy"] = "Always"
    kube("create", "-f", "-", send=web)
    kube("wait", "--for=condition=Ready", "pod/web", "--timeout=180s")
    layout = cluster.layout
    phases = ("get", "namespaces", "-o", "jsonpath={.items[*].status.phase}")
    until("the namespaces of other tests are gone", lambda: "Terminating" not in kube(*phases), seconds=240)
    ready, stored, rules = _ready_pods(kube), images.names(layout), forwarding.rules(layout)
    before = json.loads((layout.run / "settings.json").read_text())
    cluster.down()
    assert _traces(layout) == []
    assert {name: Path("/proc/sys", name).read_text() for name in before} == before
    cluster.up()
    assert images.names(layout) == stored
    assert {(r["port"], r["target"]) for r in forwarding.rules(layout)} == {(r["port"], r["target"]) for r in rules}
    until("all pods that were ready, started again", lambda: _again(_ready_pods(kube), ready), seconds=240)
    kube("create", "-f", "-", send=pod("reader", "/busybox cat /data/x", claim="data"))
    assert ended(kube, "reader") == "kept\n"


def _again(now: dict[str, int], before: dict[str, int]) -> bool:
    """Each is ready, and not as the API server remembers it from before: its containers have started once more."""
    return bool(before) and all(now.get(uid, 0) > restarts for uid, restarts in before.items())


def _ready_pods(kube: Callable[..., str]) -> dict[str, int]:
    """Restarts of every namespace's pods that are ready and to stay, by uid: the same, not others of their name."""
    found = json.loads(kube("get", "pods", "--all-namespaces", "-o", "json"))["items"]
    return {
        pod["metadata"]["uid"]: sum(each["restartCount"] for each in pod["status"].get("containerStatuses", []))
        for pod in found
        if "deletionTimestamp" not in pod["metadata"]
        and pod["spec"]["restartPolicy"] == "Always"
        and {"type": "Ready", "status": "True"}
        in [{"type": c["type"], "status": c["status"]} for c in pod["status"].get("conditions", [])]
    }


def _traces(layout: Layout) -> list[str]:
    """Everything on the machine that speaks of a cluster: mounts, processes, links, rules, cgroups, folders."""
    marks = (f"{layout.state}/", f"{layout.run}/")
    found = [line for line in Path("/proc/mounts").read_text().splitlines() if any(mark in line for mark in marks)]
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if any(mark in command for mark in marks):
                found.append(command)
    found += [name for _, name in socket.if_nameindex() if name in {NODE_LINK, POD_BRIDGE}]
    found += node.firewall_chains()
    found += [str(path) for path in Path("/sys/fs/cgroup").glob("**/kubepods")]
    places = (RUN_ROOT, Path("/var/lib/kubelet"), Path("/var/log/containers"))
    return found + [str(path) for path in places if path.exists()]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _fetch(port: int) -> bytes:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            body: bytes = answer.read()
    except OSError:
        return b""
    return body
