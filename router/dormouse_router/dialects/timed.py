"""What answers that tell how long they took have in common: a clock, the usage, and when the first word came.

Pure but for the clock it is given.
"""

from collections.abc import Callable
from dataclasses import dataclass

from dormouse_router.dialects import chunks
from dormouse_router.dialects.complaints import error_text
from dormouse_router.dialects.translating import AnswerError, Translation


@dataclass(frozen=True)
class Clock:
    """`wall`: seconds since the epoch. `steady`: seconds that only go forward."""

    wall: Callable[[], float]
    steady: Callable[[], float]


@dataclass
class Times:
    """Moments of one request on the steady clock, and how long it was held."""

    arrived: float
    sent: float
    held: float = 0.0
    first: float | None = None


class Timed(Translation):
    """An engine's stream, chunk by chunk; `_choice` says what one of them is to the client."""

    def __init__(self, clock: Clock, times: Times) -> None:
        super().__init__()
        self._clock, self._times = clock, times
        self._usage = chunks.Usage()
        self._reason: str | None = None

    @property
    def tokens(self) -> tuple[int, int]:
        """Tokens of the prompt and of the answer, as the engine told."""
        return self._usage.prompt_tokens, self._usage.completion_tokens or 0

    def complete(self) -> str:
        """Why the answer ended. AnswerError where the engine stopped before it was done."""
        if self._failure is not None:
            raise self._failure
        if self._reason is None:
            raise AnswerError("the engine ended its answer before it was complete: send the request again")
        return self._reason

    def _event(self, data: bytes) -> bytes:
        chunk = chunks.decode(data)
        if chunk.error is not None:
            raise AnswerError(error_text(chunk.error))
        if chunk.usage is not None:
            self._usage = chunk.usage
        if not chunk.choices:
            return b""
        if self._times.first is None:
            self._times.first = self._clock.steady()
        return self._choice(chunk.choices[0])

    def _choice(self, choice: chunks.Choice) -> bytes:
        """What the one choice of a chunk is to the client."""
        raise NotImplementedError
