"""Which weights answer, told in the headers of every answer of every dialect, refusals and errors of engines included.

Known as soon as the model is, and better once its engine answers: a request carries what it has (`Request.more`).
"""

from dormouse_router.catalog.record import Record
from dormouse_router.request import Request, header_lines

MOST_KNOWN = 1000
Told = tuple[Record, bytes, bytes]
"""A record, and the lines of its answers: while the hold is not known, and where there was none."""
_known: dict[str, Told] = {}
"""By the record's version, because they are the same for every call."""


def tell(request: Request, record: Record, hold_seconds: float | None = None) -> None:
    """Let whatever is answered say that it is of `record`, and how long the call waited, where that is known."""
    known = _known.get(record.version)
    if record.taken is not None or record.adapter is not None:  # not the one that the version stands for
        lines = header_lines((*_origin(record), *(record.taken.headers if record.taken is not None else ())))
    else:
        if known is None or known[0] is not record:
            known = _remember(record)
        if hold_seconds == 0:
            request.more = known[2]
            return
        lines = known[1]
    request.more = lines if hold_seconds is None else lines + _hold(hold_seconds)


def _remember(record: Record) -> Told:
    if len(_known) >= MOST_KNOWN:
        _known.clear()
    lines = header_lines(_origin(record))
    _known[record.version] = known = (record, lines, lines + _hold(0))
    return known


def _hold(seconds: float) -> bytes:
    return b"x-dormouse-hold-ms: %d\r\n" % (seconds * 1000)


def _origin(record: Record) -> list[tuple[bytes, bytes]]:
    status = record.status
    headers = [
        (b"x-dormouse-model", record.full_name.encode()),
        (b"x-dormouse-quantization", record.quantization.encode()),
    ]
    if record.adapter is not None:
        headers.append((b"x-dormouse-adapter", record.adapter.encode()))
    if status.commit:
        headers.append((b"x-dormouse-commit", status.commit.encode()))
    if status.engine is not None:
        headers.append((b"x-dormouse-engine", status.engine.name.encode()))
    return headers
