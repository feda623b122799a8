"""Everything kept in this process: gone when it ends, unknown to other routers, bounded in bytes.

Who has been used least lately goes first when the bound is reached.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from dormouse_router.keeping import MAX_CHAIN, Keeping, Message, StoredResponse
from dormouse_router.notifying import Event
from dormouse_router.store.memory_accounts import MemoryAccounts
from dormouse_router.store.memory_predictions import MemoryPredictions, MemoryWebhooks
from dormouse_router.store.memory_usage import MemoryUsage
from dormouse_router.store.turns import joined, parted

MAX_BYTES = 64 * 1024 * 1024
"""Of all sessions together, and of all responses together."""
Clock = Callable[[], float]


class MemoryResponses:
    """`keeping.Responses`."""

    def __init__(self, clock: Clock = time.time, most: int = MAX_BYTES, webhooks: MemoryWebhooks | None = None) -> None:
        self._clock, self._most, self._webhooks = clock, most, webhooks or MemoryWebhooks()
        self._kept: OrderedDict[str, StoredResponse] = OrderedDict()
        self._bytes = 0

    async def put(self, response: StoredResponse, event: Event | None = None) -> None:
        old = self._kept.get(response.id)
        if old is not None and old.owner != response.owner:
            return
        self._drop(response.id)
        self._kept[response.id] = response
        self._bytes += _size(response)
        while self._bytes > self._most:
            self._drop(next(iter(self._kept)))
        if event is not None:
            await self._webhooks.announce(event)

    async def get(self, id: str, owner: str) -> StoredResponse | None:  # noqa: A002
        found = self._kept.get(id)
        if found is None or found.owner != owner:
            return None
        if found.expires_at is not None and found.expires_at <= self._clock():
            self._drop(id)
            return None
        self._kept.move_to_end(id)
        return found

    async def delete(self, id: str, owner: str) -> bool:  # noqa: A002
        found = await self.get(id, owner) is not None
        if found:
            self._drop(id)
        return found

    async def chain(self, id: str, owner: str) -> list[StoredResponse] | None:  # noqa: A002
        links: list[StoredResponse] = []
        wanted: str | None = id
        while wanted is not None:
            link = await self.get(wanted, owner)
            if link is None or len(links) == MAX_CHAIN:
                return None
            links.append(link)
            wanted = link.previous_id
        return links[::-1]

    def _drop(self, ident: str) -> None:
        if (old := self._kept.pop(ident, None)) is not None:
            self._bytes -= _size(old)


def _size(response: StoredResponse) -> int:
    return len(response.body) + len(response.input_items)


@dataclass
class _Session:
    expires_at: float = 0.0
    system: bytes | None = None
    messages: list[bytes] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.system or b"") + sum(map(len, self.messages))


class MemorySessions:
    """`keeping.Sessions`. Messages are kept encoded, so that nobody changes one that was given out."""

    def __init__(self, clock: Clock = time.time, most: int = MAX_BYTES) -> None:
        self._clock, self._most = clock, most
        self._kept: OrderedDict[tuple[str, str], _Session] = OrderedDict()
        self._bytes = 0

    async def history(self, owner: str, session: str) -> list[Message]:
        found = self._live((owner, session))
        if found is None:
            return []
        return joined(found.system, found.messages)

    async def append(self, owner: str, session: str, messages: list[Message], keep: int, ttl: float) -> None:
        key = (owner, session)
        kept = self._live(key) or _Session()
        self._drop(key)
        system, others = parted(messages)
        kept.system = system or kept.system
        kept.messages = [*kept.messages, *others][-keep:]
        kept.expires_at = self._clock() + ttl
        self._kept[key] = kept
        self._bytes += kept.size
        while self._bytes > self._most:
            self._drop(next(iter(self._kept)))

    async def delete(self, owner: str, session: str) -> bool:
        found = self._live((owner, session)) is not None
        self._drop((owner, session))
        return found

    def _live(self, key: tuple[str, str]) -> _Session | None:
        found = self._kept.get(key)
        if found is not None and found.expires_at <= self._clock():
            self._drop(key)
            return None
        return found

    def _drop(self, key: tuple[str, str]) -> None:
        if (old := self._kept.pop(key, None)) is not None:
            self._bytes -= old.size


def in_memory() -> Keeping:
    """All of it in memory."""
    from dormouse_router.files import files_in_memory  # its library is for those who have files

    stored = files_in_memory()
    webhooks = MemoryWebhooks()
    kept = (MemoryResponses(webhooks=webhooks), MemorySessions(), stored.files, stored.uploads)
    return Keeping(
        *kept,
        predictions=MemoryPredictions(webhooks),
        webhooks=webhooks,
        batches=stored.batches,
        work=stored.work,
        accounts=MemoryAccounts(),
        usage=MemoryUsage(),
    )
