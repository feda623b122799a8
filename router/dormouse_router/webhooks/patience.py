"""How long a receiver is waited for, and when it is tried again. Pure."""

import random

from dormouse_router.notifying import PASSING

TRY_SECONDS = 15.0
"""Longest try, from the name's resolution to the answer."""
LEASE_SECONDS = 90.0
"""A router that tries may take so long before another one may: for several in turn."""
_FINAL = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 28800.0)
_FIRST = (2.0, 10.0, 60.0)
_PASSING = (1.0, 5.0)
LIFE = 2 * 86400.0
"""Nothing is owed for longer: more than all of the pauses together."""
_LONGEST_WISH = 3600.0
_SPREAD = 0.2
"""So that receivers which come back are not met by everybody at once."""


def pause(kind: str, final: bool, attempts: int, wished: float | None = None) -> float | None:
    """Seconds to the next try after `attempts` of them failed; None: it is given up. `wished`: the receiver's own."""
    pauses = _FINAL if final else _PASSING if kind in PASSING else _FIRST
    if attempts > len(pauses):
        return None
    seconds = pauses[attempts - 1] * random.uniform(1 - _SPREAD, 1 + _SPREAD)  # noqa: S311 - no secret
    return max(seconds, min(wished or 0.0, _LONGEST_WISH))
