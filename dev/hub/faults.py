"""Faults to order, and the log of what was answered. Knows no HTTP and no repositories."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

KINDS = ("status", "cut", "stall", "slow", "corrupt", "norange", "elsewhere")


class FaultError(Exception):
    """A fault that was asked for makes no sense; the message says why."""


@dataclass(frozen=True)
class Fault:
    """One fault: which requests it hits, how often, and what it does to them.

    status   answers `status` with `code` as X-Error-Code, and `retry_after` or (as RateLimit) `resets` seconds to wait
    cut      promises the whole length and closes the connection after `after` bytes of the body
    stall    sends `after` bytes, then nothing for `seconds`, then goes on
    slow     sends at `rate` bytes a second
    corrupt  flips the byte at `after`, counted from the start of the file
    norange  ignores the Range that is asked for and sends the whole file
    elsewhere  redirects LFS files to this hub under another host name, as to a CDN
    """

    kind: str
    path: str = ""
    """Regular expression searched in the request's path."""
    method: str = "GET"
    times: int | None = 1
    """How many requests it hits; None: all."""
    skip: int = 0
    """How many matching requests it lets pass first."""
    status: int = 503
    code: str = ""
    retry_after: int | None = None
    resets: int | None = None
    after: int = 0
    seconds: float = 0.0
    rate: int = 1 << 20

    @classmethod
    def parse(cls, value: Mapping[str, Any]) -> Fault:
        """From JSON; refuses unknown kinds and fields."""
        unknown = set(value) - {field.name for field in fields(cls)}
        if unknown or value.get("kind") not in KINDS:
            raise FaultError(f"a fault has a kind of {', '.join(KINDS)}; not known here: {sorted(unknown) or value}")
        fault = cls(**value)
        try:
            re.compile(fault.path)
        except re.error as error:
            raise FaultError(f"{fault.path!r} is no regular expression: {error}") from error
        return fault


@dataclass
class Entry:
    """One request from when its answer begins; `sent` grows with the body. The token itself is never kept."""

    method: str
    path: str
    range: str | None
    auth: bool
    status: int
    sent: int = 0


class Faults:
    """The faults in force; each hit uses one up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def set(self, faults: list[Fault]) -> None:
        with self._lock:
            self._faults = list(faults)

    def take(self, method: str, path: str) -> Fault | None:
        """The first fault that hits this request."""
        with self._lock:
            for i, fault in enumerate(self._faults):
                if fault.method != method or not re.search(fault.path, path) or fault.times == 0:
                    continue
                if fault.skip > 0:
                    self._faults[i] = replace(fault, skip=fault.skip - 1)
                    continue
                if fault.times is not None:
                    self._faults[i] = replace(fault, times=fault.times - 1)
                return fault
        return None


class Log:
    """What was and is being answered, oldest first, at most `LIMIT` entries."""

    LIMIT = 10_000

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque(maxlen=self.LIMIT)

    def add(self, entry: Entry) -> None:
        with self._lock:
            self._entries.append(entry)

    def entries(self) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(entry) for entry in self._entries]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
