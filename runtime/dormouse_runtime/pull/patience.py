"""How long to go on trying: back-off that progress resets, and the hub's own Retry-After within a bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dormouse_runtime.pull.errors import PullError

TRIES = 5
"""Failures in a row without a byte gained, after which the process gives up; the Job starts another later."""
LONGEST_WAIT = 30.0
LONGEST_RETRY_AFTER = 60.0
"""A hub that asks for more is not waited for here: the operator shows it and the Job comes back."""

T = TypeVar("T")


class Patience:
    """Counts the failures of one undertaking."""

    def __init__(self, backoff_seconds: float, wait: Callable[[float], None]) -> None:
        """`wait` sleeps for the seconds it is given, or raises to end the undertaking."""
        self._backoff, self._wait, self._failures = backoff_seconds, wait, 0

    def after(self, error: PullError, progressed: bool = False) -> None:
        """Wait before the next try, or raise the error when another one is of no use."""
        self._failures = 1 if progressed else self._failures + 1
        asked = error.retry_after_seconds
        if error.permanent or self._failures >= TRIES or (asked is not None and asked > LONGEST_RETRY_AFTER):
            raise error
        self._wait(min(self._backoff * 2 ** (self._failures - 1), LONGEST_WAIT) if asked is None else asked)


def patiently(call: Callable[[], T], patience: Patience) -> T:
    """The call's result, once it succeeds."""
    while True:
        try:
            return call()
        except PullError as error:
            patience.after(error)
