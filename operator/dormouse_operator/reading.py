"""From plain API objects to the values of `observed.py`. Pure: reads fields and judges nothing."""

import contextlib
import re
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from dormouse_api import names
from dormouse_api.lease import Wish, parse_time, read_wish
from dormouse_api.model import InferenceModelSpec
from dormouse_api.profile import RuntimeProfileSpec
from dormouse_api.status import InferenceModelStatus
from dormouse_operator.observed import (
    ANNOTATION_ATTEMPT,
    ANNOTATION_GENERATION,
    ANNOTATION_ROOM,
    CONTAINERS,
    LABEL_ASKED,
    LABEL_INPUTS,
    LABEL_JOB_NAME,
    LABEL_TURNED_OUT,
    LABEL_WOKEN,
    Claim,
    Exit,
    Job,
    Model,
    Notice,
    Object,
    Pod,
    Profile,
    Runtime,
)

MOST_DIGITS = 9
"""Of a number in an annotation: nobody counts to a billion."""
HOMELESS = frozenset({"Unschedulable", "SchedulerError", "SchedulingGated"})
FOLDER = re.compile(rf"{names.MODELS_DIR}/([A-Za-z0-9][A-Za-z0-9._-]*)")
RESIZE_FAILED = ("ControllerResizeError", "NodeResizeError")
RESIZING = ("FileSystemResizePending", "Resizing")
"""Conditions of a claim; the second lasts until the first or the end."""


def read_model(raw: Object) -> Model:
    """The model; pydantic's ValidationError when its spec is none."""
    meta = raw["metadata"]
    return Model(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta.get("generation", 1),
        spec=InferenceModelSpec.model_validate(raw["spec"]),
        status=read_status(raw),
    )


def read_status(raw: Object) -> InferenceModelStatus:
    """The status as it was last written; one that nobody understands counts as none."""
    try:
        return InferenceModelStatus.model_validate(raw.get("status") or {})
    except ValidationError:
        return InferenceModelStatus()


def read_profile(raw: Object) -> Profile:
    """The profile; pydantic's ValidationError when its spec is none."""
    return Profile(raw["metadata"]["name"], RuntimeProfileSpec.model_validate(raw["spec"]))


def read_claim(raw: Object | None) -> Claim | None:
    """The claim, or None."""
    if raw is None:
        return None
    meta, status, spec = raw["metadata"], raw.get("status", {}), raw["spec"]
    phase, growing = status.get("phase", "Pending"), _growing(status)
    return Claim(
        name=meta["name"],
        uid=meta["uid"],
        bound=phase == "Bound",
        lost=phase == "Lost",
        deleting="deletionTimestamp" in meta,
        requested=spec.get("resources", {}).get("requests", {}).get("storage", "0"),
        labels=meta.get("labels") or {},
        created=_time(meta, "creationTimestamp") or 0.0,
        capacity=status.get("capacity", {}).get("storage", "0"),
        access_modes=tuple(spec.get("accessModes") or ()),
        class_name=spec.get("storageClassName") or "",
        owners=tuple((o["uid"], o["name"]) for o in meta.get("ownerReferences") or () if o["kind"] == names.MODEL_KIND),
        annotations=meta.get("annotations") or {},
        growing=growing[0],
        grow_failed=growing[1],
    )


def _growing(status: Object) -> tuple[str, bool]:
    """(the cluster's words on a resize, whether it failed)."""
    conditions = {c["type"]: c for c in status.get("conditions") or () if c["status"] == "True"}
    for kind in RESIZE_FAILED:
        if kind in conditions:
            return conditions[kind].get("message") or kind, True
    doing = status.get("allocatedResourceStatuses", {}).get("storage", "")
    if doing.endswith("Infeasible"):
        return f"the storage says {doing}", True
    for kind in RESIZING:
        if kind in conditions:
            return conditions[kind].get("message") or kind, False
    return doing, False


def read_job(raw: Object) -> Job:
    """A Job of ours."""
    meta, annotations = raw["metadata"], raw["metadata"].get("annotations") or {}
    conditions = {c["type"]: c for c in raw.get("status", {}).get("conditions") or () if c["status"] == "True"}
    failed = conditions.get("Failed") or conditions.get("FailureTarget")
    complete = conditions.get("Complete") or conditions.get("SuccessCriteriaMet")
    labels = meta.get("labels") or {}
    return Job(
        name=meta["name"],
        uid=meta["uid"],
        stage=labels.get(names.LABEL_COMPONENT, ""),
        inputs=labels.get(LABEL_INPUTS, ""),
        attempt=_count(annotations.get(ANNOTATION_ATTEMPT)),
        generation=_count(annotations.get(ANNOTATION_GENERATION)),
        deleting="deletionTimestamp" in meta,
        complete=complete is not None,
        failed_reason=failed.get("reason", "") if failed else None,
        failed_message=failed.get("message", "") if failed else "",
        ended_at=_time(failed or complete, "lastTransitionTime") or 0.0,
        created=_time(meta, "creationTimestamp") or 0.0,
        model=labels.get(names.LABEL_MODEL, ""),
        room=annotations.get(ANNOTATION_ROOM, ""),
    )


