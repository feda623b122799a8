"""A turn of a chat as it is kept, wherever that is: its key, and its messages encoded. Pure."""

import hashlib

import msgspec

from dormouse_router.keeping import Message

_encode = msgspec.json.encode


def session_key(owner: str, session: str) -> str:
    """What stands for a session: two owners' sessions of one name are two."""
    return hashlib.sha256(f"{len(owner)}:{owner}{session}".encode("utf-8", "surrogatepass")).hexdigest()


def parted(turn: list[Message]) -> tuple[bytes | None, list[bytes]]:
    """(the last system message, the others in order), encoded."""
    system = [_encode(message) for message in turn if message["role"] == "system"]
    return (system[-1] if system else None), [_encode(message) for message in turn if message["role"] != "system"]


def joined(system: bytes | None, others: list[bytes]) -> list[Message]:
    """The history, decoded."""
    return [msgspec.json.decode(body) for body in (system, *others) if body is not None]
