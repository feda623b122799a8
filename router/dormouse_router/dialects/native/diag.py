"""GET /diag: what a bug report should hold. Pure. No secret is in any of its parts: each of them leaves them out."""

import platform
from typing import Any

from dormouse_router.dialects.native.picture import Picture
from dormouse_router.dialects.native.status import status
from dormouse_router.insight import Traffic, Watching


def diag(seen: Picture) -> dict[str, Any]:
    """The bundle: all of /status, and more of the process."""
    process = seen.insight.process()
    return {
        **status(seen),
        "versions": {"python": platform.python_version(), **seen.insight.versions()},
        "platform": platform.platform(),
        "process": {
            "connections": process.connections,
            "peak_memory_bytes": process.resident,
            "event_loop_lag_seconds": round(process.lag, 4),
        },
        "watches": [_watch(watch) for watch in seen.insight.watches()],
        "lanes": {
            record.full_name: {
                "in_flight": traffic.in_flight,
                "held": traffic.held,
                "oldest_wait_seconds": round(traffic.oldest_wait, 3),
            }
            for record, _ in seen.models
            if (traffic := seen.insight.traffic(record)) != Traffic()
        },
        "errors": seen.insight.errors(),
    }


def _watch(watch: Watching) -> dict[str, Any]:
    return {
        "resource": watch.resource,
        "namespace": watch.namespace,
        "synced": watch.synced,
        "silent_seconds": None if watch.silent is None else round(watch.silent, 1),
        "error": watch.error or None,
    }
