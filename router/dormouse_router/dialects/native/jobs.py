"""A pull as a job, read from its InferenceModel: nothing is stored, so jobs outlive every router. Pure."""

from typing import Any

from dormouse_api.conditions import PERMANENT, PULL_FAILURES, Reason
from dormouse_api.lease import micro_time
from dormouse_router.catalog.record import Key, Record

QUEUED, RUNNING, RETRYING, SUCCEEDED, FAILED = "queued", "running", "retrying", "succeeded", "failed"


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
    return QUEUED if record.reason == Reason.PENDING else RUNNING


def job(record: Record) -> dict[str, Any]:
    """The job as clients see it: bytes, seconds, and `progress` in percent."""
    state, progress = status(record), record.status.pull
    total = record.status.bytes or (progress.total if progress else 0)
    done = total if record.pulled else (progress.bytes if progress else 0)
    return {
        "id": job_id(record.namespace, record.name),
        "model": record.name,
        "namespace": record.namespace,
        "source": record.spec.source.uri,
        "revision": record.spec.source.revision,
        "commit": record.status.commit,
        "quantization": record.quantization,
        "names": list(record.served),
        "status": state,
        "stage": record.reason,
        "progress": _percent(state, done, total),
        "downloaded_bytes": done,
        "total_bytes": total or None,
        "bytes_per_second": progress.bytes_per_second if progress and state == RUNNING else None,
        "eta_seconds": progress.eta_seconds if progress and state == RUNNING else None,
        "error": record.message if state in (FAILED, RETRYING) else None,
        "created_at": micro_time(record.created),
    }


def _percent(state: str, done: int, total: int) -> float:
    if state == SUCCEEDED:
        return 100.0
    return round(min(100.0, 100.0 * done / total), 1) if total else 0.0


def queued(namespace: str, name: str, source: str) -> dict[str, Any]:
    """The job of a model that was made this moment: the catalogue has not seen it yet."""
    return {
        "id": job_id(namespace, name),
        "model": name,
        "namespace": namespace,
        "source": source,
        "status": QUEUED,
        "stage": Reason.PENDING.value,
        "progress": 0.0,
        "downloaded_bytes": 0,
        "total_bytes": None,
        "eta_seconds": None,
        "error": None,
    }
