"""Webhooks that are owed, as dialects and the deliverer see them: types and protocols, no HTTP, no database.

A delivery is a row until it has arrived or was given up: a crash repeats one, and never loses it. Whose secret signs it
is known only when it is sent. Where the store cannot be used, what is called raises Refusal 503.
"""

import base64
import hashlib
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

PASSING = ("output", "logs")
"""Kinds of messages that the next one of their subject says again."""

MOST_RETIRING = 4


@dataclass(frozen=True, slots=True)
class Event:
    """Something that the operator's own endpoints are told of, in OpenAI's words: a batch or a response has ended."""

    kind: str
    """batch.completed, response.failed, ..."""
    subject: str
    """The id of the batch or response."""
    created_at: float

    @property
    def id(self) -> str:
        """The same whoever tells of it, and however often: an end happens once."""
        return f"evt_{hashlib.sha256(f'{self.kind} {self.subject}'.encode()).hexdigest()[:32]}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one receiver. Times are seconds since the epoch."""

    message_id: str
    """The webhook-id: the same at every attempt, so that a receiver knows a repetition."""
    owner: str
    """Of the secret that signs it (`keeping.request_owner`)."""
    endpoint: str
    """The name of the operator's endpoint whose secrets sign it; "": the owner's does."""
    url: str
    host: str
    """Of the URL: no receiver is sent everything at once."""
    kind: str
    subject: str
    body: bytes
    created_at: float
    due_at: float
    """When it is to be tried."""
    expires_at: float
    """From then on nobody tries any more."""
    final: bool = True
    """It tells of an end: worth more patience than what the next message says again."""
    attempts: int = 0
    """Tries that were begun; with the id, the right to say what became of the last one."""
    id: str = field(default_factory=lambda: f"whd_{secrets.token_hex(16)}")


@dataclass(frozen=True, slots=True)
class Keys:
    """An owner's secrets, `whsec_` and base64."""

    current: str
    retiring: tuple[tuple[str, float], ...] = ()
    """(secret, until when it signs as well): those before it, the newest first."""

    def signing(self, now: float) -> list[str]:
        """Those that sign a message now."""
        return [self.current, *(secret for secret, until in self.retiring if until > now)]

    def rotated(self, until: float) -> "Keys":
        """With a new one; the one there is signs as well until `until`, those before it as long as was said."""
        return Keys(new_secret(), ((self.current, until), *self.retiring)[:MOST_RETIRING])


class Webhooks(Protocol):
    """Deliveries that are owed, and the secrets of owners."""

    async def post(self, deliveries: Sequence[Delivery]) -> None:
        """They are owed from now on. What is `PASSING` of their subjects, and was not tried yet, makes way for them."""
        ...

    async def announce(self, event: Event) -> None:
        """Tell the operator's endpoints. Within a transaction of a database, `store.outbox.announce` does it."""
        ...

    async def spread(self, addressed: Callable[[Event], Sequence[Delivery]], most: int) -> int:
        """Make of at most `most` announced events the deliveries that they are; how many there were."""
        ...

    async def claim(
        self, now: float, until: float, most: int, hosts: Collection[str] = (), subjects: Collection[str] = ()
    ) -> list[Delivery]:
        """At most `most` that are due, the longest due first, for a try that ends before `until`: nobody else gets them
        before then. None for these hosts nor of these subjects."""
        ...

    async def arrived(self, delivery: Delivery) -> None:
        """It was taken, or is given up: forget it, unless somebody else tries it by now."""
        ...

    async def again(self, delivery: Delivery, at: float) -> None:
        """It failed: try it once more at `at`, unless somebody else tries it by now."""
        ...

    async def keys(self, owner: str) -> Keys:
        """The owner's secrets, made when they are asked for first."""
        ...

    async def rotate(self, owner: str, until: float) -> Keys:
        """Give the owner a new secret; those there are sign as well until `until`."""
        ...


def new_secret() -> str:
    """A secret as Standard Webhooks has them: 32 random bytes."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
