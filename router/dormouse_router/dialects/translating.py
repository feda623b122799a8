"""An engine's stream on its way into another dialect: event by event, and what becomes of one that breaks. Pure."""

import msgspec

from dormouse_router.dialects import sse

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, sse.EventTooLongError, KeyError, TypeError)


class AnswerError(Exception):
    """The engine's answer cannot be gone on with; the text is for the client."""

    def __init__(self, message: str, status: int = 502) -> None:
        super().__init__(message)
        self.status = status


class Translation:
    """`feed` it with the engine's bytes."""

    def __init__(self) -> None:
        self._events = sse.Events()
        self._failure: AnswerError | None = None

    def feed(self, piece: bytes) -> bytes:
        """What `piece` completes, for the client. AnswerError where the engine says that it failed, or talks nonsense.

        What came before the failure is given first; the error is raised by the next call.
        """
        if self._failure is not None:
            raise self._failure
        out = b""
        try:
            for data in self._events.feed(piece):
                if data != sse.DONE:
                    out += self._event(data)
        except AnswerError as error:
            self._failure = error
        except UNREADABLE as error:
            self._failure = AnswerError(f"the engine sent a stream that cannot be read: {error}")
        if self._failure is not None and not out:
            raise self._failure
        return out

    def _event(self, data: bytes) -> bytes:
        """What one event of the engine is to the client."""
        raise NotImplementedError
