"""Which endpoints are passed over because they could not be reached, for how long, and how they come back.

An endpoint that fails is passed over for 1 s, 2 s, 4 s ... 32 s; then one call, and no more, is sent to it (half-open).
That call decides: a failure doubles the pause, an answer's head opens it. Because a head may take a generation's time,
a probe that is still out after PROBE_SECONDS, so connected and not lost, opens it too, but the count of failures
stays until a head has come.

The last endpoint is never kept from callers for longer than FIRST_SECONDS at a time: `avoid_until` grows, and counts
while another will do; `closed_until` does not. Pure: no clock, no I/O; seconds are the loop's.

What fails is a connection: refused, timed out, or lost before the first byte of an answer. An answer is none,
whatever its status: a 4xx is the caller's, a 5xx the model's, and a 502 or 503 with a body says that a server is
there. Passing over who says 503 would move its load to the next, until nobody is left. A pod that drains never
says so by a status: it leaves the EndpointSlice before its engine stops, and what is sent to it in between is a
connection lost.
"""

from dormouse_router.catalog.catalog import Endpoint
from dormouse_router.request import Refusal

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 32.0
REACH_SECONDS = 15.0
"""From the first engine that could not be reached to giving a call up: pods come and go within that."""
PROBE_SECONDS = 1.5
"""Longer than `Settings.connect_timeout`: what is still out then has been let in."""


def unreachable(name: str, why: str) -> Refusal:
    """The refusal of a call whose model has endpoints, none of which can be reached."""
    text = f"The engine of '{name}' could not be reached: {why}. Try again."
    return Refusal(502, text, code="engine_unreachable", retry_after=FIRST_SECONDS)


def failed(endpoint: Endpoint, now: float) -> bool:
    """A call could not reach the endpoint, or lost it before the first byte. Whether that was news."""
    if endpoint.avoid_until > now and not endpoint.probing:
        return False  # one of the many calls that were on it when it went: they are one failure
    pause = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(endpoint.failures, 10))
    endpoint.failures += 1
    endpoint.probing = False
    endpoint.closed_until = now + FIRST_SECONDS
    endpoint.avoid_until = now + pause
    return True


def tried(endpoint: Endpoint, now: float) -> None:
    """A call goes to an endpoint that failed before."""
    if endpoint.probing:  # and its time is over, or it would not have been chosen
        endpoint.probing = False
        endpoint.avoid_until = endpoint.closed_until = 0.0
    elif endpoint.avoid_until:
        endpoint.probing = True
        endpoint.avoid_until = endpoint.closed_until = now + PROBE_SECONDS


def answered(endpoint: Endpoint) -> None:
    """The head of an answer has come from an endpoint that failed before."""
    endpoint.failures = 0
    endpoint.probing = False
    endpoint.avoid_until = endpoint.closed_until = 0.0
