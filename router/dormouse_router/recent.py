"""The log without the secrets in it, and its last warnings and errors, kept for whoever asks what is wrong."""

import logging
import re
from collections import deque
from collections.abc import MutableMapping
from typing import Any

from dormouse_api import masking
from dormouse_api.masking import HIDDEN

KEPT = 50
LONGEST = 500
_LEVELS = frozenset({"warning", "error", "critical"})
_PATH = re.compile(r"/key/[^/\s]+")
"""Of a client that can send no header."""


def without_secrets(text: str) -> str:
    """`text`, cut to LONGEST characters, with what looks like a credential left out."""
    text = concealed(text[: 4 * LONGEST])  # the patterns take their time
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def concealed(text: str) -> str:
    """The whole `text` with what looks like a credential left out."""
    return _PATH.sub(f"/key/{HIDDEN}", masking.without_secrets(text))


class Concealing(logging.Formatter):
    """Of the lines of libraries, which may say a URL or a header again."""

    def format(self, record: logging.LogRecord) -> str:
        return concealed(super().format(record))


def conceal(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structlog, of lines that tell what went wrong: those say what others said."""
    if event.get("level") in _LEVELS:
        for name, value in event.items():
            if isinstance(value, str):
                event[name] = concealed(value)
    return event


class Recent:
    """A processor of structlog: passes everything on and remembers the last that were wrong."""

    def __init__(self) -> None:
        self._kept: deque[dict[str, str]] = deque(maxlen=KEPT)

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if event.get("level") in _LEVELS:
            self._kept.append({name: without_secrets(_last(name, str(value))) for name, value in event.items()})
        return event

    def events(self) -> list[dict[str, str]]:
        """Oldest first."""
        return list(self._kept)


def _last(name: str, value: str) -> str:
    """Of a traceback the line that says what it was."""
    return value.strip().rpartition("\n")[2] if name == "exception" else value
