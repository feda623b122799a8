"""A file that comes in pieces, cut into lines. Pure; holds a piece and one line at most."""

MOST_LINE_BYTES = 32 * 1024 * 1024


class Splitter:
    """`feed` and, when the file is over, `end` tell the lines that have become whole, blank ones too, without ends."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._bytes = 0

    @property
    def too_long(self) -> bool:
        """The line that has not ended yet has more than MOST_LINE_BYTES: what follows need not be read."""
        return self._bytes > MOST_LINE_BYTES

    def feed(self, piece: bytes) -> list[bytes]:
        whole = piece.split(b"\n")
        rest = whole.pop()
        if whole:
            if self._bytes:
                whole[0] = b"".join([*self._rest, whole[0]])
            self._rest, self._bytes = [], 0
        self._rest.append(rest)
        self._bytes += len(rest)
        return whole

    def end(self) -> list[bytes]:
        """The last line needs no line end."""
        return [b"".join(self._rest)] if self._bytes else []
