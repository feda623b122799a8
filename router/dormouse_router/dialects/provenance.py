"""Which weights answer, told in the headers of every answer of every dialect, refusals and errors of engines included.

Known as soon as the model is, and better once its engine answers: a request carries what it has (`Request.more`).
"""

from dormouse_router.catalog.record import Record
from dormouse_router.gateway import Request

MOST_KNOWN = 1000
Told = tuple[tuple[bytes, bytes], ...]
_known: dict[str, tuple[Record, Told]] = {}
"""The headers of a record by its version, because they are the same for every call."""


def tell(request: Request, record: Record, hold_seconds: float | None = None) -> None:
    """Let whatever is answered say that it is of `record`, and how long the call waited, where that is known."""
    known = _known.get(record.version)
    if record.taken is not None:  # such a record is made for a single call
        told = (*_origin(record), *record.taken.headers)
    else:
        told = known[1] if known is not None and known[0] is record else _remember(record)
    if hold_seconds is not None:
        told = (*told, (b"x-dormouse-hold-ms", b"%d" % (hold_seconds * 1000)))
    request.more = told


def _remember(record: Record) -> Told:
    if len(_known) >= MOST_KNOWN:
        _known.clear()
    told = tuple(_origin(record))
    _known[record.version] = (record, told)
    return told


def _origin(record: Record) -> list[tuple[bytes, bytes]]:
    status = record.status
    headers = [
        (b"x-dormouse-model", record.full_name.encode()),
        (b"x-dormouse-quantization", record.quantization.encode()),
    ]
    if status.commit:
        headers.append((b"x-dormouse-commit", status.commit.encode()))
    if status.engine is not None:
        headers.append((b"x-dormouse-engine", status.engine.name.encode()))
    return headers
