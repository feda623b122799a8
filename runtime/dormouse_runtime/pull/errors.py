"""Why a pull failed: one exception with a reason of the closed list and a sentence that holds the fix."""

from __future__ import annotations

from dormouse_api.conditions import PERMANENT, Reason
from dormouse_api.results import EXIT_PERMANENT, Failure

EXIT_RETRY = 1
"""Exit code of a failure that another try may cure: the Job's own back-off brings it."""
EXIT_TERMINATED = 143
"""Exit code after SIGTERM, as a shell has it."""


class PullError(Exception):
    """A failed pull. `reason` is one of `PULL_FAILURES`; the message never holds a token."""

    def __init__(
        self, reason: Reason, message: str, retry_after_seconds: float | None = None, short_bytes: int | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after_seconds = retry_after_seconds
        self.short_bytes = short_bytes

    @property
    def permanent(self) -> bool:
        """Whether trying again is of no use until somebody acts."""
        return self.reason in PERMANENT

    @property
    def exit_code(self) -> int:
        return EXIT_PERMANENT if self.permanent else EXIT_RETRY

    def failure(self) -> Failure:
        """The failure as it travels in the termination message."""
        wait = None if self.retry_after_seconds is None else round(self.retry_after_seconds)
        return Failure(
            reason=self.reason, message=self.message[:2000], retry_after_seconds=wait, short_bytes=self.short_bytes
        )
