"""`context` of /api/generate: the conversation so far, as the list of integers that the client hands back.

Ollama's integers are token ids of its own engine. Ours are opaque: the turns as compressed JSON, three bytes to an
integer, behind a length and a checksum. So no state is kept here and any engine can go on from it.
"""

import zlib
from collections.abc import Sequence

import msgspec

from dormouse_router.dialects.ollama.errors import bad_request

_WIDTH = 3
_MAX_BYTES = 8 * 1024 * 1024
_MOST = 600_000
"""Integers. A line may have 8 MB in Ollama's own client, and each of these takes nine bytes of it at most."""
Turn = dict[str, str]
_TURNS = msgspec.json.Decoder(list[Turn])


def encode(turns: Sequence[Turn]) -> list[int]:
    """The integers for `turns` ({role, content} each): never empty. What is too long to be handed back loses its
    oldest turns, never its system prompt.
    """
    text = msgspec.json.encode(turns)
    packed = zlib.compress(text)
    if len(text) > _MAX_BYTES or len(packed) > _MOST * _WIDTH:
        return encode(_shorter(turns))
    pieces = range(0, len(packed), _WIDTH)
    return [len(packed), zlib.crc32(packed), *(int.from_bytes(packed[i : i + _WIDTH], "big") for i in pieces)]


def _shorter(turns: Sequence[Turn]) -> list[Turn]:
    """The system prompt and the newer half of the rest, from a question on; nothing where only the prompt is left."""
    system = [turn for turn in turns if turn["role"] == "system"]
    said = turns[len(system) :]
    if not said:
        return []
    questions = [index for index, turn in enumerate(said) if index and turn["role"] == "user"]
    start = next((index for index in questions if index >= len(said) // 2), len(said))
    return [*system, *said[start:]]


def decode(numbers: Sequence[int] | None) -> list[Turn]:
    """The turns in `numbers`; Refusal 400 where they are not ours."""
    if not numbers:
        return []
    try:
        turns = _TURNS.decode(_unpacked(numbers))
        if not all({"role", "content"} <= turn.keys() for turn in turns):
            raise ValueError("not a conversation")
        return turns
    except (ValueError, OverflowError, zlib.error) as error:
        raise bad_request(
            "context was not made by this server: send the context of an earlier reply unchanged, or leave it out"
        ) from error


def _unpacked(numbers: Sequence[int]) -> bytes:
    length, checksum, *rest = numbers
    full, tail = divmod(length, _WIDTH)
    if len(rest) != full + bool(tail):
        raise ValueError("wrong length")
    packed = b"".join(number.to_bytes(_WIDTH, "big") for number in rest[:full])
    packed += rest[-1].to_bytes(tail, "big") if tail else b""
    if zlib.crc32(packed) != checksum:
        raise ValueError("wrong checksum")
    unzip = zlib.decompressobj()
    text = unzip.decompress(packed, _MAX_BYTES)
    if unzip.unconsumed_tail:
        raise ValueError("too long")
    return text
