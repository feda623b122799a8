"""The lines of a validated file cut into chunks, and the table of lines that a chunk is kept as. Pure."""

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator

from dormouse_router.batch.validate import Index
from dormouse_router.batching import MOST_CHUNK, Line, Planned

_ROW = struct.Struct("<IQI")
"""Number, offset and length of a line."""
BYTES_PER_TOKEN = 4
"""Of JSON, as text goes: tokens are counted by estimate before anybody has answered."""


def planned(index: Index, most: int = MOST_CHUNK) -> list[Planned]:
    """Chunks of at most `most` lines, each of one model; lines whose prompts begin alike are neighbours.

    Otherwise they stay as they are in the file: a chunk of neighbours is read at once.
    """
    order, models = _ordered(index), index.models
    made: list[Planned] = []
    begin = 0
    while begin < len(order):
        last = min(len(order), begin + most)
        stop = bisect_right(order, models[order[begin]], begin, last, key=models.__getitem__)
        made.append(_chunk(index, order[begin:stop]))
        begin = stop
    return made


def _ordered(index: Index) -> list[int]:
    """Places in the table: by model, then by the first line whose prompt begins alike, then as in the file.

    In columns, never in lists of lists: of 50,000 lines that are all different those would be 10 MB.
    """
    count, several = len(index), len(index.names) > 1
    columns = zip(index.models, index.prefixes, strict=True)
    alike = [model << 32 | prefix for model, prefix in columns] if several else index.prefixes
    met: dict[int, int] = {}
    ranks = array("Q", map(met.setdefault, alike, range(count)))
    if several:
        ranks = array("Q", [model * count + rank for model, rank in zip(index.models, ranks, strict=True)])
    return sorted(range(count), key=ranks.__getitem__)


def _chunk(index: Index, places: list[int]) -> Planned:
    numbers, offsets, lengths = index.numbers, index.offsets, index.lengths
    rows = b"".join([_ROW.pack(numbers[at], offsets[at], lengths[at]) for at in places])
    size = sum([lengths[at] for at in places])
    return Planned(index.names[index.models[places[0]]], rows, len(places), size // BYTES_PER_TOKEN)


def lines(packed: bytes, done: bytes) -> Iterator[Line]:
    """The open lines of a chunk."""
    for place, row in enumerate(_ROW.iter_unpack(packed)):
        if not done[place >> 3] & 1 << (place & 7):
            yield Line(place, *row)


def nothing_done(count: int) -> bytes:
    """The bitmap of a chunk of so many lines."""
    return bytes((count + 7) // 8)


def marked(done: bytes, places: Iterable[int]) -> bytes | None:
    """The bitmap with these lines done as well; None where one of them was already."""
    bits = bytearray(done)
    for place in places:
        mask = 1 << (place & 7)
        if bits[place >> 3] & mask:
            return None
        bits[place >> 3] |= mask
    return bytes(bits)
