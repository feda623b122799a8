"""How predictions word errors: problem details (RFC 9457), which Replicate's clients read."""

from http import HTTPStatus
from math import ceil

import msgspec

from dormouse_router.request import Refusal, Reply

PROBLEM = (b"content-type", b"application/problem+json")


def refuse(refusal: Refusal) -> Reply:
    """`title`, `detail` (the sentence), `status`; `invalid_fields` where one field is to blame."""
    fields: dict[str, object] = {
        "title": HTTPStatus(refusal.status).phrase if refusal.status in _KNOWN else "Refused",
        "detail": refusal.message,
        "status": refusal.status,
    }
    if refusal.param:
        fields["invalid_fields"] = [{"field": refusal.param, "description": refusal.message}]
    headers: tuple[tuple[bytes, bytes], ...] = (PROBLEM,)
    if refusal.retry_after is not None:
        headers += ((b"retry-after", str(max(1, ceil(refusal.retry_after))).encode()),)
    return Reply(refusal.status, msgspec.json.encode(fields), headers)


_KNOWN = {status.value for status in HTTPStatus}


def invalid(field: str, message: str) -> Refusal:
    """422: what Replicate says of an input that does not fit."""
    return Refusal(422, message, param=field)
