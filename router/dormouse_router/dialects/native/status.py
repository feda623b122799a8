"""GET /status: which engines serve, who is awake, what failed and for how long, and how the router is set. Pure."""

from typing import Any

from dormouse_api.lease import micro_time, parse_time
from dormouse_router.catalog.record import Record
from dormouse_router.dialects.native import gpu, models
from dormouse_router.dialects.native.health import health
from dormouse_router.dialects.native.picture import Picture

STATES = (models.AWAKE, models.WAKING, models.ASLEEP, models.PREPARING, models.FAILED)


def status(seen: Picture) -> dict[str, Any]:
    """The overview."""
    process, summary = seen.insight.process(), health(seen)
    by_state: dict[str, list[str]] = {word: [] for word in STATES}
    for record, awake in seen.models:
        by_state[models.state(record, awake)].append(record.full_name)
    return {
        "status": summary["status"],
        "reasons": summary["reasons"],
        "version": process.version,
        "pod": process.pod,
        "uptime_seconds": summary["uptime_seconds"],
        "time": micro_time(seen.now),
        "models": by_state,
        "engines": [gpu.reading(found) for found in seen.engines],
        "failed_loads": [_failed(record, seen) for record in seen.failed],
        "unreachable_engines": [
            {
                "model": passed.record.full_name,
                "host": passed.host,
                "failures": passed.failures,
                "cooldown_seconds": round(passed.seconds, 1),
            }
            for passed in seen.passed_over
        ],
        "configuration": seen.insight.configuration(),
    }


def _failed(record: Record, seen: Picture) -> dict[str, Any]:
    """`cooldown_seconds`: until it is tried again by itself or by the next call; null where somebody must act."""
    cooldown = record.status.cooldown
    at = record.status.retry_at or (cooldown.until if cooldown else None)
    return {
        "model": record.full_name,
        "reason": record.reason,
        "message": record.message,
        "permanent": record.permanent,
        "cooldown_seconds": None if at is None else round(max(0.0, parse_time(at) - seen.now), 1),
    }