def read_pod(raw: Object) -> Pod:
    """A pod of ours."""
    meta, status = raw["metadata"], raw.get("status", {})
    labels = meta.get("labels") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    containers = status.get("containerStatuses") or ()
    # a mesh may put containers of its own beside ours
    container: Object = next((c for c in containers if c.get("name") in CONTAINERS), next(iter(containers), {}))
    state, last = container.get("state") or {}, container.get("lastState") or {}
    waiting, ready = state.get("waiting") or {}, conditions.get("Ready", {})
    scheduled, mounted = conditions.get("PodScheduled", {}), conditions.get("PodReadyToStartContainers", {})
    # A pod that has its node is scheduled, whatever an older attempt of the scheduler still says of it.
    homeless = not raw.get("spec", {}).get("nodeName") and scheduled.get("reason") in HOMELESS
    return Pod(
        name=meta["name"],
        uid=meta["uid"],
        component=labels.get(names.LABEL_COMPONENT, ""),
        job=labels.get(LABEL_JOB_NAME, ""),
        ip=status.get("podIP", ""),
        phase=status.get("phase", "Pending"),
        deleting="deletionTimestamp" in meta,
        created=_time(meta, "creationTimestamp") or 0.0,
        ready_at=_time(ready, "lastTransitionTime") if ready.get("status") == "True" else None,
        scheduled_at=_time(scheduled, "lastTransitionTime") if scheduled.get("status") == "True" else None,
        unschedulable=scheduled.get("message", "no node fits") if homeless else None,
        unschedulable_since=_time(scheduled, "lastTransitionTime") or 0.0,
        waiting=waiting.get("reason"),
        waiting_message=waiting.get("message", ""),
        started_at=_time(state.get("running"), "startedAt"),
        exit=_exit(state.get("terminated")),
        last_exit=_exit(last.get("terminated")),
        restarts=container.get("restartCount", 0),
        mounted_at=_time(mounted, "lastTransitionTime") if mounted.get("status") == "True" else None,
        reload_at=_said_time(meta.get("annotations"), names.ANNOTATION_RESTARTED),
        node=raw.get("spec", {}).get("nodeName", ""),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        disrupted=_disrupted(conditions.get("DisruptionTarget", {})),
        silent_since=_silent_since(conditions),
        ends_at=_time(meta, "deletionTimestamp"),
        model=labels.get(names.LABEL_MODEL, ""),
        uses=mentioned(raw.get("spec", {})),
    )


def _disrupted(condition: Object) -> str | None:
    if condition.get("status") != "True":
        return None
    return f"{condition.get('reason', '')}: {condition.get('message', '')}".strip(": ")


def _silent_since(conditions: Mapping[str, Object]) -> float | None:
    """The node's controller marks pods of a node that does not answer unready, and nobody else does: a kubelet
    that is alive says of the containers what it says of the pod.
    """
    ready, containers = conditions.get("Ready", {}), conditions.get("ContainersReady", {})
    gated = ready.get("reason") == "ReadinessGatesNotReady"  # somebody's gate, and the kubelet's own word
    if ready.get("status") == "False" and containers.get("status") == "True" and not gated:
        return _time(ready, "lastTransitionTime")
    return None


def read_notice(raw: Object) -> Notice:
    """An events.k8s.io/v1 Event, whoever wrote it by which API."""
    series = raw.get("series") or {}
    at = _time(series, "lastObservedTime") or _time(raw, "deprecatedLastTimestamp") or _time(raw, "eventTime")
    return Notice(raw.get("reason", ""), raw.get("note", ""), at or 0.0)


def read_runtime(raw: Object | None) -> Runtime | None:
    """The Deployment, or None."""
    if raw is None or "deletionTimestamp" in raw["metadata"]:
        return None
    said, spec = raw["metadata"].get("labels") or {}, raw["spec"]
    return Runtime(
        replicas=spec.get("replicas", 1),
        woken_at=_said_time(said, LABEL_WOKEN),
        template=spec["template"],
        strategy=spec.get("strategy", {}),
        asked_at=_said_time(said, LABEL_ASKED),
        turned_out=_said_time(said, LABEL_TURNED_OUT),
        refused=replica_failure(raw),
    )


def replica_failure(raw: Object) -> str | None:
    """Why the Deployment's pods are refused, or None."""
    for condition in raw.get("status", {}).get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return str(condition.get("message", "no reason is given"))
    return None


def read_lease(raw: Object | None) -> Wish | None:
    """The wish in the model's Lease, or None."""
    return read_wish(raw.get("spec")) if raw else None


def read_restart(lease: Object | None, deployment: Object | None) -> str | None:
    """The later of the restart that the Lease asks for and the one that the Deployment has had.

    So a Lease that was made anew, or says what is no time, restarts nothing.
    """
    template = deployment["spec"]["template"] if deployment else {}
    found = []
    for raw in (template, lease or {}):
        said = ((raw.get("metadata") or {}).get("annotations") or {}).get(names.ANNOTATION_RESTARTED)
        with contextlib.suppress(ValueError, OverflowError):
            found.append((parse_time(str(said)), str(said)))
    return max(found)[1] if found else None


def _said_time(said: Object | None, name: str) -> float | None:
    """Whoever writes a label or an annotation by hand may write what is no time: then it says nothing."""
    with contextlib.suppress(ValueError, OverflowError):
        return _time(said, name)
    return None


def _count(text: str | None) -> int:
    """The same of numbers."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else 0


def read_pods(items: Sequence[Object]) -> tuple[Pod, ...]:
    """All pods of a LIST."""
    return tuple(read_pod(item) for item in items)


def mentioned(spec: Object) -> frozenset[str]:
    """Folders of the volume that the pod's environment speaks of."""
    env = [e for container in spec.get("containers") or () for e in container.get("env") or ()]
    commits = {e.get("value", "") for e in env if e["name"] == "DORMOUSE_COMMIT"}
    return frozenset({name for e in env for name in FOLDER.findall(e.get("value", ""))} | commits)


def _exit(raw: Object | None) -> Exit | None:
    if not raw:
        return None
    return Exit(raw.get("exitCode", 0), raw.get("reason", ""), raw.get("message", ""), _time(raw, "finishedAt") or 0.0)


def _time(raw: Object | None, field_name: str) -> float | None:
    text = (raw or {}).get(field_name)
    return parse_time(text) if text else None
