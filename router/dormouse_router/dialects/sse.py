"""The engine's Server-Sent Events, out of pieces of any size. Keeps no more than one unfinished event."""

from collections.abc import Sequence

MAX_EVENT = 16 * 1024 * 1024
DONE = b"[DONE]"
_FIELD = b"data: "


class EventTooLongError(Exception):
    """The engine sent an event without an end."""


class Events:
    """`feed` pieces as they come, and take the data of every event that is complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Sequence[bytes]:
        """The data of each event that `piece` completes. EventTooLongError beyond `MAX_EVENT` bytes."""
        # nearly every piece is one whole event of one line, which need not be looked at line by line
        alone = not self._rest and not self._data and piece.startswith(_FIELD) and piece.endswith(b"\n")
        if alone and piece.find(b"\n") == len(piece) - 2:
            return (piece[len(_FIELD) : -2],)
        return self._by_lines(piece)

    def _by_lines(self, piece: bytes) -> list[bytes]:
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_EVENT:
            raise EventTooLongError(f"an event of the engine is longer than {MAX_EVENT} bytes")
        found = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:].strip())
            elif not line.strip() and self._data:
                found.append(b"\n".join(self._data))
                self._data.clear()
        return found
