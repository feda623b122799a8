"""Models and routes as the native API shows them. Pure: records and readings in, JSON out."""

from typing import Any

from dormouse_api.conditions import Reason
from dormouse_api.lease import micro_time, parse_time
from dormouse_api.status import ColdStart
from dormouse_router.catalog.record import Record
from dormouse_router.catalog.routes import Route
from dormouse_router.dataplane.estimate import Moment, remaining
from dormouse_router.dialects.native.jobs import job_id
from dormouse_router.dialects.replicate.described import declared
from dormouse_router.insight import Traffic

AWAKE, WAKING, ASLEEP, PREPARING, FAILED = "awake", "waking", "asleep", "preparing", "failed"


def state(record: Record, awake: bool) -> str:
    """One word: awake, waking, asleep, preparing (its weights are on the way) or failed (a call is refused)."""
    if awake:
        return AWAKE
    if record.failed:
        return FAILED
    if not record.ready:
        return PREPARING
    return ASLEEP if record.reason == Reason.SCALED_TO_ZERO else WAKING


def entry(record: Record, awake: bool, traffic: Traffic, now: float) -> dict[str, Any]:
    """The model in a list. `now`: seconds since the epoch. What is not known is null."""
    status, word = record.status, state(record, awake)
    start = status.cold_starts[-1] if status.cold_starts else None
    return {
        "name": record.name,
        "namespace": record.namespace,
        "names": list(record.served),
        "loaded": awake,
        "state": word,
        "stage": record.stage if word in (WAKING, PREPARING) else None,
        "message": record.message if word in (PREPARING, FAILED) else None,
        "eta_seconds": _eta(record, word, now),
        "backend": status.engine.name if status.engine else None,
        "device": status.device,
        "profile": status.profile,
        "quantization": record.quantization,
        "size_bytes": status.bytes,
        "parameters": status.parameters,
        "context_length": record.context_length,
        "capabilities": status.capabilities or [],
        "load_seconds": start.seconds if start else None,
        "loaded_at": micro_time(_loaded(start)) if start and awake else None,
        "last_used_at": micro_time(traffic.last_used) if traffic.last_used is not None else None,
        "in_flight": traffic.in_flight,
        "held": traffic.held,
        "source": record.spec.source.uri,
        "revision": record.spec.source.revision,
        "commit": status.commit,
        "created_at": micro_time(record.created),
        "job": job_id(record.namespace, record.name),
    }


def _eta(record: Record, word: str, now: float) -> float | None:
    """Seconds until the model could answer a call of now."""
    if word == AWAKE:
        return 0.0
    left = None if word == FAILED else remaining(record, Moment(now))
    return None if left is None else round(left, 1)


def _loaded(start: ColdStart) -> float:
    """Seconds since the epoch; the stages are more exact than the start's own whole seconds."""
    return parse_time(start.at) + (start.stages[-1].at_milliseconds / 1000 if start.stages else start.seconds)


def details(record: Record, awake: bool, traffic: Traffic, now: float) -> dict[str, Any]:
    """The model by itself: more of why it is as it is, and how its last starts went."""
    status, scaling = record.status, record.spec.scaling
    return entry(record, awake, traffic, now) | {
        "replicas": status.replicas,
        "ready_replicas": status.ready_replicas,
        "scaling": {
            "min_replicas": scaling.min_replicas,
            "max_replicas": scaling.max_replicas,
            "idle_seconds": scaling.idle_seconds,
            "hold_seconds": scaling.hold_seconds,
        },
        "conditions": [
            {
                "type": c.type,
                "status": c.status,
                "reason": c.reason,
                "message": c.message,
                "since": c.last_transition_time,
            }
            for c in status.conditions or ()
        ],
        "passed_over": [
            {"backend": a.engine, "reason": a.reason, "message": a.message}
            for a in (status.engine.attempts if status.engine else None) or ()
        ],
        "input_schema": declared(record),
        "starts": [{"at": s.at, "seconds": s.seconds, "backend": s.engine} for s in status.cold_starts or ()],
    }


def route(found: Route, behind: list[Record]) -> dict[str, Any]:
    """An InferenceRoute: a name over these models, of which those in `behind` are there."""
    return {
        "name": found.name,
        "namespace": found.namespace,
        "names": list(found.served),
        "models": [record.name for record in behind],
        "created_at": micro_time(found.created),
    }
