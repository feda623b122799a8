"""Tokens of those who came with a password, and the keys that sign them.

Keys are in the store, so that every router knows every other's tokens. The newest signs; a new one is made when it has
signed for `ROTATE_SECONDS`, or when an admin says so, and the old ones are good until the last token of theirs has
expired. Who meets a key that it does not know looks into the store again, though not at every wrong token.
"""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from dormouse_router.accounts import Accounts, SigningKey, UserRecord

ROTATE_SECONDS = 30 * 86400.0
LOOK_SECONDS = 5.0
FRESH_SECONDS = 60.0
ALGORITHM, ISSUER = "Ed25519", "dormouse"


@dataclass(frozen=True, slots=True)
class Signed:
    """What a good token says."""

    user: str
    mark: str
    """`mark_of` its user when it was made."""
    expires: float


class Signer:
    """One per router. Times are seconds since the epoch."""

    def __init__(self, accounts: Accounts, seconds: float, clock: Callable[[], float] = time.time) -> None:
        """`seconds`: how long a token is good."""
        self._accounts, self._seconds, self._clock = accounts, seconds, clock
        self._keys: list[SigningKey] = []
        self._looked = float("-inf")

    async def token(self, user: UserRecord) -> tuple[str, float]:
        """A token, and for how many seconds it is good. Refusal 503."""
        now = self._clock()
        key = await self._newest(now)
        claims = {"iss": ISSUER, "sub": user.name, "mark": mark_of(user), "iat": int(now), "exp": now + self._seconds}
        header = {"alg": ALGORITHM, "kid": key.id}
        return jwt.encode(header, claims, _imported(key), algorithms=[ALGORITHM]), self._seconds

    async def verified(self, token: str) -> Signed | None:
        """What it says; None where it is none of ours, or no longer. Refusal 503."""
        ident = key_ident(token)
        if ident is None:
            return None
        now = self._clock()
        key = next((each for each in self._keys if each.id == ident), None)
        if key is None and now - self._looked >= LOOK_SECONDS:
            await self._look(now)
            key = next((each for each in self._keys if each.id == ident), None)
        if key is None or key.expires_at <= now:
            return None
        try:
            claims = jwt.decode(token, _imported(key), algorithms=[ALGORITHM]).claims
        except (JoseError, ValueError):
            return None
        ours = claims.get("iss") == ISSUER and claims.get("exp", 0) > now
        return Signed(str(claims["sub"]), str(claims["mark"]), float(claims["exp"])) if ours else None

    async def rotate(self) -> SigningKey:
        """A new key, with which all that is signed from now on is signed. Refusal 503."""
        now = self._clock()
        await self._look(now)
        made = _made(now, now + ROTATE_SECONDS + self._seconds + FRESH_SECONDS)
        await self._accounts.add_signing_key(made, self._keys[0].id if self._keys else None)
        await self._look(now)
        return self._keys[0]  # ours, or that of a router which was faster

    async def _newest(self, now: float) -> SigningKey:
        if now - self._looked >= FRESH_SECONDS:
            await self._look(now)
        newest = self._keys[0] if self._keys else None
        if newest is None or now - newest.created_at >= ROTATE_SECONDS:
            return await self.rotate()
        return newest

    async def _look(self, now: float) -> None:
        self._keys, self._looked = await self._accounts.signing_keys(), now


def mark_of(user: UserRecord) -> str:
    """Another one when the password is: the old tokens end with it."""
    return hashlib.sha256(user.password.encode()).hexdigest()[:16]


def key_ident(token: str) -> str | None:
    """Which of our keys a token says it is signed with; None of any other token."""
    try:
        header = json.loads(_padded(token.partition(".")[0]))
    except ValueError:
        return None
    ident = header.get("kid") if isinstance(header, dict) and header.get("alg") == ALGORITHM else None
    return ident if isinstance(ident, str) and ident.startswith("dm-") else None


def _padded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _made(now: float, expires: float) -> SigningKey:
    private = OKPKey.generate_key("Ed25519").as_dict(private=True)
    return SigningKey(f"dm-{secrets.token_hex(8)}", json.dumps(private), now, expires)


def _imported(key: SigningKey) -> OKPKey:
    return OKPKey.import_key(json.loads(key.private))
