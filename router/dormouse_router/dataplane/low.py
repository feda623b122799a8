"""Calls that yield to others: the lines of batches. Pure.

Engines are told (`priority`, vLLM's: the lower number goes first, all others have 0). Of those that a sleeping model
would have to wake for, one is held for as long as it says, so that it wakes the model and learns when it is awake; the
others are refused at once, take nobody's place in the hold and begin no wake.
"""

from dormouse_router.dataplane.estimate import retry_after
from dormouse_router.dataplane.lane import Lane
from dormouse_router.gateway import Call
from dormouse_router.request import Refusal

PRIORITY = b"100"
LONGEST_PAUSE = 5.0
"""Seconds that a refused one is asked to stay away at most."""


def lowered(body: bytes) -> bytes:
    """`body`, a JSON object with fields, as engines take it up after others; anything else as it is."""
    end = body.strip()
    if end[:1] != b"{" or end[-1:] != b"}":
        return body
    return b'%b,"priority":%b}' % (end[:-1], PRIORITY)


def admit(lane: Lane, call: Call, left: float | None) -> None:
    """Raises Refusal 503 where `call` is not the one that waits for its model. `left`: seconds of the wake to go."""
    if call.hold and lane.low is None:
        return
    text = f"The model '{call.record.name}' cannot answer now, and a batch waits for it with one line only."
    raise Refusal(503, text, code="model_loading", retry_after=min(LONGEST_PAUSE, retry_after(left)))
