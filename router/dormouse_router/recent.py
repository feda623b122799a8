"""The last warnings and errors of the log, kept for whoever asks what is wrong, without the secrets in them."""

import re
from collections import deque
from collections.abc import MutableMapping
from typing import Any

KEPT = 50
LONGEST = 500
_LEVELS = frozenset({"warning", "error", "critical"})
_SECRETS = (
    (re.compile(r"://[^/@\s]+@"), "://***@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+\S+"), r"\1 ***"),
    (
        re.compile(r"(?i)((?:token|secret|password|passwd|api[_-]?key|authorization)[\"']?\s*[=:]\s*)[^\s,;&]+"),
        r"\1***",
    ),
    (re.compile(r"\b(?:hf_|sk-|sk_|ghp_|glpat-)[\w-]{6,}"), "***"),
    (re.compile(r"/t/[^/\s]+"), "/t/***"),
)
"""Credentials in URLs, in headers, in assignments, by their usual beginnings, and in paths."""


def without_secrets(text: str) -> str:
    """`text`, cut to LONGEST characters, with what looks like a credential left out."""
    text = text[: 4 * LONGEST]  # the patterns take their time
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


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
