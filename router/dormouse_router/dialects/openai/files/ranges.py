"""Which bytes of a file are asked for, and what it is called where it is saved. Pure."""

import re
from urllib.parse import quote

from dormouse_router.request import Refusal

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.IGNORECASE)
_PLAIN = re.compile(r"[^A-Za-z0-9 !#$&+.^_`{}~()-]")


def asked(header: str | None, size: int) -> tuple[int, int] | None:
    """(start, stop) of the one range that is asked for; None: the whole, also for several ranges and other units, as
    HTTP allows. Refusal 416 where there is nothing of it."""
    found = _RANGE.fullmatch(header.strip()) if header is not None else None
    if found is None or not (found[1] or found[2]):
        return None
    first, last = found[1], found[2]
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), size if not last else min(size, int(last) + 1)
        if last and int(last) < int(first):
            return None
    if start >= stop:
        raise Refusal(416, f"The file has {size} bytes: nothing of it is in {header}.", code="invalid_range")
    return start, stop


def disposition(filename: str) -> str:
    """To be saved under its name, in whatever alphabet."""
    return f"attachment; filename=\"{_PLAIN.sub('_', filename)}\"; filename*=UTF-8''{quote(filename, safe='')}"
