"""The engine's Server-Sent Events, out of pieces of any size. Keeps no more than one unfinished event."""

from collections.abc import Iterator

MAX_EVENT = 16 * 1024 * 1024
DONE = b"[DONE]"


class EventTooLongError(Exception):
    """The engine sent an event without an end."""


class Events:
    """`feed` pieces as they come, and take the data of every event that is complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The data of each event that `piece` completes. EventTooLongError beyond `MAX_EVENT` bytes."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_EVENT:
            raise EventTooLongError(f"an event of the engine is longer than {MAX_EVENT} bytes")
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:].strip())
            elif not line.strip() and self._data:
                yield b"\n".join(self._data)
                self._data.clear()
