"""Volumes on a real API server: who owns a shared one, where its pods may run, how it grows, what leaves it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from dev.cluster.controlplane import ControlPlane
from dormouse_api import names
from dormouse_api.conditions import Reason
from dormouse_api.results import Failure, Outcome, SweepResult
from tests.controlplane.kubelet import (
    COMMIT,
    NODE,
    Kubelet,
    Object,
    failed,
    inspected,
    pulled,
    running,
    stamp,
    succeeded,
)
from tests.controlplane.operatorprocess import Models, OperatorProcess, until, writes

GI = 1 << 30
SAME = {"uri": "hf://org/same"}
CLASS = "grows"
ROOM = {"cpu": "8", "memory": "16Gi", "pods": "50"}
OTHERS = ("2" * 40, "3" * 40, "4" * 40)


@dataclass
class Disk:
    """The claims of a test's own namespace, and the volumes behind them."""

    models: Models

    def claim(self, name: str) -> Object:
        return self.models.child("v1", "persistentvolumeclaims", name)

    def claims(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.models.child("v1", "persistentvolumeclaims")["items"]]

    def owners(self, name: str) -> list[str]:
        return sorted(o["name"] for o in self.claim(name).get("metadata", {}).get("ownerReferences", []))

    def request(self, name: str) -> str:
        return str(self.claim(name)["spec"]["resources"]["requests"]["storage"])

    def path(self, name: str) -> str:
        return f"/api/v1/namespaces/{self.models.namespace}/persistentvolumeclaims/{name}"

    def provide(self, claim: str, size: str, class_name: str, modes: tuple[str, ...] = ("ReadWriteOnce",)) -> str:
        """A volume for a claim that is to come."""
        name = f"{self.models.namespace}-{claim}"
        spec = {
            "accessModes": list(modes),
            "storageClassName": class_name,
            "capacity": {"storage": size},
            "claimRef": {"namespace": self.models.namespace, "name": claim},
            "hostPath": {"path": f"/nowhere/{name}"},
        }
        body = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
        self.models.rest.request("POST", "/api/v1/persistentvolumes", body)
        return name

    def resize(self, claim: str, size: str) -> None:
        """What a resizer does."""
        volume = f"/api/v1/persistentvolumes/{self.models.namespace}-{claim}"
        self.models.rest.patch(volume, {"spec": {"capacity": {"storage": size}}})
        self.models.rest.patch(f"{self.path(claim)}/status", {"status": {"capacity": {"storage": size}}})


@pytest.fixture
def disk(own_models: Models, operator: OperatorProcess) -> Iterator[Disk]:
    yield Disk(own_models)
    assert "the look failed" not in operator.log.read_text()


