"""How big things are: the volume a model needs, and whether its weights fit a profile's devices. Pure."""

from dormouse_operator.decide.quantities import gibibytes, to_bytes
from dormouse_operator.observed import Claim, Profile

SHARE = {"int4": 0.35, "nf4": 0.35, "int8": 0.6, "llm-int8": 0.6, "fp8": 0.6}
"""Size of a quantized copy against 16-bit weights: scales, embeddings and heads stay wide."""
HEADROOM = 1.1
"""File systems keep some of a volume to themselves."""
CACHE_BYTES = 2**30
"""Compile and kernel caches."""


def volume_bytes(weights: int, copy: str | None, other_bytes: int = 0) -> int:
    """Bytes of volume for weights, a quantized copy, what must stay beside them, and the cache."""
    copied = int(weights * SHARE[copy]) if copy else 0
    return int((weights + copied + other_bytes) * HEADROOM) + CACHE_BYTES


def claim_quantity(asked: str | None, needed: int, present: Claim | None) -> str:
    """The size to claim: what the user asks or what is needed, but never less than what is there already."""
    wanted = asked or gibibytes(needed)
    if present is not None and to_bytes(present.requested) >= to_bytes(wanted):
        return present.requested
    return wanted


def fits(weights: int, profile: Profile, quantization: str = "none") -> bool:
    """Whether weights and KV memory fit the profile's devices. Without devices the node's memory decides: True."""
    accelerator = profile.spec.accelerator
    if accelerator is None:
        return True
    served = weights * SHARE.get(quantization, 1.0)
    return served + to_bytes(profile.spec.kv_cache_memory) <= accelerator.count * to_bytes(accelerator.memory)
