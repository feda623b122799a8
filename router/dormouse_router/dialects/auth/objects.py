"""What clients send to and get from `/v1/auth`. Pure."""

import msgspec

from dormouse_router.access.grants import NAME, Grants, decoded
from dormouse_router.access.stored import Wish
from dormouse_router.accounts import KeyRecord
from dormouse_router.caller import Caller
from dormouse_router.request import Refusal

Object = dict[str, object]
LIMITS = ("requests_per_minute", "tokens_per_minute", "concurrent", "enqueued_tokens", "storage_bytes")
LEAST_LIFE, LONGEST_LIFE = 60, 10 * 366 * 86400
"""Seconds of a key."""


class Granted(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a key or user may, as in `access.grants`."""

    role: str = "user"
    teams: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    requests_per_minute: int | msgspec.UnsetType | None = msgspec.UNSET
    tokens_per_minute: int | msgspec.UnsetType | None = msgspec.UNSET
    concurrent: int | msgspec.UnsetType | None = msgspec.UNSET
    enqueued_tokens: int | msgspec.UnsetType | None = msgspec.UNSET
    storage_bytes: int | msgspec.UnsetType | None = msgspec.UNSET

    def grants(self) -> Grants:
        """Refusal 400."""
        made = Grants(
            role=self.role,
            teams=self.teams,
            scopes=self.scopes,
            models=self.models,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            concurrent=self.concurrent,
            enqueued_tokens=self.enqueued_tokens,
            storage_bytes=self.storage_bytes,
        )
        try:
            made.check()
        except ValueError as error:
            raise Refusal(400, f"This cannot be granted: {error}.", code="invalid_value") from None
        return made


class KeyRequest(Granted, kw_only=True, forbid_unknown_fields=True):
    """POST /v1/auth/keys."""

    name: str
    expires_in: int | None = None
    """Seconds; null is for ever."""
    user: str | None = None

    def wish(self) -> Wish:
        """Refusal 400."""
        for field, value in (("name", self.name), ("user", self.user)):
            if value is not None and not NAME.fullmatch(value):
                text = f"{field} must be letters and digits, with . _ @ - in between, at most 128."
                raise Refusal(400, text, code="invalid_value", param=field)
        if self.expires_in is not None and not LEAST_LIFE <= self.expires_in <= LONGEST_LIFE:
            text = f"expires_in must be {LEAST_LIFE} to {LONGEST_LIFE} seconds, or null."
            raise Refusal(400, text, code="invalid_value", param="expires_in")
        return Wish(self.name, self.grants(), self.expires_in, self.user)


def key(record: KeyRecord, made: str | None = None) -> Object:
    """A key as it is listed; `made`: the key itself, this once."""
    shown: Object = {
        "id": record.id,
        "object": "auth.key",
        "name": record.name,
        "redacted_value": f"{record.shown}...",
        "owner": record.who,
        "created_at": int(record.created_at),
        "expires_at": None if record.expires_at is None else int(record.expires_at),
        **granted(decoded(record.grants)),
    }
    return shown if made is None else shown | {"key": made}


def granted(grants: Grants) -> Object:
    said = {name: value for name in LIMITS if (value := getattr(grants, name)) is not msgspec.UNSET}
    lists = {name: list(getattr(grants, name)) for name in ("teams", "scopes", "models")}
    return {"role": grants.role, **lists, **said}


def page(data: list[Object]) -> Object:
    return {"object": "list", "data": data, "has_more": False}


def caller(found: Caller) -> Object:
    """Who somebody is here."""
    limits = {
        name: {
            "requests_per_minute": each.requests,
            "tokens_per_minute": each.tokens,
            "concurrent": each.concurrent,
            "enqueued_tokens": each.enqueued,
            "storage_bytes": each.storage,
        }
        for name, each in found.limits.items()
    }
    return {
        "object": "auth.caller",
        "id": found.id,
        "kind": found.kind,
        "key": found.key_id,
        "role": found.role.name.lower(),
        "teams": sorted(found.teams),
        "scopes": sorted(found.scopes),
        "models": list(found.models),
        "limits": limits,
    }
