"""From plain API objects to the values of `observed.py`. Pure: reads fields and judges nothing."""

import contextlib
from collections.abc import Sequence

from pydantic import ValidationError

from dormouse_api import names
from dormouse_api.lease import Wish, parse_time, read_wish
from dormouse_api.model import InferenceModelSpec
from dormouse_api.profile import RuntimeProfileSpec
from dormouse_api.status import InferenceModelStatus
from dormouse_operator.observed import (
    ANNOTATION_ASKED,
    ANNOTATION_ATTEMPT,
    ANNOTATION_GENERATION,
    ANNOTATION_TURNED_OUT,
    ANNOTATION_WOKEN,
    CONTAINERS,
    LABEL_INPUTS,
    LABEL_JOB_NAME,
    Claim,
    Exit,
    Job,
    Model,
    Object,
    Pod,
    Profile,
    Runtime,
)


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
    meta, phase = raw["metadata"], raw.get("status", {}).get("phase", "Pending")
    return Claim(
        name=meta["name"],
        uid=meta["uid"],
        bound=phase == "Bound",
        lost=phase == "Lost",
        deleting="deletionTimestamp" in meta,
        requested=raw["spec"].get("resources", {}).get("requests", {}).get("storage", "0"),
        labels=meta.get("labels") or {},
    )


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
        attempt=int(annotations.get(ANNOTATION_ATTEMPT, "0")),
        generation=int(annotations.get(ANNOTATION_GENERATION, "0")),
        deleting="deletionTimestamp" in meta,
        complete=complete is not None,
        failed_reason=failed.get("reason", "") if failed else None,
        failed_message=failed.get("message", "") if failed else "",
        ended_at=_time(failed or complete, "lastTransitionTime") or 0.0,
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
    scheduled = conditions.get("PodScheduled", {})
    # A pod that has its node is scheduled, whatever an older attempt of the scheduler still says of it.
    homeless = not raw.get("spec", {}).get("nodeName") and scheduled.get("reason") == "Unschedulable"
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
        reload_at=_reload_at(meta),
        node=raw.get("spec", {}).get("nodeName", ""),
    )


def read_runtime(raw: Object | None) -> Runtime | None:
    """The Deployment, or None."""
    if raw is None or "deletionTimestamp" in raw["metadata"]:
        return None
    said, spec = raw["metadata"].get("annotations") or {}, raw["spec"]
    return Runtime(
        replicas=spec.get("replicas", 1),
        woken_at=_time(said, ANNOTATION_WOKEN),
        template=spec["template"],
        strategy=spec.get("strategy", {}),
        asked_at=_time(said, ANNOTATION_ASKED),
        turned_out=_time(said, ANNOTATION_TURNED_OUT),
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
        with contextlib.suppress(ValueError):
            found.append((parse_time(str(said)), str(said)))
    return max(found)[1] if found else None


def _reload_at(meta: Object) -> float | None:
    """Whoever writes the annotation by hand may write what is no time: then it says nothing."""
    with contextlib.suppress(ValueError):
        return _time(meta.get("annotations"), names.ANNOTATION_RESTARTED)
    return None


def read_pods(items: Sequence[Object]) -> tuple[Pod, ...]:
    """All pods of a LIST."""
    return tuple(read_pod(item) for item in items)


def _exit(raw: Object | None) -> Exit | None:
    if not raw:
        return None
    return Exit(raw.get("exitCode", 0), raw.get("reason", ""), raw.get("message", ""), _time(raw, "finishedAt") or 0.0)


def _time(raw: Object | None, field_name: str) -> float | None:
    text = (raw or {}).get(field_name)
    return parse_time(text) if text else None
