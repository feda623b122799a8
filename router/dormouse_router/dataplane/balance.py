"""Which endpoint a call goes to. Pure: no clock, no sockets, no HTTP.

Least in flight; between equals the one after the last choice, so that idle engines share the work evenly.
"""

from collections.abc import Sequence

from dormouse_router.catalog.catalog import Endpoint


def pick(endpoints: Sequence[Endpoint], now: float, turn: int) -> Endpoint | None:
    """The endpoint with the fewest calls in flight among those not to be avoided at `now`; None where there is none.

    `turn` is any growing number: it rotates the order in which equals are looked at.
    """
    if len(endpoints) == 1:
        only = endpoints[0]
        return only if only.avoid_until <= now else None
    best: Endpoint | None = None
    count = len(endpoints)
    for offset in range(count):
        endpoint = endpoints[(turn + offset) % count]
        if endpoint.avoid_until <= now and (best is None or endpoint.in_flight < best.in_flight):
            best = endpoint
    return best


def back_at(endpoints: Sequence[Endpoint]) -> float | None:
    """When the first of the avoided endpoints may be tried again; None where there is none."""
    return min((endpoint.avoid_until for endpoint in endpoints), default=None)
