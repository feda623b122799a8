"""The termination message: written early, rewritten whole at the end, never with a secret in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dormouse_api.conditions import Reason
from dormouse_api.results import Failure, Outcome

HIDDEN = "***"


class Report:
    """What the Job says: one message for the operator, and lines for whoever reads the log."""

    def __init__(self, path: Path, secrets: Sequence[str] = ()) -> None:
        self._path, self._secrets = path, secrets

    def write(self, outcome: Outcome) -> None:
        """Replace the message. In place: the kubelet has mounted exactly this file."""
        if outcome.failure is not None:
            told = outcome.failure.model_copy(update={"message": self.clean(outcome.failure.message)})
            outcome = outcome.model_copy(update={"failure": told})
        try:
            self._path.write_text(outcome.text())
        except OSError as error:
            self.log("the result could not be written", path=str(self._path), error=str(error))

    def interrupted(self, message: str) -> None:
        """The message as long as nothing better is known: what a kill leaves behind."""
        self.write(Outcome(failure=Failure(reason=Reason.INTERRUPTED, message=message)))

    def log(self, message: str, **facts: Any) -> None:
        """One JSON line on standard error."""
        print(self.clean(json.dumps({"message": message, **facts}, default=str)), file=sys.stderr, flush=True)  # noqa: T201

    def clean(self, text: str) -> str:
        """The text without the secrets, also where a URL or JSON has them in its own spelling."""
        for secret in self._secrets:
            for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1]):
                text = text.replace(form, HIDDEN)
        return text
