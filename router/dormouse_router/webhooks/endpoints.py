"""The operator's own endpoints, told of batches and responses that ended: a file, read again when it changes."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog
from msgspec import Struct

from dormouse_router.notifying import Delivery, Event
from dormouse_router.webhooks.patience import LIFE
from dormouse_router.webhooks.receivers import Receiver, Receivers, UrlError
from dormouse_router.webhooks.signing import signed

log = structlog.get_logger()
MOST = 32
EVERY = 10.0
"""Seconds between looks at the file: the kubelet takes longer to write it."""
EVENTS = frozenset(
    [f"batch.{end}" for end in ("completed", "failed", "expired", "cancelled")]
    + [f"response.{end}" for end in ("completed", "failed", "cancelled", "incomplete")]
)


class Endpoint(Struct, frozen=True, forbid_unknown_fields=True):
    """One of them, as the file has it."""

    name: str
    url: str
    secrets: list[str]
    """`whsec_` and base64; each signs, so a new one is put beside the old until the receiver knows it."""
    events: list[str] | None = None
    """Which; None: all."""


class Endpoints:
    """What the file says."""

    def __init__(self, path: str, receivers: Receivers) -> None:
        """`path`: "" for none."""
        self._path, self._receivers = path, receivers
        self._text = b""
        self._looked: float | None = None
        self._known: dict[str, tuple[Endpoint, Receiver]] = {}

    async def refresh(self, now: float) -> None:
        """Read the file if it is time; what is wrong in it is told in the log, and what was known stays."""
        if not self._path or (self._looked is not None and now - self._looked < EVERY):
            return
        self._looked = now
        try:
            text = await asyncio.to_thread(Path(self._path).read_bytes)
            if text == self._text:
                return
            self._text = text
            self._known = parsed(text, self._receivers)
            log.info("webhook endpoints", names=sorted(self._known))
        except (OSError, ValueError) as error:
            log.error("the webhook endpoints cannot be used", file=self._path, why=str(error))

    def find(self, name: str) -> tuple[Endpoint, Receiver] | None:
        return self._known.get(name)

    def addressed(self, event: Event) -> Sequence[Delivery]:
        """What is owed to whom, once `event` has happened."""
        body = encoded(event)
        now = time.time()
        return [
            Delivery(
                message_id=event.id,
                owner="",
                endpoint=endpoint.name,
                url=endpoint.url,
                host=receiver.host,
                kind=event.kind,
                subject=event.subject,
                body=body,
                created_at=event.created_at,
                due_at=now,
                expires_at=now + LIFE,
            )
            for endpoint, receiver in self._known.values()
            if endpoint.events is None or event.kind in endpoint.events
        ]


def encoded(event: Event) -> bytes:
    """The event as OpenAI has it: which object it is about, and no word of what is in it."""
    fields = {
        "id": event.id,
        "object": "event",
        "created_at": int(event.created_at),
        "type": event.kind,
        "data": {"id": event.subject},
    }
    return msgspec.json.encode(fields)


def parsed(text: bytes, receivers: Receivers) -> dict[str, tuple[Endpoint, Receiver]]:
    """The endpoints in a file. ValueError with the fix."""
    try:
        listed = msgspec.json.decode(text, type=list[Endpoint])
    except msgspec.DecodeError as error:
        raise ValueError(f'write [{{"name": "...", "url": "...", "secrets": ["whsec_..."]}}]: {error}') from error
    if len(listed) > MOST:
        raise ValueError(f"there are {len(listed)} endpoints: {MOST} are the most")
    found: dict[str, tuple[Endpoint, Receiver]] = {}
    for endpoint in listed:
        if not endpoint.name or endpoint.name in found:
            raise ValueError(f"'{endpoint.name}' is the name of two endpoints, or none: give each its own")
        found[endpoint.name] = (endpoint, _receiver(endpoint, receivers))
    return found


def _receiver(endpoint: Endpoint, receivers: Receivers) -> Receiver:
    unknown = sorted(set(endpoint.events or ()) - EVENTS)
    if unknown:
        raise ValueError(f"'{endpoint.name}': there is no event {unknown[0]}: {', '.join(sorted(EVENTS))}")
    if not endpoint.secrets:
        raise ValueError(f"'{endpoint.name}' has no secrets: give it one, whsec_ and 32 random bytes in base64")
    try:
        signed("msg", b"{}", endpoint.secrets, 0.0)
    except Exception as error:
        raise ValueError(f"'{endpoint.name}': a secret is not whsec_ and base64") from error
    try:
        return receivers.receiver(endpoint.url, trusted=True)
    except UrlError as error:
        raise ValueError(f"'{endpoint.name}': {error}") from error
