"""A batch and what may become of it. Pure: every transition is a function from a batch to the next.

    validating -> failed                          the input is refused as a whole
    validating -> in_progress -> finalizing -> completed
    validating | in_progress | finalizing -> cancelling -> cancelled
    in_progress | finalizing -> expired           the window has passed

States, fields and what each refuses: OpenAI's API reference, Batch. Times are whole seconds since the epoch.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

WINDOW = "24h"
WINDOW_SECONDS = 24 * 3600
MOST_ERRORS = 100
"""Errors of one refused input that are told."""


class Status(StrEnum):
    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


ENDED = frozenset({Status.FAILED, Status.COMPLETED, Status.EXPIRED, Status.CANCELLED})


@dataclass(frozen=True, slots=True)
class LineError:
    """Why an input is refused. `line` counts from 1; None: it is of the whole file."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Lines: of the input, answered well, and answered with an error. Lines never sent are in neither."""

    total: int = 0
    completed: int = 0
    failed: int = 0

    def __post_init__(self) -> None:
        if min(self.total, self.completed, self.failed) < 0 or self.completed + self.failed > self.total:
            raise ValueError(f"{self.completed} completed and {self.failed} failed are no part of {self.total}")

    def plus(self, completed: int, failed: int) -> "Counts":
        return replace(self, completed=self.completed + completed, failed=self.failed + failed)

    @property
    def open(self) -> int:
        return self.total - self.completed - self.failed


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of all lines that were answered."""

    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0

    def plus(self, more: "Usage") -> "Usage":
        return Usage(
            self.input + more.input,
            self.cached + more.cached,
            self.output + more.output,
            self.reasoning + more.reasoning,
        )


@dataclass(frozen=True, slots=True)
class Rights:
    """What whoever made a batch might, when it was made."""

    teams: tuple[str, ...] = ()
    """Whose models its lines may ask, too."""
    enqueued: int | None = None
    """Most tokens, by estimate, that may wait for one model; None: as many as the router takes."""


NO_RIGHTS = Rights()


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch. Fields that OpenAI's object has too are called as there."""

    id: str
    owner: str
    endpoint: str
    input_file_id: str
    created_at: int
    metadata: dict[str, str] | None = None
    output_seconds: int | None = None
    """Life of its output files. None: as long as such files live."""
    completion_window: str = WINDOW
    status: Status = Status.VALIDATING
    model: str | None = None
    """The one model of all lines; None while unknown, or where there are several."""
    errors: tuple[LineError, ...] = ()
    counts: Counts = Counts()
    usage: Usage = Usage()
    output_file_id: str | None = None
    error_file_id: str | None = None
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    rights: Rights = NO_RIGHTS

    @property
    def expires_at(self) -> int:
        """The end of its window."""
        return self.created_at + WINDOW_SECONDS

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def ended_at(self) -> int | None:
        """When, where it has."""
        return self.completed_at or self.failed_at or self.expired_at or self.cancelled_at

    def late(self, now: float) -> bool:
        """Whether its window has passed and it is not on its way to an end of another kind."""
        return now >= self.expires_at and not self.ended and self.status is not Status.CANCELLING


class TransitionError(ValueError):
    """The batch is in no state for it."""


def refused(batch: Batch, errors: tuple[LineError, ...], now: float) -> Batch:
    """Its input is not to be worked on; at most MOST_ERRORS reasons are kept."""
    _expect(batch, Status.VALIDATING)
    return replace(batch, status=Status.FAILED, errors=errors[:MOST_ERRORS], failed_at=int(now))


def accepted(batch: Batch, total: int, models: tuple[str, ...], now: float) -> Batch:
    """Its input holds `total` good lines for `models`."""
    _expect(batch, Status.VALIDATING)
    model = models[0] if len(models) == 1 else None
    return replace(batch, status=Status.IN_PROGRESS, counts=Counts(total), model=model, in_progress_at=int(now))


def answered(batch: Batch, completed: int, failed: int, usage: Usage) -> Batch:
    """More lines have their answers; also while it is being cancelled, for calls under way are let finish."""
    _expect(batch, Status.IN_PROGRESS, Status.CANCELLING)
    return replace(batch, counts=batch.counts.plus(completed, failed), usage=batch.usage.plus(usage))


def finalizing(batch: Batch, now: float) -> Batch:
    """Nothing more will be asked: its files are being written."""
    _expect(batch, Status.IN_PROGRESS)
    return replace(batch, status=Status.FINALIZING, finalizing_at=int(now))


def cancelling(batch: Batch, now: float) -> Batch:
    """Somebody has asked for its end. Asking twice changes nothing. TransitionError where it has ended otherwise."""
    if batch.status in (Status.CANCELLING, Status.CANCELLED):
        return batch
    if batch.ended:
        raise TransitionError(f"Cannot cancel a batch with status '{batch.status}'.")
    return replace(batch, status=Status.CANCELLING, cancelling_at=int(now))


def ended(batch: Batch, output_file_id: str | None, error_file_id: str | None, now: float) -> Batch:
    """Its files are whole. What end it comes to follows from where it stood, and from lines without an answer."""
    _expect(batch, Status.FINALIZING, Status.CANCELLING)
    batch = replace(batch, output_file_id=output_file_id, error_file_id=error_file_id)
    if batch.status is Status.CANCELLING:
        return replace(batch, status=Status.CANCELLED, cancelled_at=int(now))
    if batch.counts.open:
        return replace(batch, status=Status.EXPIRED, expired_at=int(now))
    return replace(batch, status=Status.COMPLETED, completed_at=int(now))


def _expect(batch: Batch, *states: Status) -> None:
    if batch.status not in states:
        raise TransitionError(f"batch {batch.id} is {batch.status}, not {' or '.join(states)}")
