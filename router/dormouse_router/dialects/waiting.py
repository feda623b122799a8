"""What a request may say of waiting for a sleeping model, in every dialect: two headers. Knows no wire shapes.

An SDK's own time-out (`x-stainless-read-timeout` and the like) is no such wish: it is sent with every request, 600 s
unless somebody set it, and a client that gives up leaves by itself, which ends its wait here.
"""

from math import isfinite

from dormouse_api.model import WaitComments
from dormouse_router.catalog.record import Record
from dormouse_router.gateway import Waiting
from dormouse_router.request import HOLD, Refusal, Request

COMMENTS = b"x-dormouse-comments"
"""`on` or `off`: whether this request's stream is told how the wake goes."""


def hold_seconds(request: Request) -> float | None:
    """`Call.hold`. Refusal 400 where the header is not a number of seconds."""
    given = request.header(HOLD)
    return None if given is None else _seconds(given)


def _seconds(given: bytes) -> float:
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not isfinite(seconds) or seconds < 0:
        shown = given[:40].decode(errors="replace")
        text = (
            f"The header {HOLD.decode()} must be a number of seconds, not '{shown}': send 0 to be refused while "
            "the model wakes, more to wait at most that long, or leave it out to wait as long as the model allows."
        )
        raise Refusal(400, text, code="invalid_header", param=HOLD.decode())
    return seconds


def told(request: Request, record: Record, default: bool) -> bool:
    """Whether a held stream is told how the wake goes: as the request says, else its model, else the router.

    Asked when there is something to tell, never for a call whose model is awake.
    """
    asked = (request.header(COMMENTS) or b"").lower()
    if asked in (b"on", b"off"):
        return asked == b"on"
    wanted = record.spec.scaling.wait_comments
    return default if wanted is WaitComments.AUTO else wanted is WaitComments.ON


def comment(waiting: Waiting) -> bytes:
    """How the wake goes, as a line of an event stream that clients skip."""
    eta = "" if waiting.remaining is None else f" eta={waiting.remaining:.0f}s"
    return f": {waiting.record.name} {waiting.stage} waited={waiting.waited:.0f}s{eta}\n".encode()