@pytest.fixture
def classes(own_models: Models) -> str:
    """Classes of volumes: one whose volumes can grow, and one whose cannot."""
    path = "/apis/storage.k8s.io/v1/storageclasses"
    for name, grows in ((CLASS, True), ("stiff", False)):
        if not own_models.rest.get(f"{path}/{name}"):
            body = {"metadata": {"name": name}, "provisioner": "test/none", "allowVolumeExpansion": grows}
            own_models.rest.request("POST", path, {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass"} | body)
    return CLASS


def jobs_of(models: Models, stage: str) -> list[Object]:
    found = models.child("batch/v1", "jobs").get("items", [])
    return [job for job in found if job["metadata"]["labels"][names.LABEL_COMPONENT] == stage]


def test_two_models_of_the_same_weights_own_one_volume_and_the_last_takes_it_along(
    plane: ControlPlane, kubelet: Kubelet, disk: Disk, operator: OperatorProcess
) -> None:
    models = disk.models
    for name in ("first", "second"):
        models.apply(name, source=SAME)
        models.await_reason(name, "ScaledToZero")
    assert disk.claims() == ["first-weights"]
    assert disk.owners("first-weights") == ["first", "second"]
    assert not any(o.get("controller") for o in disk.claim("first-weights")["metadata"]["ownerReferences"])
    models.wake("second", 600)
    models.await_reason("second", "Serving")
    until(lambda: not models.jobs(), why="finished Jobs are cleaned up")
    until(lambda: operator.metric("dormouse_operator_queue_depth") == 0, why="nothing waits to be looked at")
    assert operator.stop() == 0, "a look that is under way has ended"
    before = disk.claim("first-weights")["metadata"]["resourceVersion"]
    count = len(writes(plane, models.namespace))
    operator.start()
    until(lambda: operator.metric("dormouse_operator_reconciles_total") >= 2, why="it has looked at both")
    until(lambda: operator.metric("dormouse_operator_queue_depth") == 0, why="nothing waits to be looked at")
    assert disk.claim("first-weights")["metadata"]["resourceVersion"] == before
    assert len(writes(plane, models.namespace)) == count, "two owners agree: nothing is written again"
    models.rest.request("DELETE", models.path("first"))
    until(lambda: disk.owners("first-weights") == ["second"], why="the collector takes the first owner away")
    assert "deletionTimestamp" not in disk.claim("first-weights")["metadata"]
    assert models.condition("second")["reason"] == "Serving"
    models.rest.request("DELETE", models.path("second"))
    until(lambda: not disk.claims(), why="the last takes it along")


def test_two_at_once_pull_once_after_the_other(kubelet: Kubelet, disk: Disk, classes: str) -> None:
    gate: list[Object] = [running()]
    kubelet.script["pull"] = lambda pod: gate[0]
    models = disk.models
    for name in ("one", "two"):
        disk.provide(f"{name}-weights", "2Gi", classes)
        models.apply(name, source=SAME, storage={"className": classes})
    for name in ("one", "two"):
        models.await_reason(name, "Pulling", kind="ModelPulled")
    until(lambda: len(jobs_of(models, "pull")) == 1)
    assert len(disk.claims()) == 1
    puller = jobs_of(models, "pull")[0]["metadata"]["labels"][names.LABEL_MODEL]
    waits = {"one": "two", "two": "one"}[puller]
    until(lambda: f"waits for the pull of {puller}" in models.condition(waits)["message"])
    assert len(jobs_of(models, "pull")) == 1
    gate[0] = succeeded(pulled())
    for name in ("one", "two"):
        models.await_reason(name, "ScaledToZero")
    assert models.status("one")["volume"]["claimUid"] == models.status("two")["volume"]["claimUid"]


def test_whoever_retains_a_shared_volume_takes_it_from_its_owners(kubelet: Kubelet, disk: Disk) -> None:
    models = disk.models
    for name in ("loose", "keeper"):
        models.apply(name, source=SAME)
        models.await_reason(name, "ScaledToZero")
    models.rest.patch(models.path("keeper"), {"spec": {"storage": {"reclaimPolicy": "Retain"}}})
    until(lambda: disk.owners("loose-weights") == [], why="nobody owns it any more")
    models.rest.patch(models.path("keeper"), {"spec": {"storage": {"reclaimPolicy": "Delete"}}})
    until(lambda: disk.owners("loose-weights") == ["keeper", "loose"], why="and then both again")
    models.rest.patch(models.path("keeper"), {"spec": {"storage": {"reclaimPolicy": "Retain"}}})
    until(lambda: disk.owners("loose-weights") == [])
    uid = disk.claim("loose-weights")["metadata"]["uid"]
    for name in ("loose", "keeper"):
        models.rest.request("DELETE", models.path(name))
        until(lambda name=name: models.replicas(name) is None)  # type: ignore[misc]
    assert disk.claims() == ["loose-weights"]
    models.apply("keeper", source=SAME, storage={"reclaimPolicy": "Retain"})
    models.await_reason("keeper", "ScaledToZero")
    assert models.status("keeper")["volume"]["claimUid"] == uid


def test_the_pull_of_a_new_revision_lands_on_the_node_of_the_one_that_serves(
    kubelet: Kubelet, disk: Disk, classes: str
) -> None:
    """The node that serves is the worse one for everything but the volume, as the model on many nodes shows."""
    models, rest = disk.models, disk.models.rest
    kubelet.carry(**ROOM)
    rest.patch(f"/api/v1/nodes/{NODE}", {"metadata": {"labels": {"kubernetes.io/hostname": NODE}}})
    modes = {"tied": "ReadWriteOnce", "free": "ReadWriteMany"}
    for name, mode in modes.items():
        disk.provide(names.weights_name(name), "2Gi", classes, (mode,))
        models.apply(name, storage={"className": classes, "accessMode": mode})
        models.await_reason(name, "ScaledToZero")
        models.wake(name, 600)
        models.await_reason(name, "Serving")
        until(lambda name=name: disk.claim(names.weights_name(name))["status"]["phase"] == "Bound")  # type: ignore[misc]
    kubelet.script["inspect"] = lambda pod: succeeded(inspected(commit=OTHERS[0]))
    kubelet.script["pull"] = lambda pod: running()
    kubelet.scheduled.add("pull")
    try:
        better_node(kubelet)
        nodes = {}
        for name in modes:
            models.rest.patch(models.path(name), {"spec": {"source": {"revision": "v2"}}})
            nodes[name] = until(lambda name=name: node_of_pull(models, name), why=f"the pull of {name}")  # type: ignore[misc]
        assert nodes == {"tied": NODE, "free": "better"}
    finally:
        rest.patch(f"/api/v1/nodes/{NODE}", {"spec": {"taints": None}})
        rest.request("DELETE", "/api/v1/nodes/better")


def better_node(kubelet: Kubelet) -> None:
    """Another node, and a taint by which the scheduler likes the first one less."""
    rest = kubelet.rest
    labels = {"kubernetes.io/hostname": "better"}
    rest.request(
        "POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "better", "labels": labels}}
    )
    ready = {"type": "Ready", "status": "True", "reason": "Pretended", "lastHeartbeatTime": stamp()}
    rest.patch(
        "/api/v1/nodes/better/status", {"status": {"capacity": ROOM, "allocatable": ROOM, "conditions": [ready]}}
    )
    kubelet.nodes.add("better")
    worse = {"key": "worse", "value": "true", "effect": "PreferNoSchedule"}
    rest.patch(f"/api/v1/nodes/{NODE}", {"spec": {"taints": [worse]}})

    def untainted() -> bool:
        taints = rest.get("/api/v1/nodes/better")["spec"].get("taints", [])
        return not any(t["effect"] == "NoSchedule" for t in taints)

    until(untainted, why="the controllers have seen that it is ready")


def node_of_pull(models: Models, name: str) -> str | None:
    for pod in models.child("v1", "pods").get("items", []):
        labels = pod["metadata"]["labels"]
        mine = labels.get(names.LABEL_MODEL) == name and labels.get(names.LABEL_COMPONENT) == names.COMPONENT_PULL
        new = any(e.get("value") == OTHERS[0] for e in pod["spec"]["containers"][0]["env"])
        if mine and new and "deletionTimestamp" not in pod["metadata"] and pod["spec"].get("nodeName"):
            return str(pod["spec"]["nodeName"])
    return None


def test_a_volume_grows_for_a_new_revision_and_a_pull_that_found_it_full_goes_on(
    kubelet: Kubelet, disk: Disk, classes: str
) -> None:
    models = disk.models
    kubelet.script["inspect"] = lambda pod: succeeded(inspected(bytes=10 * GI))
    disk.provide("large-weights", "12Gi", classes)
    models.apply("large", storage={"className": classes})
    models.await_reason("large", "ScaledToZero")
    until(lambda: disk.claim("large-weights")["status"].get("phase") == "Bound")
    full = Outcome(failure=Failure(reason=Reason.NO_SPACE, message="too small: raise spec.storage.size"))
    gate: list[Object] = [failed(42, full.text())]
    kubelet.script["pull"] = lambda pod: gate[0]
    kubelet.script["inspect"] = lambda pod: succeeded(inspected(commit=OTHERS[0], bytes=10 * GI))
    models.rest.patch(models.path("large"), {"spec": {"source": {"revision": "v2"}}})
    until(lambda: disk.request("large-weights") == "23Gi", why="the old revision has to stay while the new one comes")
    pulled_ = models.await_reason("large", "NoSpace", kind="ModelPulled")
    assert "it grows by itself" in pulled_["message"]
    gate[0] = succeeded(pulled())
    disk.resize("large-weights", "23Gi")
    models.await_reason("large", "Pulled", kind="ModelPulled")
    until(lambda: models.status("large")["commit"] == OTHERS[0])


def test_a_volume_whose_class_is_stiff_says_the_way_out(kubelet: Kubelet, disk: Disk, classes: str) -> None:
    models = disk.models
    kubelet.script["inspect"] = lambda pod: succeeded(inspected(bytes=10 * GI))
    disk.provide("stuck-weights", "12Gi", "stiff")
    models.apply("stuck", storage={"className": "stiff"})
    models.await_reason("stuck", "ScaledToZero")
    until(lambda: disk.claim("stuck-weights")["status"].get("phase") == "Bound")
    full = Outcome(failure=Failure(reason=Reason.NO_SPACE, message="too small: raise spec.storage.size"))
    kubelet.script["pull"] = lambda pod: failed(42, full.text())
    kubelet.script["inspect"] = lambda pod: succeeded(inspected(commit=OTHERS[0], bytes=10 * GI))
    models.rest.patch(models.path("stuck"), {"spec": {"source": {"revision": "v2"}}})
    message = models.await_reason("stuck", "NoSpace", kind="ModelPulled")["message"]
    assert "class stiff does not let volumes grow" in message
    assert "delete PersistentVolumeClaim stuck-weights" in message
    assert disk.request("stuck-weights") == "12Gi"


def test_old_revisions_leave_the_volume_and_the_way_back_stays(kubelet: Kubelet, disk: Disk) -> None:
    models = disk.models
    told: list[Object] = []
    gate: list[bool] = [False]

    def sweep(pod: Object) -> Object:
        told.append(pod)
        result = SweepResult(removed=(COMMIT,), freed_bytes=1, free_bytes=1)
        return succeeded(Outcome(sweep=result).text()) if gate[0] else running()

    kubelet.script["sweep"] = sweep
    models.apply("mover")
    models.await_reason("mover", "ScaledToZero")
    for commit in OTHERS:
        kubelet.script["inspect"] = lambda pod, commit=commit: succeeded(inspected(commit=commit))  # type: ignore[misc]
        models.rest.patch(models.path("mover"), {"spec": {"source": {"revision": commit}}})
        until(lambda commit=commit: commit in models.status("mover")["volume"]["folders"])  # type: ignore[misc]
    until(lambda: told, why="a sweep")
    assert models.status("mover")["volume"]["folders"] == list(OTHERS), "out of the status before it is removed"
    assert models.status("mover")["volume"]["removing"] == [COMMIT]
    assert models.condition("mover")["reason"] == "ScaledToZero", "it serves meanwhile"
    (container,) = told[0]["spec"]["containers"]
    keep = next(e["value"] for e in container["env"] if e["name"] == "DORMOUSE_KEEP")
    assert (container["args"], sorted(keep.split(","))) == (["sweep"], sorted(OTHERS))
    kubelet.script["inspect"] = lambda pod: succeeded(inspected())
    models.rest.patch(models.path("mover"), {"spec": {"source": {"revision": COMMIT}}})
    until(lambda: "waits for the sweep" in models.condition("mover", "ModelPulled").get("message", ""))
    assert not jobs_of(models, "pull"), "who goes back meanwhile waits, and pulls anew"
    gate[0] = True
    until(lambda: COMMIT in models.status("mover")["volume"]["folders"])
    until(lambda: not models.jobs(), why="recorded Jobs go")
    until(
        lambda: "removing" not in models.status("mover")["volume"], why="the one too many after the way back goes, too"
    )


def test_a_claim_that_is_deleted_under_a_model_goes_when_it_sleeps_and_comes_anew(kubelet: Kubelet, disk: Disk) -> None:
    models = disk.models
    models.apply("bereft")
    models.await_reason("bereft", "ScaledToZero")
    models.wake("bereft", 8)
    models.await_reason("bereft", "Serving")
    uid = disk.claim("bereft-weights")["metadata"]["uid"]
    models.rest.request("DELETE", disk.path("bereft-weights"))
    bound = models.await_reason("bereft", "StorageFailed", kind="StorageBound")
    assert "it goes once no pod uses it" in bound["message"]
    assert models.condition("bereft")["reason"] == "Serving"
    until(lambda: disk.claim("bereft-weights").get("metadata", {}).get("uid", uid) != uid, why="another claim")
    models.await_reason("bereft", "ScaledToZero")
    assert models.status("bereft")["volume"]["claimUid"] == disk.claim("bereft-weights")["metadata"]["uid"]
    until(lambda: models.condition("bereft", "StorageBound")["reason"] != "StorageFailed", why="the new claim is bound")


def test_a_volume_that_is_lost_is_said_with_the_way_out(kubelet: Kubelet, disk: Disk, classes: str) -> None:
    models = disk.models
    volume = disk.provide("robbed-weights", "2Gi", classes)
    models.apply("robbed", storage={"className": classes})
    models.await_reason("robbed", "ScaledToZero")
    until(lambda: disk.claim("robbed-weights")["status"].get("phase") == "Bound")
    path = f"/api/v1/persistentvolumes/{volume}"
    models.rest.request("DELETE", path)
    # its protection may come back for as long as the deletion has not been asked for
    until(lambda: not models.rest.patch(path, {"metadata": {"finalizers": None}}), why="the volume is gone")
    ready = models.await_reason("robbed", "StorageFailed")
    assert "has lost its volume: delete the claim" in ready["message"]
    models.rest.request("DELETE", disk.path("robbed-weights"))
    models.await_reason("robbed", "ScaledToZero")


def test_an_existing_claim_is_neither_changed_nor_cleared(plane: ControlPlane, kubelet: Kubelet, disk: Disk) -> None:
    models = disk.models
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "mine"}, "spec": spec}
    models.rest.request("POST", f"/api/v1/namespaces/{models.namespace}/persistentvolumeclaims", claim)
    for name in ("guest", "lodger"):
        models.apply(name, storage={"existingClaim": "mine"})
        models.await_reason(name, "ScaledToZero")
    for commit in OTHERS:
        kubelet.script["inspect"] = lambda pod, commit=commit: succeeded(inspected(commit=commit))  # type: ignore[misc]
        models.rest.patch(models.path("guest"), {"spec": {"source": {"revision": commit}}})
        until(lambda commit=commit: commit in models.status("guest")["volume"]["folders"])  # type: ignore[misc]
    assert "removing" not in models.status("guest")["volume"]
    touched = [e for e in writes(plane, models.namespace) if e["objectRef"]["resource"] == "persistentvolumeclaims"]
    assert touched == [], json.dumps(touched)[:500]
