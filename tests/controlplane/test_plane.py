"""The control plane that other tests stand on: ready, durable over restarts, countable by its audit log."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from dev.cluster.controlplane import ControlPlane
from dev.cluster.layout import REPOSITORY, ClusterError

_DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [{"name": "web", "image": "localhost/none:1"}],
                "nodeSelector": {"kind": "fake"},
                "tolerations": [{"operator": "Exists"}],
            },
        },
    },
}
_NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "fake-1", "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": {"kind": "fake"}},
    "status": {"capacity": {"cpu": "8", "memory": "8Gi", "pods": "10"}},
}


def test_objects_become_what_the_controllers_make_of_them(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("-n", namespace, "apply", "-f", "-", stdin=json.dumps(_DEPLOYMENT))
    wait = ("wait", "--for=jsonpath={.status.replicas}=2", "deployment/web", "--timeout=120s")
    plane.kubectl("-n", namespace, *wait)
    pods = json.loads(plane.kubectl("-n", namespace, "get", "pods", "-o", "json").stdout)["items"]
    assert len(pods) == 2
    assert all("nodeName" not in pod["spec"] for pod in pods)  # no node, so nothing runs


def test_a_failed_kubectl_raises_with_its_message(plane: ControlPlane, namespace: str) -> None:
    with pytest.raises(ClusterError, match='pods "nobody" not found'):
        plane.kubectl("-n", namespace, "get", "pod", "nobody")
    assert plane.kubectl("-n", namespace, "get", "pod", "nobody", check=False).returncode == 1


def test_restart_keeps_the_data(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("-n", namespace, "create", "configmap", "kept", "--from-literal=a=b")
    plane.restart_apiserver()
    assert plane.kubectl("-n", namespace, "get", "configmap", "kept", "-o", "jsonpath={.data.a}").stdout == "b"


def test_a_killed_api_server_comes_back_with_its_data(plane: ControlPlane, namespace: str) -> None:
    plane.kubectl("-n", namespace, "create", "configmap", "kept", "--from-literal=a=b")
    plane.kill_apiserver()
    with pytest.raises(ClusterError, match="refused"):
        plane.kubectl("-n", namespace, "get", "configmap", "kept")
    plane.restart_apiserver()
    assert plane.kubectl("-n", namespace, "get", "configmap", "kept", "-o", "jsonpath={.data.a}").stdout == "b"


def test_a_paused_api_server_hangs_and_then_goes_on(plane: ControlPlane) -> None:
    plane.pause_apiserver()
    try:
        with pytest.raises(ClusterError, match=r"(?i)timeout"):
            plane.kubectl("get", "namespaces", "--request-timeout=300ms")
    finally:
        plane.resume_apiserver()
    assert "default" in plane.kubectl("get", "namespaces").stdout


def test_the_audit_log_counts_writes_by_resource_and_agent(plane: ControlPlane, namespace: str) -> None:
    def written() -> list[str]:
        events = plane.writes("configmaps", agent="kubectl")
        return [e["verb"] for e in events if e["objectRef"].get("namespace") == namespace]

    plane.kubectl("-n", namespace, "create", "configmap", "one")
    plane.kubectl("-n", namespace, "get", "configmap", "one")
    plane.kubectl("-n", namespace, "delete", "configmap", "one")
    deadline = time.monotonic() + 60
    while len(written()) < 2 and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    assert written() == ["create", "delete"]


def test_no_audit_log_is_said_so() -> None:
    with pytest.raises(ClusterError, match=r"audit=True"):
        ControlPlane().audit_events()


def test_a_second_plane_runs_beside_the_first_with_fake_nodes_and_leaves_nothing(plane: ControlPlane) -> None:
    with ControlPlane(kwok=True) as other:
        folder: Path = other.folder
        assert other.url != plane.url
        other.kubectl("create", "-f", "-", stdin=json.dumps(_NODE))
        other.kubectl("wait", "--for=condition=Ready", "node/fake-1", "--timeout=120s")
        # without one the node is NotReady again and again, and so are its pods
        other.kubectl("wait", "--for=create", "-n", "kube-node-lease", "lease/fake-1", "--timeout=120s")
        other.kubectl("apply", "-f", "-", stdin=json.dumps(_DEPLOYMENT))
        other.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
        assert plane.kubectl("get", "node", "fake-1", check=False).returncode == 1
        assert _processes_of(folder)
    assert not folder.exists()
    assert not _processes_of(folder)


def test_a_killed_test_run_leaves_no_process_and_its_folder_goes_with_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a place of its own: a plane that other tests start meanwhile would remove the folder, too."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = "from dev.cluster.controlplane import *\nwith ControlPlane() as p: print(p.folder, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        folder = Path(run.stdout.readline().strip())
        assert folder.parent == tmp_path
        assert _processes_of(folder)
        run.kill()
    deadline = time.monotonic() + 60
    while left := _processes_of(folder):
        assert time.monotonic() < deadline, left
        threading.Event().wait(0.02)
    assert folder.exists()
    with ControlPlane():
        assert not folder.exists()


def _processes_of(folder: Path) -> list[bytes]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended while we looked
            command = (process / "cmdline").read_bytes()  # empty for a zombie
            if bytes(folder) in command:
                found.append(command)
    return found
