"""Keys, users and signing keys in this process: `accounts.Accounts` of a router that keeps nothing."""

import hmac
import time
from collections.abc import Callable
from dataclasses import replace

from dormouse_router.accounts import MOST_KEYS, MOST_LISTED, KeyRecord, SigningKey, UserRecord, too_many_keys


class MemoryAccounts:
    """Gone with the process."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._keys: dict[str, KeyRecord] = {}
        self._users: dict[str, UserRecord] = {}
        self._signing: list[SigningKey] = []

    async def add_key(self, key: KeyRecord) -> None:
        if sum(each.owner == key.owner for each in self._keys.values()) >= MOST_KEYS:
            raise too_many_keys()
        self._keys[key.id] = key

    async def key_by(self, sealed: str) -> KeyRecord | None:
        return next((key for key in self._live() if hmac.compare_digest(key.sealed, sealed)), None)

    async def keys(self, owner: str | None) -> list[KeyRecord]:
        found = [key for key in self._live() if owner is None or key.owner == owner]
        return sorted(found, key=lambda key: (key.created_at, key.id), reverse=True)[:MOST_LISTED]

    async def drop_key(self, id: str, owner: str | None) -> KeyRecord | None:  # noqa: A002
        found = self._keys.get(id)
        return None if found is None or owner not in (None, found.owner) else self._keys.pop(id)

    async def add_user(self, user: UserRecord) -> bool:
        return self._users.setdefault(user.name, user) is user

    async def user(self, name: str) -> UserRecord | None:
        return self._users.get(name)

    async def users(self) -> list[UserRecord]:
        return sorted(self._users.values(), key=lambda user: user.name)[:MOST_LISTED]

    async def put_user(self, user: UserRecord) -> bool:
        old = self._users.get(user.name)
        if old is not None:
            self._users[user.name] = replace(user, created_at=old.created_at)
        return old is not None

    async def drop_user(self, name: str, owner: str) -> bool:
        self._keys = {key.id: key for key in self._keys.values() if key.owner != owner}
        return self._users.pop(name, None) is not None

    async def signing_keys(self) -> list[SigningKey]:
        now = self._clock()
        return [key for key in reversed(self._signing) if key.expires_at > now]

    async def add_signing_key(self, key: SigningKey, after: str | None) -> bool:
        there = await self.signing_keys()
        if (there[0].id if there else None) != after:
            return False
        self._signing.append(key)
        return True

    def _live(self) -> list[KeyRecord]:
        now = self._clock()
        return [key for key in self._keys.values() if key.expires_at is None or key.expires_at > now]
