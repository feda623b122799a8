"""Users with passwords: registered, signed in, changed, and known again by their tokens."""

import hmac
import time
from collections.abc import Callable
from dataclasses import replace

import msgspec

from dormouse_router.access.gate import KNOWN_SECONDS, Found
from dormouse_router.access.grants import Grants, decoded, user_caller
from dormouse_router.access.passwords import Passwords
from dormouse_router.access.settings import AccessSettings
from dormouse_router.access.signing import Signer, mark_of
from dormouse_router.access.throttle import Throttle
from dormouse_router.accounts import Accounts, SigningKey, UserRecord
from dormouse_router.request import Refusal

MOST_OF_ONE = 100
"""Wrong passwords a minute for one name, from everywhere together."""


class Users:
    """What the routes of users are over. `forget` is called when somebody may less than before."""

    def __init__(
        self,
        accounts: Accounts,
        settings: AccessSettings,
        forget: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._accounts, self._settings, self._clock = accounts, settings, clock
        self._forget = forget
        self._passwords = Passwords()
        self._signer = Signer(accounts, settings.token_seconds, clock)
        self._tries, self._names = Throttle(), Throttle(MOST_OF_ONE)

    async def register(self, name: str, password: str, peer: str) -> UserRecord:
        """Refusal 403 where nobody may, 409 where there is such a user, 429."""
        if not self._settings.register:
            text = "Users cannot register here: ask an admin for a key, or to set router.access.register to Allowed."
            raise Refusal(403, text, code="registration_forbidden")
        self._patience(name, peer)
        self._tries.failed(peer, self._clock())  # a minute has so many registrations too
        return await self.add(name, password, Grants())

    async def add(self, name: str, password: str, grants: Grants) -> UserRecord:
        """Refusal 409 where there is such a user."""
        hashed = await self._passwords.hashed(password)
        user = UserRecord(name, hashed, msgspec.json.encode(grants), self._clock())
        if not await self._accounts.add_user(user):
            raise Refusal(409, f"There is a user '{name}' already: choose another name.", code="user_exists")
        return user

    async def sign_in(self, name: str, password: str, peer: str) -> tuple[str, float]:
        """A token, and for how many seconds it is good. Refusal 401, 429."""
        self._patience(name, peer)
        user = await self._accounts.user(name)
        if not await self._passwords.fits(None if user is None else user.password, password) or user is None:
            now = self._clock()
            self._tries.failed(peer, now)
            self._names.failed(name, now)
            text = "There is no such user, or the password is wrong."
            raise Refusal(401, text, code="invalid_grant", should_retry=False)
        return await self._signer.token(user)

    async def change(self, name: str, password: str | None, grants: Grants | None) -> UserRecord:
        """Refusal 404. With another password the user's tokens end."""
        old = await self._accounts.user(name)
        if old is None:
            raise unknown(name)
        new = old if password is None else replace(old, password=await self._passwords.hashed(password))
        new = new if grants is None else replace(new, grants=msgspec.json.encode(grants))
        if not await self._accounts.put_user(new):
            raise unknown(name)
        self._forget()
        return new

    async def drop(self, name: str) -> None:
        """With all its keys. Refusal 404."""
        if not await self._accounts.drop_user(name, f"user:{name}"):
            raise unknown(name)
        self._forget()

    async def listed(self) -> list[UserRecord]:
        return await self._accounts.users()

    async def rotate(self) -> SigningKey:
        """Sign with a new key from now on."""
        return await self._signer.rotate()

    def _patience(self, name: str, peer: str) -> None:
        now = self._clock()
        wait = max(self._tries.wait(peer, now), self._names.wait(name, now))
        if wait:
            text = "Too many wrong passwords: try again later."
            raise Refusal(429, text, code="rate_limit_exceeded", retry_after=wait)


class UserTokens:
    """`gate.Source` of those who signed in."""

    def __init__(self, accounts: Accounts, settings: AccessSettings, clock: Callable[[], float] = time.time) -> None:
        self._accounts, self._settings = accounts, settings
        self._signer = Signer(accounts, settings.token_seconds, clock)

    def at_once(self, _looked_up: bytes, _now: float) -> None:
        """Never: who they are is in the store."""
        return

    async def find(self, shown: bytes, _looked_up: bytes, now: float) -> Found | None:
        signed = await self._signer.verified(shown.decode("latin-1"))
        user = None if signed is None else await self._accounts.user(signed.user)
        if signed is None or user is None or not hmac.compare_digest(signed.mark.encode(), mark_of(user).encode()):
            return None
        caller = user_caller(f"user:{user.name}", decoded(user.grants), self._settings, "user")
        return Found(caller, min(now + KNOWN_SECONDS, signed.expires))


def unknown(name: str) -> Refusal:
    return Refusal(404, f"There is no user '{name[:128]}'.", code="user_not_found")
