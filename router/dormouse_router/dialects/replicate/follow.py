"""A prediction as a stream of server-sent events: output, logs, error, done. From any router, and from any place on.

The id of an event says how much has been told: `outputs:characters of logs`. Whoever comes back with it goes on there.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from dormouse_router.dialects.replicate.objects import Object, is_ended
from dormouse_router.predicting import CANCELED, FAILED

QUIET_SECONDS = 15.0
"""Proxies between us and a client may cut a stream that is silent for longer."""
LOOK_SECONDS = 0.5
"""Between looks at a prediction that another router makes."""
COMMENT = b": it goes on\n\n"
_ID = re.compile(r"([0-9]{1,9}):([0-9]{1,9})", re.ASCII)
_LINES = re.compile("\r\n|\r|\n")
ANEW = "The prediction was begun anew by another router: its output is another one. Follow it again."


class Source(Protocol):
    """Where predictions are looked at (`desk.Desk`)."""

    async def now(self, ident: str, owner: str) -> Object: ...

    async def changed(self, ident: str, owner: str, seconds: float) -> None: ...


@dataclass(slots=True)
class Told:
    """How much a follower has been told."""

    outputs: int = 0
    logs: int = 0

    @property
    def id(self) -> str:
        return f"{self.outputs}:{self.logs}"


def place(last_event_id: str | None) -> Told:
    """Where a follower was; the beginning, where it does not say."""
    found = _ID.fullmatch(last_event_id or "")
    return Told(int(found[1]), int(found[2])) if found else Told()


async def events(source: Source, ident: str, owner: str, told: Told) -> AsyncIterator[bytes]:
    """Until the prediction has ended."""
    quiet = 0.0
    while True:
        now = await source.now(ident, owner)
        out = b"".join(news(now, told))
        if out:
            yield out
            quiet = 0.0
        elif quiet >= QUIET_SECONDS:
            yield COMMENT
            quiet = 0.0
        if is_ended(now) or out.startswith(b"event: error"):
            return
        await source.changed(ident, owner, LOOK_SECONDS)
        quiet += LOOK_SECONDS


def news(now: Object, told: Told) -> list[bytes]:
    """What has not been told yet of the prediction, as events; `told` is brought up to date."""
    made: list[bytes] = []
    logs: str = now["logs"]
    if len(logs) > told.logs:
        text, told.logs = logs[told.logs :], len(logs)
        made.append(_event("logs", text, told))
    output = now["output"]
    pieces = output if isinstance(output, list) else [] if output is None else [output]
    if len(pieces) < told.outputs:
        return [*made, _event("error", msgspec.json.encode({"detail": ANEW}).decode(), told)]
    for piece in pieces[told.outputs :]:
        told.outputs += 1
        made.append(_event("output", _text(piece), told))
    if is_ended(now):
        made += _end(now, told)
    return made


def _end(now: Object, told: Told) -> list[bytes]:
    if now["status"] == FAILED:
        detail = msgspec.json.encode({"detail": now["error"]}).decode()
        return [_event("error", detail, told), _event("done", '{"reason":"error"}', told)]
    return [_event("done", '{"reason":"canceled"}' if now["status"] == CANCELED else "{}", told)]


def _text(piece: Any) -> str:
    return piece if isinstance(piece, str) else msgspec.json.encode(piece).decode()


def _event(kind: str, data: str, told: Told) -> bytes:
    lines = "".join(f"data: {line}\n" for line in _LINES.split(data))
    return f"event: {kind}\nid: {told.id}\n{lines}\n".encode()
