"""How much longer a model will take to wake. Pure: the record and the seconds its wake has taken in, seconds out.

The pull knows its own pace; a start is expected to take what the recorded ones took.
"""

from statistics import median

from dormouse_api.conditions import Reason
from dormouse_router.catalog.record import Record

UNKNOWN_SECONDS = 15.0
"""Said in Retry-After where no start was ever recorded."""
SHORTEST, LONGEST = 1.0, 120.0
"""Clients of OpenAI's SDK obey Retry-After up to two minutes."""


def remaining(record: Record, elapsed: float) -> float | None:
    """Seconds until the model can answer, `elapsed` after its wake began; None where nothing is known."""
    start = usual_start(record)
    pull = record.status.pull
    if record.reason == Reason.PULLING and pull is not None:
        return None if pull.eta_seconds is None else pull.eta_seconds + (start or 0.0)
    if start is None or record.reason in (Reason.INSPECTING, Reason.QUANTIZING, Reason.PENDING):
        return None
    return max(1.0, start - elapsed)


def usual_start(record: Record) -> float | None:
    """The median of the recorded starts, in seconds."""
    starts = [cold.seconds for cold in record.status.cold_starts or ()]
    return float(median(starts)) if starts else None


def retry_after(record: Record, elapsed: float = 0.0) -> float:
    """Seconds to name in Retry-After when a call is refused while the model wakes."""
    seconds = remaining(record, elapsed)
    return min(LONGEST, max(SHORTEST, UNKNOWN_SECONDS if seconds is None else seconds))
