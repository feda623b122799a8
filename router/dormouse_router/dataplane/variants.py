"""Which of a route's models answers a call. Pure: no clock, no chance, no catalogue.

Owns the split by weight, who stays with what, and the order of those that step in.
"""

from collections.abc import Callable
from hashlib import blake2b
from math import log

import msgspec

from dormouse_api.route import StickyBy, Variant
from dormouse_router.catalog.routes import Route
from dormouse_router.gateway import SESSION

GOLDEN = 0.618033988749894848
_SPACE = 2**52
"""So many numbers and a half between each two are told apart by a float: none is 1.0, whose logarithm is no divisor."""


def next_draw(last: float) -> float:
    """The draw after `last`, in [0, 1): each falls into the largest gap those before have left, so that every variant
    has its share after few calls already. Chance would be off by 1 % of 10,000 calls every third time."""
    return (last + GOLDEN) % 1.0


def choose_variant(route: Route, key: bytes, draw: float) -> Variant:
    """The variant for a call: by `key` where there is one (the same key, the same variant), else by `draw`."""
    weighted = [variant for variant in route.spec.variants if variant.weight > 0]
    if not weighted:  # the API server lets no such route in
        return route.spec.variants[0]
    if key:
        return max(weighted, key=lambda variant: _score(route, variant, key))
    left = draw * sum(variant.weight for variant in weighted)
    for variant in weighted:
        left -= variant.weight
        if left < 0:
            return variant
    return weighted[-1]


def _score(route: Route, variant: Variant, key: bytes) -> float:
    """Weighted rendezvous hashing: the best score wins in proportion to the weights, and a weight that is changed moves
    only the keys it must. Knows the route's name, not its uid: one made anew keeps its callers."""
    text = b"\0".join((route.full_name.encode(), variant.model.encode(), key))
    number = int.from_bytes(blake2b(text, digest_size=8).digest(), "big") >> 12
    return variant.weight / -log((number + 0.5) / _SPACE)


def stand_ins(route: Route, model: str) -> tuple[str, ...]:
    """The models to try where `model` cannot serve, in order."""
    return tuple(other for other in route.spec.fallback or () if other != model)


def label(route: Route, model: str) -> str:
    """What answers and metrics call `model`: its variant's name, or its own where it is a fallback only."""
    return next((variant.label for variant in route.spec.variants if variant.model == model), model)


class _Metadata(msgspec.Struct):
    user_id: str | None = None


class _Caller(msgspec.Struct):
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    user: str | None = None
    metadata: _Metadata | None = None


_caller = msgspec.json.Decoder(_Caller)


def sticky_key(route: Route, header: Callable[[bytes], bytes | None], body: bytes) -> bytes:
    """What keeps the call on one variant; b"" where nothing does. `header`: by its lower-case name."""
    sticky = route.spec.sticky
    if sticky is None or sticky.by is StickyBy.NONE:
        return b""
    if sticky.by is StickyBy.HEADER:
        return header((sticky.header or "").lower().encode()) or b""
    if sticky.by is StickyBy.SESSION:
        return header(SESSION) or (_said(body).prompt_cache_key or "").encode()
    said = _said(body)
    user = said.safety_identifier or said.user or (said.metadata.user_id if said.metadata else None)
    return (user or "").encode()


def _said(body: bytes) -> _Caller:
    try:
        return _caller.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Caller()  # the dialect has checked what it needs of the body; this is none of it
