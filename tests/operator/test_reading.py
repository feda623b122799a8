"""API objects as the API server really sends them, read into values."""

from typing import Any

import pytest
from pydantic import ValidationError

from dormouse_api.lease import parse_time
from dormouse_api.names import ANNOTATION_RESTARTED
from dormouse_operator import reading
from dormouse_operator.observed import Exit

Object = dict[str, Any]
AT = "2026-11-21T13:20:00Z"
SECONDS = parse_time(AT)


def pod(**status: Any) -> Object:
    labels = {"app.kubernetes.io/component": "pull", "batch.kubernetes.io/job-name": "j"}
    return {"metadata": {"name": "p", "uid": "u", "labels": labels, "creationTimestamp": AT}, "status": status}


def condition(kind: str, value: str, **more: str) -> Object:
    return {"type": kind, "status": value, "lastTransitionTime": AT} | more


def test_a_fresh_pod() -> None:
    seen = reading.read_pod(pod())
    assert (seen.component, seen.job, seen.phase, seen.created) == ("pull", "j", "Pending", SECONDS)
    assert (seen.ip, seen.exit, seen.waiting, seen.ready_at, seen.unschedulable) == ("", None, None, None, None)


def test_a_pod_without_a_node() -> None:
    seen = reading.read_pod(
        pod(conditions=[condition("PodScheduled", "False", reason="Unschedulable", message="0/1 nodes")])
    )
    assert (seen.unschedulable, seen.unschedulable_since, seen.scheduled_at) == ("0/1 nodes", SECONDS, None)


def test_a_pod_with_a_node_is_scheduled_whatever_an_older_attempt_says_of_it() -> None:
    late = pod(conditions=[condition("PodScheduled", "False", reason="Unschedulable", message="0/1 nodes")])
    assert reading.read_pod(late | {"spec": {"nodeName": "n"}}).unschedulable is None


@pytest.mark.parametrize(
    ("ready", "containers", "reason", "silent"),
    [
        ("False", "True", "", SECONDS),
        ("False", "False", "ContainersNotReady", None),
        ("True", "True", "", None),
        ("False", "True", "ReadinessGatesNotReady", None),
    ],
)
def test_a_pod_whose_node_is_silent(ready: str, containers: str, reason: str, silent: float | None) -> None:
    """The node's controller turns Ready alone; a kubelet says of the pod what it says of the containers."""
    said = [condition("Ready", ready, reason=reason), condition("ContainersReady", containers)]
    assert reading.read_pod(pod(conditions=said)).silent_since == silent


def test_a_pod_that_was_put_out() -> None:
    target = condition("DisruptionTarget", "True", reason="PreemptionByScheduler", message="preempting")
    seen = reading.read_pod(pod(phase="Failed", reason="Evicted", message="low on disk", conditions=[target]))
    assert (seen.reason, seen.message, seen.disrupted) == (
        "Evicted",
        "low on disk",
        "PreemptionByScheduler: preempting",
    )


@pytest.mark.parametrize(
    ("times", "at"),
    [
        ({"eventTime": AT}, SECONDS),
        ({"deprecatedLastTimestamp": AT, "eventTime": None}, SECONDS),
        ({"series": {"count": 3, "lastObservedTime": AT}, "eventTime": "2026-01-01T00:00:00.000000Z"}, SECONDS),
        ({}, 0.0),
    ],
)
def test_a_notice_of_either_api(times: Object, at: float) -> None:
    seen = reading.read_notice({"reason": "FailedMount", "note": "why"} | times)
    assert (seen.reason, seen.message, seen.at) == ("FailedMount", "why", at)


@pytest.mark.parametrize(("said", "at"), [(AT, SECONDS), ("soon", None)])
def test_a_pod_that_a_reload_made(said: str, at: float | None) -> None:
    raw = pod()
    raw["metadata"]["annotations"] = {ANNOTATION_RESTARTED: said}
    assert reading.read_pod(raw).reload_at == at
    assert reading.read_pod(pod()).reload_at is None


