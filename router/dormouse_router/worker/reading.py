"""The bytes of a chunk's lines: neighbours are read together, gaps between them are read over where they are small."""

import contextlib
from collections.abc import Iterator, Sequence

from dormouse_router.batching import Chunk, Line, Work

MOST_GAP = 64 * 1024
"""Bytes that are cheaper to read than to leave out."""
MOST_GROUP = 4 * 1024 * 1024
"""Bytes of lines that are read at once, unless one line alone has more."""


def groups(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """The lines in their order, cut into groups that are in memory together."""
    group: list[Line] = []
    size = 0
    for line in lines:
        if group and size + line.length > MOST_GROUP:
            yield group
            group, size = [], 0
        group.append(line)
        size += line.length
    if group:
        yield group


def spans(lines: Sequence[Line]) -> list[tuple[int, int, list[Line]]]:
    """(start, stop, lines): what to read for lines of any order."""
    found: list[tuple[int, int, list[Line]]] = []
    for line in sorted(lines, key=lambda line: line.offset):
        stop = line.offset + line.length
        if found and line.offset - found[-1][1] <= MOST_GAP:
            start, _, together = found[-1]
            found[-1] = (start, stop, [*together, line])
        else:
            found.append((line.offset, stop, [line]))
    return found


async def texts(work: Work, chunk: Chunk, lines: Sequence[Line]) -> dict[int, bytes]:
    """Each line's bytes, by its place. Refusal 503; 404 where the input is gone."""
    read: dict[int, bytes] = {}
    for start, stop, together in spans(lines):
        pieces = bytearray()
        async with contextlib.aclosing(work.read(chunk.batch, start, stop)) as arriving:
            async for piece in arriving:
                pieces += piece
        for line in together:
            begin = line.offset - start
            read[line.place] = bytes(pieces[begin : begin + line.length])
    return read
