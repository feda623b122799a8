"""How large a model's volume must be. Pure."""

from dormouse_operator.decide.quantities import gibibytes, to_bytes
from dormouse_operator.observed import Claim

HEADROOM = 1.1
"""File systems keep some of a volume to themselves."""
CACHE_BYTES = 2**30
"""Compile and kernel caches."""


def volume_bytes(weights: int, copied: int = 0, other: int = 0) -> int:
    """Bytes of volume for weights, the quantized copy of them, `other` folders that must stay, and the cache."""
    return int((weights + copied + other) * HEADROOM) + CACHE_BYTES


def claim_quantity(asked: str | None, needed: int, present: Claim | None) -> str:
    """The size to claim: what the user asks or what is needed, but never less than what is there already."""
    wanted = asked or gibibytes(needed)
    if present is not None and to_bytes(present.requested) >= to_bytes(wanted):
        return present.requested
    return wanted
