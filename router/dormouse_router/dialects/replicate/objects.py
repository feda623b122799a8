"""A prediction as its clients see it, and pages of them. Pure."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from dormouse_router.predicting import ENDED, STARTING, Place, StoredPrediction
from dormouse_router.request import Refusal

Object = dict[str, Any]
PATH = "/v1/predictions"
UNVERSIONED = "hidden"
"""What Replicate says where there is no version to tell."""
MOST_LOGS = 64 * 1024
_decode = msgspec.json.decode


def stamp(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new(ident: str, model: str, version: str | None, given: Object, now: float) -> Object:
    """The prediction before anything has happened to it."""
    return {
        "id": ident,
        "model": model,
        "version": version or UNVERSIONED,
        "input": given,
        "output": None,
        "logs": "",
        "error": None,
        "status": STARTING,
        "source": "api",
        "data_removed": False,
        "created_at": stamp(now),
        "started_at": None,
        "completed_at": None,
        "metrics": {},
    }


def told(prediction: Object, base: str) -> Object:
    """With its addresses, for clients that reach the router at `base`."""
    at = f"{base}{PATH}/{prediction['id']}"
    return prediction | {"urls": {"get": at, "cancel": f"{at}/cancel", "stream": f"{at}/stream"}}


def stored(row: StoredPrediction) -> Object:
    found: Object = _decode(row.body)
    return found


def ended(prediction: Object, status: str, now: float, error: str | None = None) -> Object:
    """How it is once it has come to its end."""
    metrics = {**prediction["metrics"]}
    if prediction["started_at"] is not None:
        metrics["predict_time"] = _seconds(prediction["started_at"], now)
    metrics["total_time"] = _seconds(prediction["created_at"], now)
    return prediction | {"status": status, "completed_at": stamp(now), "error": error, "metrics": metrics}


def _seconds(since: str, now: float) -> float:
    return round(max(0.0, now - datetime.fromisoformat(since).timestamp()), 6)


def is_ended(prediction: Object) -> bool:
    return prediction["status"] in ENDED


def with_log(logs: str, line: str) -> str:
    """The logs with another line; the oldest lines go when there are too many."""
    grown = f"{logs}{line}\n"
    if len(grown) <= MOST_LOGS:
        return grown
    return grown[grown.index("\n", len(grown) - MOST_LOGS) + 1 :]


def page(rows: Sequence[StoredPrediction], more: bool, base: str) -> Object:
    """A page of a list, the newest first."""
    following = f"{base}{PATH}?cursor={_cursor(rows[-1])}" if rows and more else None
    return {"previous": None, "next": following, "results": [told(stored(row), base) for row in rows]}


def _cursor(row: StoredPrediction) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode((row.created_at, row.id))).decode().rstrip("=")


def place(cursor: str) -> Place:
    """Where a page ended. Refusal 400."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        found: Place = _decode(text, type=tuple[float, str])
    except (ValueError, msgspec.DecodeError, UnicodeError) as error:
        text_ = "The cursor is none of this API: take `next` of a page as it is."
        raise Refusal(400, text_, param="cursor") from error
    return found


def unknown(ident: str) -> Refusal:
    return Refusal(404, f"There is no prediction '{ident[:80]}' of yours, or it is not kept any more.")
