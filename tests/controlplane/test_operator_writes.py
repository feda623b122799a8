"""What the operator writes when there is nothing to do: nothing. Counted in the API server's audit log."""

import statistics
import time
from datetime import datetime

from dev.cluster.controlplane import ControlPlane
from dormouse_api.names import runtime_name
from tests.controlplane.kubelet import Kubelet
from tests.controlplane.operatorprocess import AGENT, Models, OperatorProcess, until, writes

COUNT = 20


def test_unchanged_models_cost_a_new_operator_no_write_and_an_idle_one_none(
    plane: ControlPlane, kubelet: Kubelet, operator: OperatorProcess, own_models: Models
) -> None:
    for number in range(COUNT):
        own_models.apply(f"m{number}")
    for number in range(COUNT):
        own_models.await_reason(f"m{number}", "ScaledToZero", seconds=180)
    until(lambda: not own_models.jobs(), why="finished Jobs are cleaned up")
    until(lambda: operator.metric("dormouse_operator_queue_depth") == 0)
    assert operator.stop() == 0
    before = writes(plane, own_models.namespace)
    assert len([w for w in before if w["objectRef"]["resource"] == "jobs" and w["verb"] == "patch"]) == 2 * COUNT

    # every second a resync looks at all of them again: 60 s of ordinary life in a few
    with OperatorProcess(
        plane.kubeconfig, operator.log, DORMOUSE_NAMESPACES=own_models.namespace, DORMOUSE_RESYNC_SECONDS="1"
    ) as again:
        looks = "dormouse_operator_reconciles_total"
        until(lambda: again.metric(looks, result="ok") >= 4 * COUNT)
        assert again.ask("/readyz").status_code == 200
        assert [again.metric(looks, result=result) for result in ("retry", "refused", "bug")] == [0, 0, 0]
        assert again.metric("dormouse_operator_api_writes_total") == 0
    assert writes(plane, own_models.namespace) == before


def test_a_wake_costs_milliseconds(
    plane: ControlPlane, kubelet: Kubelet, operator: OperatorProcess, own_models: Models
) -> None:
    own_models.apply("quick")
    own_models.await_reason("quick", "ScaledToZero")
    reads: list[float] = []
    for _ in range(6):
        before = time.perf_counter()
        own_models.status("quick")
        reads.append((time.perf_counter() - before) * 1000)
        own_models.wake("quick", 60)
        until(lambda: own_models.replicas("quick") == 1)
        own_models.wake("quick", 0)  # a wish that ends at once
        until(lambda: own_models.replicas("quick") == 0)
    spent = _wake_milliseconds(plane, own_models.namespace, runtime_name("quick"))
    assert len(spent) >= 6
    # about 25 ms on an idle machine: event, three rounds of calls, our own work. A full machine stretches each call.
    assert min(spent) < 40 + 15 * statistics.median(reads), (spent, reads)


def _wake_milliseconds(plane: ControlPlane, namespace: str, name: str) -> list[float]:
    """From each wish to the apply that followed it, by the API server's own clock: every other one ends at once."""
    found: list[float] = []
    asked: datetime | None = None
    for event in plane.writes():
        ref = event.get("objectRef", {})
        if (ref.get("namespace"), ref.get("name")) != (namespace, name):
            continue
        at = datetime.fromisoformat(event["stageTimestamp"])
        if ref["resource"] == "leases" and event["userAgent"] == "test":
            asked = at
        elif ref["resource"] == "deployments" and AGENT in event["userAgent"] and asked is not None:
            found.append((at - asked).total_seconds() * 1000)
            asked = None
    return found[::2]
