"""Keys and who one is: their routes, and the objects they take and give."""

from dormouse_router.access.grants import ROLES
from dormouse_router.access.passwords import LEAST, MOST
from dormouse_router.access.routes import SCOPES
from dormouse_router.dialects.auth import objects as wire
from dormouse_router.openapi import headers
from dormouse_router.openapi.openai import FAMILY as OPENAI
from dormouse_router.openapi.parts import (
    BOOLEAN,
    INTEGER,
    JSON,
    STRING,
    Answer,
    Family,
    Operation,
    Schema,
    arr,
    const,
    enum,
    mapping,
    nullable,
    obj,
    path_parameter,
    query_parameter,
    ref,
    said,
)

FAMILY = Family(
    "Access",
    "Accounts, where the router asks who comes (mode `keys`). In mode `open` all of it is refused.",
    OPENAI.error,
)
_NAME: Schema = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$"}
_MOST: Schema = nullable({"type": "integer", "minimum": 0})
_LIMITS = dict.fromkeys(wire.LIMITS, _MOST)
_GRANTED: dict[str, Schema] = {
    "role": enum(*ROLES),
    "teams": arr(_NAME),
    "scopes": said(arr(enum(*SCOPES)), "Parts of the API; empty is all."),
    "models": said(arr(STRING), "Names of models, where `*` is any text; empty is all."),
    **_LIMITS,
}


def requests() -> dict[str, Schema]:
    life: Schema = {"type": "integer", "minimum": wire.LEAST_LIFE, "maximum": wire.LONGEST_LIFE}
    optional = {"expires_in": said(nullable(life), "Seconds; null is for ever."), **_GRANTED}
    optional["user"] = said(nullable(_NAME), "Whose it shall be; only an admin makes keys for others.")
    password = {"type": "string", "minLength": LEAST, "maxLength": MOST}
    strict = {"additionalProperties": False}
    return {
        "AccessKeyRequest": obj({"name": _NAME}, optional) | strict,
        "AccessCredentials": obj({"username": _NAME, "password": STRING}),
        "AccessUserRequest": obj({"username": _NAME, "password": password}, _GRANTED) | strict,
        "AccessUserChange": obj({}, {"password": nullable(password), "grants": nullable(ref("AccessGrants"))}) | strict,
        "AccessGrants": obj({}, _GRANTED) | strict,
    }


_KEY = {
    "id": STRING,
    "object": const("auth.key"),
    "name": STRING,
    "redacted_value": said(STRING, "Its beginning."),
    "owner": STRING,
    "created_at": INTEGER,
    "expires_at": nullable(INTEGER),
    "role": STRING,
    "teams": arr(STRING),
    "scopes": arr(STRING),
    "models": arr(STRING),
}
ANSWERS: dict[str, Schema] = {
    "AccessKey": obj(_KEY, {"key": said(STRING, "The key itself, in the answer that made it only."), **_LIMITS}),
    "AccessKeys": obj({"object": const("list"), "data": arr(ref("AccessKey")), "has_more": BOOLEAN}),
    "AccessKeyDeleted": obj({"id": STRING, "object": const("auth.key.deleted"), "deleted": const(True)}),
    "AccessUser": obj(
        {
            "object": const("auth.user"),
            "id": STRING,
            "username": STRING,
            "created_at": INTEGER,
            **{name: _KEY[name] for name in ("role", "teams", "scopes", "models")},
        },
        _LIMITS,
    ),
    "AccessUsers": obj({"object": const("list"), "data": arr(ref("AccessUser")), "has_more": BOOLEAN}),
    "AccessUserDeleted": obj({"id": STRING, "object": const("auth.user.deleted"), "deleted": const(True)}),
    "AccessToken": obj({"access_token": STRING, "token_type": const("bearer"), "expires_in": INTEGER}),
    "AccessSigningKey": obj(
        {"object": const("auth.signing_key"), "id": STRING, "created_at": INTEGER, "expires_at": INTEGER}
    ),
    "AccessCaller": obj(
        {
            "object": const("auth.caller"),
            "id": STRING,
            "kind": STRING,
            "key": nullable(STRING),
            "role": STRING,
            "teams": arr(STRING),
            "scopes": arr(STRING),
            "models": arr(STRING),
            "limits": mapping(obj(_LIMITS)),
        }
    ),
}
_ID = path_parameter("key_id", "`id` of a key.")
_EVERYBODY = query_parameter("everybody", "Everybody's, for an admin.", BOOLEAN)


def _answer(description: str, schema: str) -> dict[int, Answer]:
    return {200: Answer(description, {JSON: ref(schema)})}


def _user(method: str, summary: str, body: str | None, answer: dict[int, Answer]) -> Operation:
    refusals = (*headers.POST, 404) if body is not None else (*_READ, 404)
    return Operation(FAMILY, method, "/v1/auth/users/{name}", summary, answer, refusals, body=body, own=(_USER,))


_READ = (*headers.READ, 400, 503)
_USER = path_parameter("name", "Of a user.")
OPERATIONS: tuple[Operation, ...] = (
    Operation(FAMILY, "get", "/v1/auth/me", "Who the caller is", _answer("The caller.", "AccessCaller"), headers.READ),
    Operation(
        FAMILY,
        "post",
        "/v1/auth/keys",
        "Make a key",
        _answer("The key, shown this once.", "AccessKey"),
        (*headers.POST, 429),
        body="AccessKeyRequest",
    ),
    Operation(
        FAMILY, "get", "/v1/auth/keys", "List keys", _answer("Newest first.", "AccessKeys"), _READ, own=(_EVERYBODY,)
    ),
    Operation(
        FAMILY,
        "delete",
        "/v1/auth/keys/{key_id}",
        "Revoke a key",
        _answer("It is gone.", "AccessKeyDeleted"),
        (*_READ, 404),
        own=(_ID,),
    ),
    Operation(
        FAMILY,
        "post",
        "/v1/auth/register",
        "Make a user for oneself",
        _answer("The user.", "AccessUser"),
        (*headers.POST, 409, 429),
        "Where the router allows it.",
        "AccessCredentials",
    ),
    Operation(
        FAMILY,
        "post",
        "/v1/auth/token",
        "A token for a password",
        _answer("The token: send it as a key.", "AccessToken"),
        (*headers.POST, 401, 429),
        "A form, as OAuth's password grant has it, is taken too.",
        "AccessCredentials",
    ),
    Operation(FAMILY, "get", "/v1/auth/users", "List users", _answer("By name.", "AccessUsers"), _READ),
    Operation(
        FAMILY,
        "post",
        "/v1/auth/users",
        "Make a user",
        _answer("The user.", "AccessUser"),
        (*headers.POST, 409),
        body="AccessUserRequest",
    ),
    _user("patch", "Change a user", "AccessUserChange", _answer("The user.", "AccessUser")),
    _user("delete", "Delete a user", None, _answer("It is gone, with its keys.", "AccessUserDeleted")),
    Operation(
        FAMILY,
        "post",
        "/v1/auth/signing-keys",
        "Sign tokens with a new key",
        _answer("The key.", "AccessSigningKey"),
        headers.POST,
    ),
)