def test_a_serving_pod_that_was_restarted_beside_a_mesh() -> None:
    ours = {
        "name": "runtime",
        "restartCount": 2,
        "state": {"running": {"startedAt": AT}},
        "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "m", "finishedAt": AT}},
    }
    mesh = {"name": "istio-proxy", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    ready = [condition("Ready", "True"), condition("PodScheduled", "True")]
    seen = reading.read_pod(pod(podIP="10.0.0.1", phase="Running", conditions=ready, containerStatuses=[mesh, ours]))
    assert (seen.ready_at, seen.scheduled_at, seen.started_at, seen.restarts) == (SECONDS, SECONDS, SECONDS, 2)
    assert seen.last_exit == Exit(1, "Error", "m", SECONDS)
    assert seen.waiting is None


@pytest.mark.parametrize(
    ("conditions", "complete", "failed"),
    [
        ([], False, None),
        ([condition("Complete", "True")], True, None),
        ([condition("Failed", "False")], False, None),
        ([condition("FailureTarget", "True", reason="PodFailurePolicy")], False, "PodFailurePolicy"),
        ([condition("Failed", "True", reason="BackoffLimitExceeded", message="m")], False, "BackoffLimitExceeded"),
    ],
)
def test_a_job(conditions: list[Object], complete: bool, failed: str | None) -> None:
    annotations = {"dormouse.dev/attempt": "2", "dormouse.dev/generation": "5"}
    meta = {"name": "j", "uid": "u", "labels": {"dormouse.dev/inputs": "i"}, "annotations": annotations}
    seen = reading.read_job({"metadata": meta, "status": {"conditions": conditions}})
    assert (seen.attempt, seen.generation, seen.inputs) == (2, 5, "i")
    assert (seen.complete, seen.failed_reason) == (complete, failed)
    assert seen.ended_at == (SECONDS if complete or failed else 0.0)


def test_a_claim() -> None:
    spec = {"resources": {"requests": {"storage": "3Gi"}}}
    raw: Object = {"metadata": {"name": "c", "uid": "u"}, "spec": spec, "status": {"phase": "Bound"}}
    seen = reading.read_claim(raw)
    assert seen is not None
    assert (seen.bound, seen.lost, seen.deleting, seen.requested) == (True, False, False, "3Gi")
    raw["metadata"]["deletionTimestamp"] = AT
    going = reading.read_claim(raw)
    assert going is not None
    assert going.deleting, "a claim in use stays Bound while it goes"
    assert reading.read_claim(None) is None


def test_a_deployment() -> None:
    meta = {"labels": {"dormouse.dev/woken-at": "20261121T132000.000000Z"}}
    raw: Object = {"metadata": meta, "spec": {"replicas": 0, "template": {}}}
    seen = reading.read_runtime(raw)
    assert seen is not None
    assert (seen.replicas, seen.woken_at, seen.refused) == (0, SECONDS, None)
    meta["deletionTimestamp"] = {}
    assert reading.read_runtime(raw) is None


def test_a_lease_nobody_has_renewed_yet() -> None:
    assert reading.read_lease(None) is None
    assert reading.read_lease({"metadata": {}, "spec": {}}) is None
    wish = reading.read_lease({"spec": {"renewTime": "2026-11-21T13:20:00.000000Z", "leaseDurationSeconds": 5}})
    assert wish is not None
    assert wish.ends == SECONDS + 5


def test_a_model_of_another_version() -> None:
    raw: Object = {"metadata": {"namespace": "n", "name": "m", "uid": "u"}, "spec": {"source": {"uri": "ftp://x"}}}
    with pytest.raises(ValidationError):
        reading.read_model(raw)
    raw["spec"]["source"]["uri"] = "hf://org/name"
    assert reading.read_model(raw | {"status": {"bytes": "many"}}).status.bytes is None


def resizing(**status: Any) -> Any:
    meta = {"name": "c", "uid": "u"}
    return reading.read_claim({"metadata": meta, "spec": {"accessModes": ["ReadWriteOnce"]}, "status": status})


@pytest.mark.parametrize(
    ("status", "words", "failed"),
    [
        ({}, "", False),
        ({"conditions": [{"type": "Resizing", "status": "True"}]}, "Resizing", False),
        ({"conditions": [{"type": "Resizing", "status": "False"}]}, "", False),
        (
            {"conditions": [{"type": "FileSystemResizePending", "status": "True", "message": "waiting for a pod"}]},
            "waiting for a pod",
            False,
        ),
        (
            {
                "conditions": [
                    {"type": "Resizing", "status": "True"},
                    {"type": "ControllerResizeError", "status": "True", "message": "quota"},
                ]
            },
            "quota",
            True,
        ),
        (
            {"allocatedResourceStatuses": {"storage": "NodeResizeInfeasible"}},
            "the storage says NodeResizeInfeasible",
            True,
        ),
        (
            {"allocatedResourceStatuses": {"storage": "ControllerResizeInProgress"}},
            "ControllerResizeInProgress",
            False,
        ),
    ],
)
def test_what_becomes_of_a_resize(status: Any, words: str, failed: bool) -> None:
    found = resizing(**status)
    assert (found.growing, found.grow_failed) == (words, failed)


def test_a_pod_is_known_by_the_folders_it_was_told_of() -> None:
    env = [
        {
            "name": "DORMOUSE_RUNTIME",
            "value": '{"attempts":[{"model_dir":"/models/abc-int4"},{"model_dir":"/models/abc"}]}',
        }
    ]
    pod = {"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [{"env": env}]}}
    assert reading.read_pod(pod).uses == {"abc-int4", "abc"}
    pull = {
        "metadata": {"name": "p", "uid": "u"},
        "spec": {"containers": [{"env": [{"name": "DORMOUSE_COMMIT", "value": "abc"}]}]},
    }
    assert reading.read_pod(pull).uses == {"abc"}
