"""What the API server's answers mean: nothing wrong, Retry or Terminal. Pure."""

from typing import Any

from dormouse_operator.errors import Gone, Retry, Silence, Terminal

Object = dict[str, Any]

TERMINATING_SECONDS = 5.0
"""Seconds after which a namespace that goes away is looked at again."""
WEBHOOK_SECONDS = 2.0
"""Seconds after which an apply that a webhook would not judge is tried again."""


def silence(error: Exception) -> Silence:
    """The API server did not answer."""
    return Silence(f"no answer from the API server: {type(error).__name__} {error}".strip())


def problem_of(kind: str, status: int, answer: Object) -> Exception | None:
    """What a non-success answer means; None for success and for 404."""
    if status < 300 or status == 404:
        return None
    message = f"{kind}: {answer.get('message') or status}"
    if status == 409 and answer.get("reason") == "AlreadyExists":
        return None
    # a field the schema does not have comes back from an apply as 500 without a reason: repeating it never helps
    if status == 500 and "typed patch" in message:
        return Terminal(message, kind, status)
    if status == 403:
        return _forbidden(kind, message)
    if status == 500 and "failed calling webhook" in message:  # each try would take its time-out again
        return Retry(f"500 {message}", WEBHOOK_SECONDS)
    if status == 410:
        return Gone(message, 0.0)
    if status in (401, 409, 429) or status >= 500:
        after = answer.get("details", {}).get("retryAfterSeconds") if status in (429, 503) else None
        return Retry(f"{status} {message}", float(after) if after else None)
    return Terminal(message, kind, status)


def _forbidden(kind: str, message: str) -> Exception:
    """403 has three causes: missing rights (just after a start of the API server: not read yet), a namespace that goes
    away, and an admission rule such as a quota, which says no to this very object.
    """
    if "being terminated" in message:
        return Retry(f"403 {message}", TERMINATING_SECONDS)
    if "cannot" in message and "resource" in message:
        return Retry(f"403 {message}")
    return Terminal(message, kind, 403)
