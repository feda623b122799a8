"""Keys that were made here: made, listed, revoked, and known again when they come back."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from dormouse_router.access import credential
from dormouse_router.access.gate import KNOWN_SECONDS, Found
from dormouse_router.access.grants import Grants, Stored, bounded, decoded, key_caller, unbounded, within
from dormouse_router.access.settings import AccessSettings
from dormouse_router.accounts import Accounts, KeyRecord
from dormouse_router.caller import Caller, Role
from dormouse_router.request import Refusal


@dataclass(frozen=True, slots=True)
class Wish:
    """A key as it is asked for."""

    name: str
    grants: Grants
    seconds: float | None = None
    """How long it is good."""
    user: str | None = None
    """Whose it shall be, where that is not whoever asks: an admin may."""


class StoredKeys:
    """`gate.Source`, and what the routes of keys are over. `forget` is called with what a revoked key is known by."""

    def __init__(
        self,
        accounts: Accounts,
        settings: AccessSettings,
        forget: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._accounts, self._settings, self._clock = accounts, settings, clock
        self.forget = forget

    def at_once(self, _looked_up: bytes, _now: float) -> None:
        """Never: they are in the store."""
        return

    async def find(self, shown: bytes, looked_up: bytes, now: float) -> Found | None:
        if not shown.startswith(credential.PREFIX.encode()):
            return None
        record = await self._accounts.key_by(credential.sealed(looked_up, self._settings.pepper.encode()))
        if record is None:
            return None
        granted = await self._now(record.who, decoded(record.grants))
        if granted is None:
            return None
        caller = key_caller(record.who, record.owner, f"key:{record.id}", granted, self._settings)
        until = now + KNOWN_SECONDS
        return Found(caller, until if record.expires_at is None else min(until, record.expires_at))

    async def _now(self, who: str, granted: Stored) -> Stored | None:
        """What is left of a key's rights, if its user has fewer than when it was made."""
        if not granted.bound:
            return granted
        user = await self._accounts.user(who.removeprefix("user:"))
        return None if user is None else bounded(granted, decoded(user.grants))

    async def make(self, wish: Wish, caller: Caller) -> tuple[KeyRecord, str]:
        """The record of a new key of the caller's, and the key, which nobody can tell again. Refusal 403, 429."""
        owner, who = (caller.owner, caller.id) if wish.user is None else (f"user:{wish.user}",) * 2
        if not unbounded(caller):
            self._check(wish, caller)
        key, now = credential.new_key(), self._clock()
        record = KeyRecord(
            id=f"key_{secrets.token_hex(12)}",
            sealed=credential.sealed(credential.digest(key.encode()), self._settings.pepper.encode()),
            owner=owner,
            who=who,
            name=wish.name,
            shown=credential.shown(key),
            grants=msgspec.json.encode(_stored(wish, caller)),
            created_at=now,
            expires_at=None if wish.seconds is None else now + wish.seconds,
        )
        await self._accounts.add_key(record)
        return record, key

    async def listed(self, caller: Caller, *, everybody: bool = False) -> list[KeyRecord]:
        """The caller's own, or for an admin everybody's."""
        return await self._accounts.keys(None if everybody and caller.role is Role.ADMIN else caller.owner)

    async def revoke(self, ident: str, caller: Caller) -> bool:
        """Whether there was such a key, of the caller's or, for an admin, of anybody's."""
        gone = await self._accounts.drop_key(ident, None if caller.role is Role.ADMIN else caller.owner)
        if gone is not None:
            self.forget()
        return gone is not None

    def _check(self, wish: Wish, caller: Caller) -> None:
        try:
            if wish.user is not None:
                raise ValueError("only an admin makes keys for others")
            within(wish.grants, caller, self._settings.key_limits)
        except ValueError as error:
            raise Refusal(403, f"This key cannot be made: {error}.", code="insufficient_role") from None


def _stored(wish: Wish, caller: Caller) -> Stored:
    bound = wish.user is None and (caller.kind == "user" or caller.bound)
    return Stored(**msgspec.structs.asdict(wish.grants), own=not unbounded(caller), bound=bound)
