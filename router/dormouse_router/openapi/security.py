"""Who may call an operation, in the document's words: from the table of routes, so that the two cannot differ. Pure."""

from typing import Any

from dormouse_router.access.routes import PUBLIC, Rules

_RULES = Rules()
KEY, HEADER = "key", "keyInHeader"
SCHEMES: dict[str, dict[str, str]] = {
    KEY: {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or a token: of POST /v1/auth/token, of the OpenID provider, of a ServiceAccount.",
    },
    HEADER: {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "The same, as Anthropic's clients send it. A client that sends no header at all puts it into "
        "its address: `/key/KEY/...`.",
    },
}
OPEN = "This router lets everybody in: no key is asked for, and none is needed."
ASKED = (
    "This router asks who calls: by `Authorization: Bearer KEY` or `x-api-key: KEY`. The role that an operation needs "
    "is told beside its scheme."
)


def of(method: str, path: str) -> list[dict[str, Any]]:
    """What an operation asks for where it is asked who calls; with either scheme the role that is needed, at least."""
    rule = _RULES.of(method.upper(), path)
    if rule is None:
        raise KeyError(f"{method} {path} has no line in access/routes.py")
    if rule is PUBLIC:
        return []
    roles = [rule.role.name.lower()]
    return [{KEY: roles}, {HEADER: roles}]
