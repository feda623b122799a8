"""The operator killed anywhere, the API server gone, a deletion nobody told of: the same state, nothing made twice."""

from collections import Counter
from pathlib import Path

import pytest

from dev.cluster.controlplane import ControlPlane
from dormouse_api.names import runtime_name
from tests.controlplane.kubelet import Kubelet, Object, pulled, running, succeeded
from tests.controlplane.operatorprocess import Models, OperatorProcess, created, until


def test_killed_at_each_step_it_converges_and_makes_nothing_twice(
    plane: ControlPlane, kubelet: Kubelet, operator: OperatorProcess, models: Models
) -> None:
    kubelet.script |= {
        "inspect": lambda pod: running(),
        "pull": lambda pod: running(),
        "runtime": lambda pod: running(),
    }
    models.apply("phoenix", scaling={"idleSeconds": 5})

    def killed() -> None:
        operator.kill()
        operator.start()

    until(models.jobs)
    killed()
    models.await_reason("phoenix", "Inspecting")
    original = Kubelet(kubelet.rest).script
    operator.kill()
    kubelet.script["inspect"] = original["inspect"]
    operator.start()
    models.await_reason("phoenix", "Pulling")
    until(lambda: any("-pull-" in name for name in models.jobs()))
    killed()
    models.await_reason("phoenix", "Pulling", kind="ModelPulled")
    operator.kill()
    kubelet.script["pull"] = original["pull"]  # it ends while nobody watches
    until(lambda: models.child("v1", "pods")["items"], why="the pull pod")
    operator.start()
    models.await_reason("phoenix", "ScaledToZero")
    killed()
    models.wake("phoenix", 20)
    until(lambda: models.replicas("phoenix") == 1)
    killed()
    models.await_reason("phoenix", "Waking")
    operator.kill()
    kubelet.script["runtime"] = lambda pod: running(ready=True)
    operator.start()
    models.await_reason("phoenix", "Serving")
    killed()
    models.wake("phoenix", 1)
    until(lambda: models.replicas("phoenix") == 0)
    models.await_reason("phoenix", "ScaledToZero")
    until(lambda: not models.jobs())
    made = Counter(created(plane, models.namespace))
    assert [name for name, times in made.items() if times > 1] == []
    assert len(made) == 6, "two Jobs, a claim, a Deployment, a Service and a Lease"


def test_an_api_server_that_restarts_is_waited_for(
    plane: ControlPlane, kubelet: Kubelet, operator: OperatorProcess, models: Models
) -> None:
    models.apply("patient")
    models.await_reason("patient", "ScaledToZero")
    plane.restart_apiserver()
    models.wake("patient", 600)
    models.await_reason("patient", "Serving")
    plane.kill_apiserver()
    plane.restart_apiserver()
    models.wake("patient", 1)  # ends the long wish
    until(lambda: models.replicas("patient") == 0, seconds=30)
    models.await_reason("patient", "ScaledToZero")
    assert operator.alive()
    assert operator.ask("/livez").text == "ok"


def test_a_deletion_that_no_watch_told_of_is_noticed(
    plane: ControlPlane, kubelet: Kubelet, models: Models, tmp_path: Path
) -> None:
    """kopf relists after the outage and says nothing of what is gone; the resync does."""
    log = tmp_path / "operator.log"
    with OperatorProcess(
        plane.kubeconfig, log, DORMOUSE_NAMESPACES=models.namespace, DORMOUSE_RESYNC_SECONDS="2"
    ) as operator:
        models.apply("ghost")
        models.await_reason("ghost", "ScaledToZero")
        operator.freeze()
        for group, plural in (("apps/v1", "deployments"), ("v1", "services")):
            name = runtime_name("ghost")
            prefix = f"/apis/{group}" if "/" in group else f"/api/{group}"
            kubelet.rest.request("DELETE", f"{prefix}/namespaces/{models.namespace}/{plural}/{name}")
        plane.restart_apiserver()
        operator.thaw()
        until(lambda: models.replicas("ghost") == 0, why="the Deployment is back")
        until(lambda: models.child("v1", "services", runtime_name("ghost")), why="the Service is back")
        assert operator.alive()


def test_a_job_that_is_being_deleted_is_not_applied_over(
    plane: ControlPlane, kubelet: Kubelet, operator: OperatorProcess, models: Models
) -> None:
    """An apply over a Job that goes in the foreground is answered 200 and vanishes with it."""
    gate: list[Object | None] = [running()]
    kubelet.script["pull"] = lambda pod: gate[0]
    models.apply("again")
    models.await_reason("again", "Pulling")
    (name,) = until(lambda: [name for name in models.jobs() if "-pull-" in name])
    path = f"/apis/batch/v1/namespaces/{models.namespace}/jobs/{name}"
    uid = kubelet.rest.get(path)["metadata"]["uid"]
    kubelet.rest.request("DELETE", path, {"propagationPolicy": "Foreground"})
    until(lambda: kubelet.rest.get(path).get("metadata", {}).get("uid") not in (uid, None), why="a new Job")
    gate[0] = succeeded(pulled())
    models.await_reason("again", "ScaledToZero")


@pytest.mark.parametrize("plural", ["deployments", "services", "leases"])
def test_a_child_deleted_by_hand_comes_back(
    kubelet: Kubelet, operator: OperatorProcess, models: Models, plural: str
) -> None:
    models.apply("whole")
    models.await_reason("whole", "ScaledToZero")
    group = {"deployments": "apps/v1", "services": "v1", "leases": "coordination.k8s.io/v1"}[plural]
    before = models.child(group, plural, runtime_name("whole"))["metadata"]["uid"]
    prefix = f"/apis/{group}" if "/" in group else f"/api/{group}"
    kubelet.rest.request("DELETE", f"{prefix}/namespaces/{models.namespace}/{plural}/{runtime_name('whole')}")
    until(lambda: models.child(group, plural, runtime_name("whole")).get("metadata", {}).get("uid", before) != before)
