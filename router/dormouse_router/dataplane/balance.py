"""Which endpoint a call goes to. Pure: no clock, no sockets, no HTTP.

An engine keeps what it computed for the beginning of a prompt, so calls that begin alike should meet again:
consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2016, arXiv:1608.01350). A call's key is its
session, else the beginning of its prompt; its place on the ring decides, unless that endpoint would then
have more than LOAD_FACTOR times the mean of calls in flight: then the next on the ring. Without a key: least in flight.
The ring is made of the endpoints' addresses alone, so routers that know nothing of each other choose alike.

With one endpoint nothing of this is computed.
"""

import math
import struct
from bisect import bisect_right
from collections.abc import Sequence
from hashlib import blake2b, shake_128

from dormouse_router.catalog.catalog import Endpoint
from dormouse_router.gateway import COMPLETIONS, EMBEDDINGS, Call

LOAD_FACTOR = 1.25
"""Most calls of an endpoint over the mean. Nearer to 1 the load is more even and the caches are hit less."""
PLACES = 128
"""Of each endpoint on the ring: its share of keys then differs by about 1/√128 = 9 % from the mean."""
_places = struct.Struct(f">{PLACES}Q")

HEAD_BYTES = 512
"""Of the prompt from its beginning: system prompts that differ do so early."""
WORDS_BYTES = 256
"""Of the first user's message, wherever it begins: conversations over one system prompt are told apart by it."""
ROLE_BYTES = 24
"""From a message's brace to its role, where the role comes first."""
SEARCH_BYTES = 16 * 1024
"""How far that message is looked for (about 14 µs at worst)."""


def pick(endpoints: Sequence[Endpoint], now: float, turn: int) -> Endpoint | None:
    """The endpoint with the fewest calls in flight among those not to be avoided at `now`.

    Where all are to be avoided: of those that are not closed, the one that comes back first. None where there is none.
    `turn` is any growing number: it rotates the order in which equals are looked at.
    """
    best: Endpoint | None = None
    count = len(endpoints)
    for offset in range(count):
        endpoint = endpoints[(turn + offset) % count]
        if endpoint.avoid_until <= now and (best is None or endpoint.in_flight < best.in_flight):
            best = endpoint
    if best is not None:
        return best
    left = [endpoint for endpoint in endpoints if endpoint.closed_until <= now]
    return min(left, key=lambda endpoint: endpoint.avoid_until, default=None)


def back_at(endpoints: Sequence[Endpoint]) -> float | None:
    """When the first of the closed endpoints may be tried again; None where there is none."""
    return min((endpoint.closed_until for endpoint in endpoints), default=None)


class Ring:
    """Endpoints on a circle, each at PLACES places that follow from its address."""

    __slots__ = ("_owners", "_places", "endpoints")

    def __init__(self, endpoints: tuple[Endpoint, ...]) -> None:
        self.endpoints = endpoints
        order = sorted((place, index) for index, endpoint in enumerate(endpoints) for place in places(endpoint))
        self._places = [place for place, _ in order]
        self._owners = [endpoints[index] for _, index in order]

    def pick(self, key: bytes, now: float) -> Endpoint | None:
        """The first endpoint from the key's place on that may take one more; None where all are to be avoided."""
        count = load = 0
        for endpoint in self.endpoints:
            if endpoint.avoid_until <= now:
                count += 1
                load += endpoint.in_flight
        if not count:
            return None
        most = bound(load, count)
        owners, size = self._owners, len(self._owners)
        at = bisect_right(self._places, place_of(key))
        for step in range(at, at + size):
            endpoint = owners[step % size]
            if endpoint.in_flight < most and endpoint.avoid_until <= now:
                return endpoint
        return None  # never: not all can be above the mean


def bound(load: int, count: int) -> int:
    """Most calls that one of `count` endpoints may have once one more is added to `load`. Never less than the mean."""
    return math.ceil(LOAD_FACTOR * (load + 1) / count)


def places(endpoint: Endpoint) -> tuple[int, ...]:
    address = f"{endpoint.host}:{endpoint.port}".encode()
    return _places.unpack(shake_128(address).digest(_places.size))


def place_of(key: bytes) -> int:
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big")


class Balancer:
    """The choices for one model: what is kept from one to the next."""

    __slots__ = ("_ring", "_turn")

    def __init__(self) -> None:
        self._ring = Ring(())
        self._turn = 0

    def choose(self, endpoints: tuple[Endpoint, ...], call: Call, now: float) -> Endpoint | None:
        """An endpoint for `call`; None where none may be called now."""
        if len(endpoints) == 1:
            only = endpoints[0]
            return only if only.closed_until <= now else None
        if not endpoints:
            return None
        if key := call.session or prefix(call.path, call.body):
            if self._ring.endpoints is not endpoints:
                self._ring = Ring(endpoints)
            chosen = self._ring.pick(key, now)
            if chosen is not None:
                return chosen
        self._turn += 1
        return pick(endpoints, now, self._turn)


def prefix(path: str, body: bytes) -> bytes:
    """Bytes that are equal for the calls whose prompts begin alike; b"" where there is no prompt that is kept.

    `body` is JSON that was checked before. Nothing is parsed: the calls of one conversation come from one client, which
    writes them alike. What follows the first user's message (the next turns, the parameters) is never part of it.
    """
    if path == EMBEDDINGS:
        return b""
    word = b'"prompt"' if path == COMPLETIONS else b'"messages"'
    start = body.find(word)
    if start < 0:
        return b""
    return _text(body, start + len(word)) if path == COMPLETIONS else _conversation(body, start)


def _conversation(body: bytes, start: int) -> bytes:
    head = start + HEAD_BYTES
    user = body.find(b'"user"', start, start + SEARCH_BYTES)
    if user < 0:
        return body[start:head]
    if body.find(b"{", max(start, user - ROLE_BYTES), user) < 0:
        return body[start : min(head, user)]  # the role stands after the content: behind it is the next turn
    # the message's end, or a brace in its text: the same one in every turn
    end = body.find(b"}", user, user + WORDS_BYTES)
    if end < 0:
        end = user + WORDS_BYTES
    return body[start:end] if end <= head else body[start:head] + body[user:end]


def _text(body: bytes, start: int) -> bytes:
    """From `start` to the end of the text that begins there, or to a quotation mark in it: the same one each time."""
    end = start + HEAD_BYTES
    opening = body.find(b'"', start, end)
    closing = body.find(b'"', opening + 1, end) if opening >= 0 else -1
    return body[start : closing if closing >= 0 else end]
