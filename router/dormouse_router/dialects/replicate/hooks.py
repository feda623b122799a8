"""Which receivers are told what of a prediction, and how often. Pure."""

import secrets
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from dormouse_router.dialects.replicate.objects import Object, is_ended, told
from dormouse_router.dialects.replicate.requests import EVENTS, CreateRequest
from dormouse_router.notifying import PASSING, Delivery
from dormouse_router.webhooks.patience import LIFE
from dormouse_router.webhooks.receivers import Receivers

EVERY = 0.5
"""Seconds between two messages of output or logs, at least."""
MOST_TOLD = 1024 * 1024
"""Bytes of a message that is not the last one; where it would have more, it comes without input and output."""


class Hook(Struct, frozen=True):
    """A receiver, as it is kept with the prediction."""

    url: str
    host: str
    events: list[str]


def hook_of(wish: CreateRequest, receivers: Receivers) -> Hook | None:
    """What the request asks for. UrlError where the URL is not called."""
    url, events = wish.webhook, wish.webhook_events_filter
    if url is None and wish.webhook_completed is not None:
        url, events = wish.webhook_completed, ["completed"]
    if not url:
        return None
    return Hook(url, receivers.receiver(url).host, [*EVENTS] if events is None else [*events])


@dataclass(slots=True)
class Teller:
    """Decides at each change of one prediction what is to be told of it."""

    hook: Hook | None
    owner: str
    base: str
    owed: list[Delivery] = field(default_factory=list)
    """What is to be kept with the prediction; whoever has kept it clears the list."""
    _begun: bool = False
    _due: float = 0.0
    _before: Object = field(default_factory=dict)

    def pause(self, prediction: Object, now: float) -> float | None:
        """Seconds until this change may be told; None where nobody is to be."""
        if self.hook is None or not self._changed(prediction):
            return None
        return max(0.0, self._due - now)

    def went_on(self, prediction: Object, now: float) -> None:
        """It has begun, or has more output or logs, which is told if it is time."""
        if not self._begun:
            self._begun, self._before = True, prediction
            self._owe("start", prediction, now)
        elif (kind := self._changed(prediction)) is not None and now >= self._due:
            self._before, self._due = prediction, now + EVERY
            self._owe(kind, prediction, now)

    def ended(self, before: Object, prediction: Object, now: float) -> list[Delivery]:
        """All that is still owed once it has ended, which it was not yet in `before`."""
        if not self._begun and before["started_at"] is not None:
            self.went_on(before, now)
        self._owe("completed", prediction, now)
        return self.owed

    def _changed(self, prediction: Object) -> str | None:
        """What to call the change, in an event that was asked for."""
        events = self.hook.events if self.hook is not None else ()
        return next((name for name in ("output", "logs") if name in events and self._differs(name, prediction)), None)

    def _differs(self, name: str, prediction: Object) -> bool:
        return bool(prediction[name]) and prediction[name] != self._before.get(name)

    def _owe(self, kind: str, prediction: Object, now: float) -> None:
        hook = self.hook
        if hook is None or kind not in hook.events:
            return
        body = msgspec.json.encode(told(prediction, self.base))
        if len(body) > MOST_TOLD and not is_ended(prediction):
            body = msgspec.json.encode(told(prediction | {"input": {}, "output": None}, self.base))
        made = Delivery(
            message_id=f"msg_{secrets.token_hex(16)}",
            owner=self.owner,
            endpoint="",
            url=hook.url,
            host=hook.host,
            kind=kind,
            subject=prediction["id"],
            body=body,
            created_at=now,
            due_at=now,
            expires_at=now + LIFE,
            final=kind == "completed",
        )
        self.owed = [owed for owed in self.owed if owed.kind not in PASSING] + [made]
