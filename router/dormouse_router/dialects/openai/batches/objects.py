"""Batches as OpenAI's clients see them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from dormouse_router.batch.lifecycle import Batch, LineError, Status, Usage
from dormouse_router.batching import Progress
from dormouse_router.request import Refusal

Object = dict[str, object]
UNATTENDED = (
    "No worker has been heard of lately, so nobody works on this batch: whoever operates the router finds why in "
    "docs/batch.md."
)


def batch(found: Batch) -> Object:
    counts = found.counts
    return {
        "id": found.id,
        "object": "batch",
        "endpoint": found.endpoint,
        "model": found.model,
        "errors": _errors(found.errors),
        "input_file_id": found.input_file_id,
        "completion_window": found.completion_window,
        "status": found.status.value,
        "output_file_id": found.output_file_id,
        "error_file_id": found.error_file_id,
        "created_at": found.created_at,
        "expires_at": found.expires_at,
        **_moments(found),
        "request_counts": {"total": counts.total, "completed": counts.completed, "failed": counts.failed},
        "usage": _usage(found.usage),
        "metadata": found.metadata,
    }


def page(found: Sequence[Batch], limit: int) -> Object:
    """At most `limit` of them, which may be one more to tell that there are more."""
    shown = [batch(each) for each in found[:limit]]
    ends = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
    more = len(found) > limit
    return {"object": "list", "data": shown, "first_id": ends[0], "last_id": ends[1], "has_more": more}


def progress(found: Batch, known: Progress, now: float, states: Mapping[str, str], *, attended: bool) -> Object:
    """What this router tells of it beyond OpenAI. `states`: what each model is doing."""
    counts, usage = found.counts, found.usage
    until = found.finalizing_at or found.cancelled_at or now
    seconds = max(1.0, until - found.in_progress_at) if found.in_progress_at is not None else 1.0
    done = counts.completed + counts.failed
    rate = done / seconds
    return {
        "lines_per_second": round(rate, 3),
        "output_tokens_per_second": round(usage.output / seconds, 3),
        "eta_seconds": round(counts.open / rate) if found.status is Status.IN_PROGRESS and done else None,
        "swap_seconds": round(known.waited, 3),
        "models": [asdict(each) | {"state": states[each.model]} for each in known.models],
        "note": None if attended or found.ended else UNATTENDED,
    }


def no_batch(ident: str) -> Refusal:
    return Refusal(404, f"No batch found with id '{ident[:80]}'.", param="batch_id")


def _moments(found: Batch) -> Object:
    """What has happened to it, and when. What has not is left out, not null: OpenAI's schema has numbers there."""
    moments = {
        "in_progress_at": found.in_progress_at,
        "finalizing_at": found.finalizing_at,
        "completed_at": found.completed_at,
        "failed_at": found.failed_at,
        "expired_at": found.expired_at,
        "cancelling_at": found.cancelling_at,
        "cancelled_at": found.cancelled_at,
    }
    return {name: at for name, at in moments.items() if at is not None}


def _errors(errors: Sequence[LineError]) -> Object | None:
    if not errors:
        return None
    each = [
        {"code": error.code, "line": error.line, "message": error.message, "param": error.param} for error in errors
    ]
    return {"object": "list", "data": each}


def _usage(usage: Usage) -> Object:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    }
