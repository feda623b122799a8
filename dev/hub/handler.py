"""One HTTP connection of the hub: reads requests, asks `api` and `control`, answers, logs.

Owns the HTTP mechanics only: replies, errors in the hub's shape, files with Range and faults.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from dev.hub.faults import Entry, Fault, Faults, Log
from dev.hub.repos import Repos

CHUNK = 64 * 1024
RANGE = re.compile(r"bytes=(\d+)-(\d*)")
CONTROL = re.compile(r"/_(?!cdn/)")  # not logged: a test reads the log for what a client asked
NO_FAULT = Fault("none")
IDLE_SECONDS = 60


@dataclass(frozen=True)
class Hub:
    """What all connections share."""

    repos: Repos
    faults: Faults
    log: Log
    verbose: bool = False


class Request(BaseHTTPRequestHandler):
    """A connection; `hub` is set on the subclass that the server makes."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS
    hub: Hub

    @property
    def url(self) -> SplitResult:
        return urlsplit(self.path)

    @property
    def route(self) -> str:
        """The path, unquoted, without the query."""
        return unquote(self.url.path)

    @property
    def query(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(self.url.query).items()}

    @property
    def token(self) -> str:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ").strip()

    @property
    def host(self) -> str:
        return self.headers.get("Host") or "localhost"

    def reply(self, status: int, value: Any = None, headers: Mapping[str, object] | None = None) -> None:
        """Answer JSON, or nothing when `value` is None."""
        body = b"" if value is None else json.dumps(value).encode()
        self._record(status).sent = 0 if self.command == "HEAD" else len(body)
        self._head(status, {**(headers or {}), "Content-Type": "application/json", "Content-Length": len(body)})
        if self.command != "HEAD":
            self.wfile.write(body)

    def fail(self, status: int, code: str, message: str, headers: Mapping[str, object] | None = None) -> None:
        """Answer an error as the hub words it."""
        named = {"X-Error-Code": code} if code else {}
        self.reply(status, {"error": message}, {**named, "X-Error-Message": message, **(headers or {})})

    def send_file(self, path: Path, headers: Mapping[str, object], fault: Fault) -> None:
        """Answer the file, or the part that Range asks for, with the fault worked in."""
        size = path.stat().st_size
        start, end, status, ranged = 0, size - 1, 200, {}
        wanted = "" if fault.kind == "norange" else self.headers.get("Range") or ""
        if asked := RANGE.fullmatch(wanted):
            start, end, status = int(asked[1]), min(int(asked[2] or size - 1), size - 1), 206
            if start >= size:
                self.reply(416, None, {"Content-Range": f"bytes */{size}"})
                return
            ranged = {"Content-Range": f"bytes {start}-{end}/{size}"}
        length = max(0, end - start + 1)
        kind = {"Content-Type": "application/octet-stream", "Content-Length": length}
        entry = self._record(status)
        self._head(status, {**headers, **ranged, **kind})
        if self.command != "HEAD":
            self._body(path, start, length, fault, entry)

    def _body(self, path: Path, start: int, length: int, fault: Fault, entry: Entry) -> None:
        """Send until the end, the cut, or the client's leaving. The log is ahead of the client, never behind it."""
        sent, stop_at = 0, fault.after if fault.kind in ("cut", "stall") else length + 1
        try:
            with path.open("rb") as file:
                file.seek(start)
                while sent < length:
                    if sent >= stop_at:
                        if fault.kind == "cut":
                            self.close_connection = True
                            break
                        time.sleep(fault.seconds)
                        stop_at = length + 1
                    block = bytearray(file.read(min(CHUNK, length - sent, max(stop_at - sent, 1))))
                    if fault.kind == "corrupt" and 0 <= fault.after - start - sent < len(block):
                        block[fault.after - start - sent] ^= 0xFF
                    entry.sent = sent + len(block)
                    self.wfile.write(block)
                    sent += len(block)
                    if fault.kind == "slow":
                        time.sleep(len(block) / fault.rate)
        except OSError:  # the client left, or was killed
            self.close_connection = True
            entry.sent = sent

    def _head(self, status: int, headers: Mapping[str, object]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()

    def _record(self, status: int) -> Entry:
        asked = self.headers.get("Range")
        entry = Entry(self.command, self.path, asked, bool(self.token), status)
        if not CONTROL.match(self.path):
            self.hub.log.add(entry)
            if self.hub.verbose:
                print(f"{self.command} {self.path} {asked or ''} -> {status}", file=sys.stderr, flush=True)
        return entry

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """The base class's own log lines are not wanted."""
