"""`Idempotency-Key` of POST /v1/models: a request that is sent again makes nothing again. Pure.

What was made says itself by which request (an annotation), so every router knows, for as long as the model is there.
"""

import hashlib
from collections.abc import Iterable

from dormouse_router.catalog.record import Record
from dormouse_router.request import Refusal

HEADER = "idempotency-key"
MOST_CHARS = 255
_HALF = 32


def mark(owner: str, key: str | None, body: bytes) -> str:
    """What stands for the request, of this owner alone; "" where it has no key. Refusal 400 of what is no key."""
    if key is None:
        return ""
    if not 1 <= len(key) <= MOST_CHARS or not (key.isascii() and key.isprintable()):
        text = f"Idempotency-Key must have 1 to {MOST_CHARS} printable ASCII characters: send a UUID, say."
        raise Refusal(400, text, code="invalid_value", param="Idempotency-Key")
    return f"{_digest(f'{len(owner)}:{owner}{key}'.encode())}-{_digest(body)}"


def made(records: Iterable[Record], mark: str) -> Record | None:
    """What was made by this very request. Refusal 409 where another request had its key."""
    found = next((record for record in records if mark and record.request[:_HALF] == mark[:_HALF]), None)
    if found is not None and found.request != mark:
        text = (
            f"This Idempotency-Key was sent with another body, which made '{found.name}': send that body again, or "
            "another key for this one."
        )
        raise Refusal(409, text, code="idempotency_key_reused", param="Idempotency-Key")
    return found


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:_HALF]
