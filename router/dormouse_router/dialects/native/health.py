"""GET /health: one word, its reasons, and the numbers that people look at first. Pure."""

from typing import Any

from dormouse_router.dialects.native import gpu, jobs
from dormouse_router.dialects.native.picture import Picture

HEALTHY, DEGRADED = "healthy", "degraded"
MOST_REASONS = 20


def health(seen: Picture) -> dict[str, Any]:
    """degraded: something that callers may notice is wrong. It says nothing of whether this process answers."""
    process, why = seen.insight.process(), reasons(seen)
    states = [jobs.status(record) for record, _ in seen.models]
    return {
        "status": DEGRADED if why else HEALTHY,
        "reasons": why[:MOST_REASONS],
        "version": process.version,
        "uptime_seconds": round(process.uptime, 1),
        "models": len(seen.models),
        "awake": sum(awake for _, awake in seen.models),
        "awake_limit": None,  # the cluster's room is the only one
        "pulls": {
            "active": states.count(jobs.RUNNING) + states.count(jobs.RETRYING),
            "queued": states.count(jobs.QUEUED),
        },
        "accelerator_memory": gpu.total(seen.engines),
    }


def reasons(seen: Picture) -> list[str]:
    """What is wrong, most general first."""
    unready = seen.insight.process().unready
    why = [f"this router takes no calls now: {unready}"] if unready else []
    if not seen.keeps:
        why.append("what is kept between requests (responses, sessions) cannot be reached: the router's log says why")
    if seen.unattended:
        why.append(
            f"no worker was heard of for a minute, and {seen.unattended} batches wait for one: start it, or look into "
            "its log"
        )
    why += [
        f"the watch of {watch.resource} broke off, so what is told of them may be old: {watch.error}"
        for watch in seen.insight.watches()
        if watch.error
    ]
    why += [
        f"an engine of {passed.record.full_name} ({passed.host}) cannot be reached"
        for passed in seen.insight.passed_over()
    ]
    return [*why, *(f"{record.full_name}: {record.reason}: {record.message}" for record in seen.failed)]
