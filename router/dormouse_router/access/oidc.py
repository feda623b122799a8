"""Tokens of an OpenID Connect provider: who they say somebody is, once they are verified.

The provider is asked for its keys alone: its configuration, then its JWKS, kept for an hour and read again when a token
names a key that is not among them. A token is ours if it is signed with one of them, by an algorithm that has two keys,
says this issuer and this audience, and has not expired.
"""

import asyncio
import base64
import contextlib
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import structlog
from joserfc import jwk, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from dormouse_router.access.gate import KNOWN_SECONDS, Found
from dormouse_router.access.grants import MOST, Grants, user_caller
from dormouse_router.access.settings import AccessSettings, Provider
from dormouse_router.request import Refusal

log = structlog.get_logger()
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"]
"""Those with a public key: with a shared one whoever verifies could sign."""
FETCH_SECONDS = 5.0
MOST_BYTES = 1024 * 1024
LOOK_SECONDS = 10.0
FRESH_SECONDS = 3600.0
LEEWAY = 30
"""Seconds that clocks may differ."""
_NAME = re.compile(r"[!-~]{1,240}")
"""Visible ASCII: it becomes the owner of what is kept, and of models (`dormouse_api.access.OwnerName`)."""


class Keys:
    """The provider's, fetched when they are needed; used on while it is away."""

    def __init__(self, issuer: str, clock: Callable[[], float] = time.time) -> None:
        self._issuer, self._clock = issuer.rstrip("/"), clock
        self._keys: KeySet | None = None
        self._fetched = self._tried = float("-inf")
        self._lock = asyncio.Lock()

    async def holding(self, ident: str | None) -> KeySet:
        """The keys, `ident` among them if the provider has such a key. Refusal 503 where there have never been any."""
        if self._due(ident):
            async with self._lock:
                if self._due(ident):
                    await self._look()
        if self._keys is None:
            text = "The provider of your token cannot be reached now: try again later."
            raise Refusal(503, text, code="provider_unavailable", retry_after=LOOK_SECONDS)
        return self._keys

    def _due(self, ident: str | None) -> bool:
        now = self._clock()
        known = self._keys is not None and any(key.kid == ident for key in self._keys)
        return now - self._tried >= LOOK_SECONDS and (not known or now - self._fetched >= FRESH_SECONDS)

    async def _look(self) -> None:
        self._tried = self._clock()
        try:
            async with asyncio.timeout(FETCH_SECONDS), aiohttp.ClientSession() as session:
                said = await _json(session, f"{self._issuer}/.well-known/openid-configuration")
                if str(said.get("issuer", "")).rstrip("/") != self._issuer:
                    raise ValueError(f"it calls itself {said.get('issuer')!r}")
                self._keys = _usable(await _json(session, str(said["jwks_uri"])))
            self._fetched = self._tried
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, JoseError) as error:
            log.error("the provider of tokens cannot be used", issuer=self._issuer, error=str(error) or repr(error))


class OidcTokens:
    """`gate.Source`."""

    def __init__(self, settings: AccessSettings, provider: Provider, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._provider, self._clock = settings, provider, clock
        self._keys = Keys(provider.issuer, clock)
        bare = provider.issuer.rstrip("/")
        self._issuers = (bare, f"{bare}/")
        """Its name: whether the slash at the end is part of it is written differently everywhere."""
        self._claims = jwt.JWTClaimsRegistry(
            now=lambda: int(clock()),
            leeway=LEEWAY,
            iss={"essential": True, "values": list(self._issuers)},
            aud={"essential": True, "value": provider.audience},
            exp={"essential": True},
            sub={"essential": True},
        )

    def at_once(self, _looked_up: bytes, _now: float) -> None:
        """Never: a signature is looked at once, and believed for a while."""
        return

    async def find(self, shown: bytes, _looked_up: bytes, now: float) -> Found | None:
        parts = unverified(shown)
        if parts is None or parts[1].get("iss") not in self._issuers:
            return None
        keys = await self._keys.holding(parts[0].get("kid"))
        try:
            token = jwt.decode(shown.decode("ascii"), keys, algorithms=ALGORITHMS)
            self._claims.validate(token.claims)
        except (JoseError, ValueError):
            return None
        who = self._who(token.claims)
        if who is None:
            return None
        caller = user_caller(f"oidc:{who}", self._grants(token.claims), self._settings, "oidc")
        return Found(caller, min(now + KNOWN_SECONDS, float(token.claims["exp"]) + LEEWAY))

    def _who(self, claims: Mapping[str, Any]) -> str | None:
        claim = self._provider.user_claim
        if claim == "email" and claims.get("email_verified") is not True:
            return None  # anybody may say that it has somebody else's
        name = claims.get(claim)
        return name if isinstance(name, str) and _NAME.fullmatch(name) else None

    def _grants(self, claims: Mapping[str, Any]) -> Grants:
        found = claims.get(self._provider.teams_claim)
        teams = tuple(team for team in found if isinstance(team, str)) if isinstance(found, list) else ()
        roles = (("admin", self._provider.admins), ("operator", self._provider.operators))
        role = next((role for role, groups in roles if not set(groups).isdisjoint(teams)), "user")
        return Grants(role=role, teams=teams[:MOST])


def unverified(shown: bytes) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Header and claims as a token says them, before anybody has looked whether that is true; None: it is no token."""
    parts = shown.split(b".")
    if len(parts) != 3:
        return None
    try:
        header, claims = (json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))) for part in parts[:2])
    except (ValueError, RecursionError):
        return None
    return (header, claims) if isinstance(header, dict) and isinstance(claims, dict) else None


def _usable(found: dict[str, Any]) -> KeySet:
    """Of a JWKS those that verify; a provider may have others, and of kinds that nobody here knows."""
    keys = []
    for each in found["keys"]:
        with contextlib.suppress(JoseError, ValueError, KeyError, TypeError):
            if each.get("use", "sig") == "sig" and each.get("kty") != "oct":
                keys.append(jwk.import_key(each))
    return KeySet(keys)


async def _json(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with session.get(url, allow_redirects=False) as answer:
        if answer.status != 200:
            raise ValueError(f"{url} answers {answer.status}")
        body = bytearray()
        async for piece in answer.content.iter_any():
            body += piece
            if len(body) > MOST_BYTES:
                raise ValueError(f"{url} has more than {MOST_BYTES} bytes")
    found = json.loads(body)
    if not isinstance(found, dict):
        raise ValueError(f"{url} is no JSON object")
    return found
