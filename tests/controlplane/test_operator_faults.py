"""The operator killed anywhere, the API server gone, a deletion nobody told of: the same state, nothing made twice."""

from collections import Counter
from pathlib import Path

import pytest

from dev.cluster.controlplane import ControlPlane
from dormouse_api.names import runtime_name
from tests.controlplane.kubelet import Kubelet, Object, pulled, running, succeeded
from tests.controlplane.operatorprocess import Models, OperatorProcess, created, until


def test_killed_at_each_step_it_converges_and_makes_nothing_twice(
    plane: ControlPlane, kubelet: Kubelet, operator: OperatorProcess, own_models: Models
) -> None:
    kubelet.script |= {
        "inspect": lambda pod: running(),
        "pull": lambda pod: running(),
        "runtime": lambda pod: running(),
    }
    own_models.apply("phoenix", scaling={"idleSeconds": 5})

    def killed() -> None:
        operator.kill()
        operator.start()

    until(own_models.jobs)
    killed()
    own_models.await_reason("phoenix", "Inspecting")
    original = Kubelet(kubelet.rest).script
    operator.kill()
    kubelet.script["inspect"] = original["inspect"]
    operator.start()
    own_models.await_reason("phoenix", "Pulling")
    until(lambda: any("-pull-" in name for name in own_models.jobs()))
    killed()
    own_models.await_reason("phoenix", "Pulling", kind="ModelPulled")
    operator.kill()
    kubelet.script["pull"] = original["pull"]  # it ends while nobody watches
    until(lambda: own_models.child("v1", "pods")["items"], why="the pull pod")
    operator.start()
    own_models.await_reason("phoenix", "ScaledToZero")
    killed()
    own_models.wake("phoenix", 600)
    until(lambda: own_models.replicas("phoenix") == 1)
    killed()
    own_models.await_reason("phoenix", "Waking")
    operator.kill()
    kubelet.script["runtime"] = lambda pod: running(ready=True)
    operator.start()
    own_models.await_reason("phoenix", "Serving")
    killed()
    own_models.wake("phoenix", 1)
    until(lambda: own_models.replicas("phoenix") == 0)
    own_models.await_reason("phoenix", "ScaledToZero")
    until(lambda: not own_models.jobs())
    made = Counter(created(plane, own_models.namespace))
    assert [name for name, times in made.items() if times > 1] == []
    assert len(made) == 6, "two Jobs, a claim, a Deployment, a Service and a Lease"


def test_an_api_server_that_restarts_is_waited_for(
    plane: ControlPlane, kubelet: Kubelet, operator: OperatorProcess, own_models: Models
) -> None:
    own_models.apply("patient")
    own_models.await_reason("patient", "ScaledToZero")
    plane.restart_apiserver()
    own_models.wake("patient", 600)
    own_models.await_reason("patient", "Serving")
    plane.kill_apiserver()
    plane.restart_apiserver()
    own_models.wake("patient", 1)  # ends the long wish
    until(lambda: own_models.replicas("patient") == 0)
    own_models.await_reason("patient", "ScaledToZero")
    assert operator.alive()
    assert operator.ask("/livez").text == "ok"


def test_a_deletion_that_no_watch_told_of_is_noticed(
    plane: ControlPlane, kubelet: Kubelet, own_models: Models, tmp_path: Path
) -> None:
    """kopf relists after the outage and says nothing of what is gone; the resync does."""
    log = tmp_path / "operator.log"
    with OperatorProcess(
        plane.kubeconfig, log, DORMOUSE_NAMESPACES=own_models.namespace, DORMOUSE_RESYNC_SECONDS="2"
    ) as operator:
        own_models.apply("ghost")
        own_models.await_reason("ghost", "ScaledToZero")
        operator.freeze()
        for group, plural in (("apps/v1", "deployments"), ("v1", "services")):
            name = runtime_name("ghost")
            prefix = f"/apis/{group}" if "/" in group else f"/api/{group}"
            kubelet.rest.request("DELETE", f"{prefix}/namespaces/{own_models.namespace}/{plural}/{name}")
        plane.restart_apiserver()
        operator.thaw()
        until(lambda: own_models.replicas("ghost") == 0, why="the Deployment is back")
        until(lambda: own_models.child("v1", "services", runtime_name("ghost")), why="the Service is back")
        assert operator.alive()


def test_a_job_that_is_being_deleted_is_not_applied_over(
    plane: ControlPlane, kubelet: Kubelet, operator: OperatorProcess, own_models: Models
) -> None:
    """An apply over a Job that goes in the foreground is answered 200 and vanishes with it."""
    gate: list[Object | None] = [running()]
    kubelet.script["pull"] = lambda pod: gate[0]
    own_models.apply("again")
    own_models.await_reason("again", "Pulling")
    (name,) = until(lambda: [name for name in own_models.jobs() if "-pull-" in name])
    path = f"/apis/batch/v1/namespaces/{own_models.namespace}/jobs/{name}"
    uid = kubelet.rest.get(path)["metadata"]["uid"]
    kubelet.rest.request("DELETE", path, {"propagationPolicy": "Foreground"})
    until(lambda: kubelet.rest.get(path).get("metadata", {}).get("uid") not in (uid, None), why="a new Job")
    assert [name for name in own_models.jobs() if "-pull-" in name] == [name]
    gate[0] = succeeded(pulled())
    own_models.await_reason("again", "ScaledToZero")
    assert operator.alive()


@pytest.mark.parametrize("plural", ["deployments", "services", "leases"])
def test_a_child_deleted_by_hand_comes_back(kubelet: Kubelet, models: Models, plural: str) -> None:
    name = f"whole-{plural}"
    models.apply(name)
    models.await_reason(name, "ScaledToZero")
    group = {"deployments": "apps/v1", "services": "v1", "leases": "coordination.k8s.io/v1"}[plural]

    def uid() -> str | None:
        found = models.child(group, plural, runtime_name(name)).get("metadata", {}).get("uid")
        return str(found) if found else None

    before = uid()
    prefix = f"/apis/{group}" if "/" in group else f"/api/{group}"
    kubelet.rest.request("DELETE", f"{prefix}/namespaces/{models.namespace}/{plural}/{runtime_name(name)}")
    until(lambda: uid() not in (before, None))
    made = models.child(group, plural, runtime_name(name))
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("InferenceModel", name)
