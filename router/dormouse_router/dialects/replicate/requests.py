"""What clients send to make a prediction. Pure."""

import re
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec import Struct

from dormouse_router.dialects.replicate.errors import invalid
from dormouse_router.request import Refusal

EVENTS = ("start", "output", "logs", "completed")
MOST_INPUT = 4 * 1024 * 1024
"""Bytes of a request: its input is kept, told with each answer and sent with each webhook."""
LONGEST_WAIT = 60.0
DEFAULT_WAIT = 60.0
_WAIT = re.compile(r"wait(?:\s*=\s*\"?([0-9]{1,4})\"?)?", re.ASCII)


class CreateRequest(Struct, kw_only=True):
    """POST /v1/predictions. Unknown fields are ignored."""

    version: str | None = None
    model: str | None = None
    input: dict[str, Any] | None = None
    stream: bool | None = None
    webhook: str | None = None
    webhook_completed: str | None = None
    """The older way to ask for one webhook, at the end."""
    webhook_events_filter: list[Literal["start", "output", "logs", "completed"]] | None = None


@dataclass(frozen=True, slots=True)
class Preference:
    """What the header `Prefer` asks for."""

    wait: float | None = None
    """Seconds to wait for the end; None: not at all."""
    asynchronous: bool = False
    """`respond-async`: 202 at once."""

    @property
    def applied(self) -> str | None:
        """The header Preference-Applied."""
        if self.asynchronous:
            return "respond-async"
        return None if self.wait is None else f"wait={self.wait:.0f}"


def read(body: bytes) -> CreateRequest:
    """The request in `body`. Refusal 400, 413, 422 with the fix."""
    if len(body) > MOST_INPUT:
        text = f"The request has {len(body)} bytes: {MOST_INPUT} are the most. Give files by their URLs."
        raise Refusal(413, text)
    try:
        return msgspec.json.decode(body or b"{}", type=CreateRequest)
    except msgspec.ValidationError as error:
        words, _, path = str(error).partition(" - at `$.")
        field = path.rstrip("`") or "body"
        raise invalid(field, f"{field}: {words}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"The body is not valid JSON: {error}") from error


def preference(header: bytes | None) -> Preference:
    """Of the words of `Prefer` those that are known here; the first of each kind counts."""
    wait: float | None = None
    asynchronous = False
    for word in (header or b"").decode("latin-1").lower().split(","):
        name = word.partition(";")[0].strip()
        found = _WAIT.fullmatch(name)
        if found is not None and wait is None:
            seconds = float(found[1]) if found[1] else DEFAULT_WAIT
            wait = min(max(seconds, 1.0), LONGEST_WAIT)
        asynchronous = asynchronous or name == "respond-async"
    return Preference(None if asynchronous else wait, asynchronous)
