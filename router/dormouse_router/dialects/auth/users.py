"""What clients send to and get from the routes of users. Pure."""

from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec

from dormouse_router.access.grants import NAME, decoded
from dormouse_router.access.passwords import LEAST, MOST
from dormouse_router.accounts import SigningKey, UserRecord
from dormouse_router.dialects.auth.objects import Granted, Object, granted
from dormouse_router.request import Refusal

T = TypeVar("T", bound=msgspec.Struct)
_FORM = "application/x-www-form-urlencoded"


class Credentials(msgspec.Struct):
    """POST /v1/auth/register and /v1/auth/token."""

    username: str
    password: str


class UserRequest(Granted, kw_only=True, forbid_unknown_fields=True):
    """POST /v1/auth/users."""

    username: str
    password: str


class UserChange(msgspec.Struct, forbid_unknown_fields=True):
    """PATCH /v1/auth/users/{name}. What is absent stays."""

    password: str | None = None
    grants: Granted | None = None


def credentials(body: bytes, content_type: str) -> Credentials:
    """Of JSON, or of a form as OAuth's password grant has it. Refusal 400."""
    if content_type.partition(";")[0].strip().lower() == _FORM:
        fields = dict(parse_qsl(body.decode("utf-8", "replace")))
        body = msgspec.json.encode(fields)
    return decoded_as(Credentials, body)


def decoded_as(kind: type[T], body: bytes) -> T:
    """Refusal 400, which does not repeat what was sent."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(400, f"The body is not as it should be: {error}.", code="invalid_value") from None


def checked(name: str, password: str | None) -> None:
    """Refusal 400 where a user could not be called so, or the password is too easily guessed."""
    if not NAME.fullmatch(name):
        text = "username must be letters and digits, with . _ @ - in between, at most 128."
        raise Refusal(400, text, code="invalid_value", param="username")
    if password is not None and not LEAST <= len(password) <= MOST:
        text = f"password must have {LEAST} to {MOST} characters."
        raise Refusal(400, text, code="invalid_value", param="password")


def user(record: UserRecord) -> Object:
    return {
        "object": "auth.user",
        "id": f"user:{record.name}",
        "username": record.name,
        "created_at": int(record.created_at),
        **granted(decoded(record.grants)),
    }


def token(made: str, seconds: float) -> Object:
    return {"access_token": made, "token_type": "bearer", "expires_in": int(seconds)}


def signing_key(key: SigningKey) -> Object:
    """Without the key."""
    times = {"created_at": int(key.created_at), "expires_at": int(key.expires_at)}
    return {"object": "auth.signing_key", "id": key.id, **times}
