"""What an answer means to a line of a batch: it is over, or it is to be asked again, and when. Pure.

Asked again is what may go differently without anybody changing the line: 408, 409, 425, 429 and 5xx, a connection that
broke, a model that wakes. For as long as the window lasts, but for what a line may be the cause of: an engine that says
itself that it failed (500) or falls silent, and one that is lost under it; and for a model that nobody knows, which a
router that has just begun may say of any.
"""

import random
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What became of one attempt."""

    ANSWERED = "answered"
    FAILED = "failed"
    """For good: its error is its result."""
    BUSY = "busy"
    """Whoever answered had no room now."""
    ASLEEP = "asleep"
    """Its model cannot answer now: it sleeps, makes room for another, or failed for the moment."""
    FAULT = "fault"
    """The engine was there and failed on it."""
    STRANGER = "stranger"
    """The router does not know the worker, or not yet: no line's fault."""
    LOST = "lost"
    """No answer came: the engine, the router or the way to it broke."""


MODEL_UNKNOWN = "model_not_found"
NOT_TRUSTED = "worker_not_trusted"
"""Words of routers: for a model, and for a worker (`behalf`)."""


_AGAIN = frozenset({408, 409, 425, 429})
_NEVER = frozenset({501, 505, 507})
_SILENT = 504
MOST_FAULTS = 3
"""Attempts of a line on which engines fail."""
MOST_LOST = 24
"""Attempts of a line under which engines are lost."""
MOST_UNKNOWN = 6
"""Attempts of a line whose model is not known."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
LONGEST_LOST = 4.0
"""Where nobody answered at all: whoever restarts is soon back."""
LONGEST_ASKED = 300.0
"""Of a Retry-After that is obeyed."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `status` 0: nothing did, and `body` says why."""

    status: int
    body: bytes
    code: str = ""
    """The error's own word, where it has one."""
    retry_after: float | None = None
    should_retry: bool | None = None
    """x-should-retry."""


@dataclass(slots=True)
class Tries:
    """What became of a line so far."""

    attempts: int = 0
    faults: int = 0
    lost: int = 0
    unknown: int = 0


def judge(answer: Answer, tries: Tries) -> Kind:
    """What the answer means, after the attempts before it, and count it among them."""
    kind = _kind(answer)
    tries.attempts += 1
    tries.faults += kind is Kind.FAULT
    tries.lost += kind is Kind.LOST and answer.status > 0
    tries.unknown += answer.code == MODEL_UNKNOWN
    if tries.faults >= MOST_FAULTS or tries.lost >= MOST_LOST or tries.unknown >= MOST_UNKNOWN:
        return Kind.FAILED
    return kind


def _kind(answer: Answer) -> Kind:
    status = answer.status
    if 200 <= status < 300:
        return Kind.ANSWERED
    if answer.code == NOT_TRUSTED:
        return Kind.STRANGER
    if status in (0, 502):
        return Kind.LOST
    if answer.code == MODEL_UNKNOWN:
        return Kind.ASLEEP
    if answer.should_retry is False or status in _NEVER:
        return Kind.FAILED
    if status == 503:
        return Kind.ASLEEP
    if status in (500, _SILENT):
        return Kind.FAULT
    if status in _AGAIN or status > 500:
        return Kind.BUSY
    return Kind.FAILED


def pause(answer: Answer, failures: int, chance: float | None = None) -> float:
    """Seconds until the model is asked again after `failures` in a row; `chance` in [0, 1) spreads workers."""
    if answer.code == NOT_TRUSTED:  # known at once, or not at all
        return FIRST_PAUSE if failures < MOST_UNKNOWN else LONGEST_LOST
    if answer.retry_after is not None:
        return min(LONGEST_ASKED, max(FIRST_PAUSE, answer.retry_after))
    longest = min(LONGEST_PAUSE if answer.status else LONGEST_LOST, FIRST_PAUSE * 2.0 ** min(failures - 1, 10))
    return longest * (0.5 + (random.random() if chance is None else chance) / 2)  # noqa: S311
