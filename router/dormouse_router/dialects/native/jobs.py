"""A pull as a job, read from its InferenceModel: nothing is stored, so jobs outlive every router. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dormouse_api.conditions import PERMANENT, PULL_FAILURES, ConditionType, Reason
from dormouse_api.lease import micro_time, parse_time
from dormouse_router.catalog.record import Key, Record
from dormouse_router.dialects.creation import Wanted
from dormouse_router.dialects.native.answers import bad_request

QUEUED, RUNNING, RETRYING, SUCCEEDED, FAILED = "queued", "running", "retrying", "succeeded", "failed"
STATES = (QUEUED, RUNNING, RETRYING, SUCCEEDED, FAILED)
CANCELLED = "cancelled"
"""The last word on a job whose model was deleted for it."""
USUAL, MOST = 100, 1000
"""Jobs of one list."""
_ENDS = (ConditionType.MODEL_PULLED, ConditionType.QUANTIZED)


@dataclass(frozen=True)
class Filter:
    """Which jobs a list shall hold."""

    states: frozenset[str] = frozenset(STATES)
    model: str = ""
    """A name of the model, or its source; empty: any."""
    limit: int = USUAL
    after: str = ""
    """The id of the last job of the page before."""


def read_filter(state: str | None, model: str | None, limit: str | None, after: str | None) -> Filter:
    """The filter that a query asks for. Refusal 400 with the field and the fix."""
    states = frozenset(word.strip().lower() for word in (state or "").split(",") if word.strip()) or frozenset(STATES)
    if unknown := sorted(states - set(STATES)):
        raise bad_request(f'state "{unknown[0]}" is none: send one or more of {", ".join(STATES)}', "state")
    size = (limit or "").strip() or str(USUAL)
    if not (size.isascii() and size.isdecimal() and len(size) <= 9 and 1 <= int(size) <= MOST):
        raise bad_request(f'limit "{size[:40]}" must be a whole number from 1 to {MOST}', "limit")
    return Filter(states, (model or "").strip(), int(size), (after or "").strip())


def select(records: Sequence[Record], wanted: Filter) -> tuple[list[Record], bool]:
    """The records, of all in their order, whose jobs `wanted` asks for; and whether there are more.

    Refusal 400 where `after` is no job any more.
    """
    if wanted.after:
        key = key_of(wanted.after)
        at = next((index for index, record in enumerate(records) if record.key == key), None)
        if at is None:
            raise bad_request(f'after "{wanted.after}" is no job (any more): begin again without it', "after")
        records = records[at + 1 :]
    found = [record for record in records if status(record) in wanted.states and _is(record, wanted.model)]
    return found[: wanted.limit], len(found) > wanted.limit


def _is(record: Record, model: str) -> bool:
    uri = record.spec.source.uri
    return not model or model in record.served or model in (uri, uri.removeprefix("hf://"))


def job_id(namespace: str, name: str) -> str:
    """The id of a model's pull. Neither part can hold a dot, so it reads back."""
    return f"{namespace}.{name}"


def key_of(ident: str) -> Key | None:
    """The model of a job, or None where `ident` can be no job's id."""
    namespace, dot, name = ident.partition(".")
    return (namespace, name) if dot and namespace and name and "." not in name else None


def status(record: Record) -> str:
    """One of queued, running, retrying, succeeded or failed. A job ends when the model can be called.

    retrying: the last try failed for a reason that passes, and the operator tries again by itself.
    """
    if record.ready:
        return SUCCEEDED
    if record.failed:
        return RETRYING if record.reason in PULL_FAILURES - PERMANENT else FAILED
    return QUEUED if record.reason in (Reason.PENDING, Reason.QUEUED) else RUNNING


def job(record: Record) -> dict[str, Any]:
    """The job as clients see it: bytes, seconds, and `progress` in percent."""
    state, pull = status(record), record.status.pull
    total = record.status.bytes or (pull.total if pull else 0)
    done = total if record.pulled else (pull.bytes if pull else 0)
    work = (pull or record.status.quantize) if state == RUNNING else None
    return {
        "id": job_id(record.namespace, record.name),
        "model": record.name,
        "namespace": record.namespace,
        "source": record.spec.source.uri,
        "revision": record.spec.source.revision,
        "commit": record.status.commit,
        "quantization": record.quantization,
        "init": bool(record.spec.scaling.preload),
        "names": list(record.served),
        "status": state,
        "stage": record.reason,
        "progress": _percent(state, done, total),
        "stage_progress": work.percent if work else None,
        "downloaded_bytes": done,
        "total_bytes": total or None,
        "bytes_per_second": work.bytes_per_second if work else None,
        "eta_seconds": work.eta_seconds if work else None,
        "error": record.message if state in (FAILED, RETRYING) else None,
        "created_at": micro_time(record.created),
        "started_at": micro_time(record.created) if state != QUEUED else None,
        "finished_at": _finished(record, state),
    }


def _percent(state: str, done: int, total: int) -> float:
    if state == SUCCEEDED:
        return 100.0
    return round(min(100.0, 100.0 * done / total), 1) if total else 0.0


def _finished(record: Record, state: str) -> str | None:
    """When the last of what had to be made was there. Of a failure the conditions tell no time."""
    conditions = record.status.conditions or ()
    ends = [parse_time(c.last_transition_time) for c in conditions if c.type in _ENDS and c.status == "True"]
    return micro_time(max(ends)) if ends and state == SUCCEEDED else None


def queued(namespace: str, wish: Wanted) -> dict[str, Any]:
    """The job of a model that was made this moment: the catalogue has not seen it yet."""
    return {
        "id": job_id(namespace, wish.name),
        "model": wish.name,
        "namespace": namespace,
        "source": wish.spec.source.uri,
        "revision": wish.spec.source.revision,
        "quantization": wish.spec.quantization.value,
        "init": bool(wish.spec.scaling.preload),
        "status": QUEUED,
        "stage": Reason.PENDING.value,
        "progress": 0.0,
        "downloaded_bytes": 0,
        "total_bytes": None,
        "eta_seconds": None,
        "error": None,
    }
