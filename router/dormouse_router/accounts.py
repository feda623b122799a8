"""Keys, users and signing keys as `access` sees them: types and a protocol, no database.

Nothing in them opens anything, but for a signing key: who may read the store's table of these may make tokens.
"""

from dataclasses import dataclass
from typing import Protocol

from dormouse_router.request import Refusal

MOST_KEYS = 1000
"""Keys of one owner."""
MOST_LISTED = 1000


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An API key that was made here. Times are seconds since the epoch."""

    id: str
    sealed: str
    """`credential.sealed` of the key, which itself is kept nowhere."""
    owner: str
    """`Caller.owner` of whoever comes with it, and whose key it is."""
    who: str
    """`Caller.id` of the same."""
    name: str
    shown: str
    """Its beginning, for people to tell it from others."""
    grants: bytes
    """JSON: what it may (`grants.Grants`)."""
    created_at: float
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class UserRecord:
    """Somebody with a password."""

    name: str
    password: str
    """Its hash, as the library writes it."""
    grants: bytes
    created_at: float


@dataclass(frozen=True, slots=True)
class SigningKey:
    """With which tokens are signed."""

    id: str
    private: str
    """A JWK, JSON."""
    created_at: float
    expires_at: float
    """From then on no token signed with it is good."""


class Accounts(Protocol):
    """Refusal 503 where they cannot be reached."""

    async def add_key(self, key: KeyRecord) -> None:
        """Refusal 429 where its owner has MOST_KEYS."""
        ...

    async def key_by(self, sealed: str) -> KeyRecord | None: ...

    async def keys(self, owner: str | None) -> list[KeyRecord]:
        """The owner's, or everybody's; newest first, at most MOST_LISTED."""
        ...

    async def drop_key(self, id: str, owner: str | None) -> KeyRecord | None:  # noqa: A002 - as the API calls it
        """The key that is gone now; None where the owner (None: anybody) has none such."""
        ...

    async def add_user(self, user: UserRecord) -> bool:
        """Whether the name was free."""
        ...

    async def user(self, name: str) -> UserRecord | None: ...

    async def users(self) -> list[UserRecord]:
        """By name, at most MOST_LISTED."""
        ...

    async def put_user(self, user: UserRecord) -> bool:
        """Change one that is there; whether it is."""
        ...

    async def drop_user(self, name: str, owner: str) -> bool:
        """The user, and all keys of that owner; whether there was one."""
        ...

    async def signing_keys(self) -> list[SigningKey]:
        """Those that are still good, newest first."""
        ...

    async def add_signing_key(self, key: SigningKey, after: str | None) -> bool:
        """Unless another one has come since `after`, the newest one that the caller knows; whether it was added."""
        ...


def too_many_keys() -> Refusal:
    text = f"You have {MOST_KEYS} API keys: delete one before you make another."
    return Refusal(429, text, code="too_many_keys", should_retry=False)
