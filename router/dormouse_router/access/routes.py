"""Which role a route asks for, and which part of the API it is. Pure: the whole table, and how it is read.

A route that is not in it is for admins alone, and a test fails until it is.
"""

import re
from dataclasses import dataclass

from dormouse_router.caller import Caller, Role
from dormouse_router.request import Refusal

INFERENCE, MODELS, FILES, BATCHES = "inference", "models", "files", "batches"
MONITOR, KEYS = "monitor", "keys"
SCOPES = (INFERENCE, MODELS, FILES, BATCHES, MONITOR, KEYS)
"""Parts of the API that a key may be confined to."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`scope`: None is for any key."""

    role: Role
    scope: str | None = None


PUBLIC = Rule(Role.ANYONE)
_CALL = Rule(Role.USER, INFERENCE)
_READ = Rule(Role.USER)
_KEEP = Rule(Role.USER, FILES)
_BATCH = Rule(Role.USER, BATCHES)
_CHANGE = Rule(Role.OPERATOR, MODELS)
_WATCH = Rule(Role.OPERATOR, MONITOR)
_KEYS = Rule(Role.USER, KEYS)
_ADMIN = Rule(Role.ADMIN, KEYS)
_TABLE = {
    PUBLIC: (
        "GET /, GET /health, GET /docs, GET /docs/{file}, GET /openapi.json, GET /api/version, GET /api/status, "
        "POST /api/signout, POST /v1/auth/register, POST /v1/auth/token"
    ),
    _READ: (
        "GET /v1/models, GET /v1/models/{name}, GET /v1/models/{name}/versions, "
        "GET /v1/models/{name}/versions/{version}, GET /models, GET /models/{name}, GET /api/tags, GET /api/ps, "
        "POST /api/show, POST /api/me, GET /v1/auth/me, GET /jobs, GET /jobs/{ident}, GET /v1/usage"
    ),
    _CALL: (
        "POST /v1/chat/completions, POST /v1/completions, POST /v1/embeddings, GET /v1/chat/completions, "
        "GET /v1/chat/completions/{name}, POST /v1/chat/completions/{name}, DELETE /v1/chat/completions/{name}, "
        "POST /v1/responses, POST /v1/responses/input_tokens, GET /v1/responses/{id}, DELETE /v1/responses/{id}, "
        "POST /v1/responses/{id}/cancel, GET /v1/responses/{id}/input_items, POST /v1/rerank, POST /rerank, "
        "POST /v2/rerank, POST /v1/score, POST /score, POST /v1/images/generations, POST /v1/images/edits, "
        "POST /v1/images/variations, POST /v1/audio/speech, POST /v1/audio/transcriptions, "
        "POST /v1/audio/translations, POST /tokenize, POST /detokenize, POST /api/chat, POST /api/generate, "
        "POST /api/embed, POST /api/embeddings, POST /v1/messages, POST /v1/messages/count_tokens, POST /chat, "
        "GET /sessions/{id}, DELETE /sessions/{id}, POST /models/{name}/predict, POST /v1/predictions, "
        "GET /v1/predictions, GET /v1/predictions/{id}, POST /v1/predictions/{id}/cancel, "
        "GET /v1/predictions/{id}/stream, POST /v1/models/{name}/predictions, "
        "POST /v1/deployments/{name}/predictions, GET /v1/webhooks/default/secret, POST /v1/webhooks/default/secret"
    ),
    _KEEP: (
        "POST /v1/files, GET /v1/files, GET /v1/files/{id}, GET /v1/files/{id}/content, DELETE /v1/files/{id}, "
        "POST /v1/uploads, POST /v1/uploads/{id}/parts, POST /v1/uploads/{id}/complete, POST /v1/uploads/{id}/cancel"
    ),
    _BATCH: "POST /v1/batches, GET /v1/batches, GET /v1/batches/{id}, POST /v1/batches/{id}/cancel",
    _KEYS: "POST /v1/auth/keys, GET /v1/auth/keys, DELETE /v1/auth/keys/{id}",
    _ADMIN: (
        "GET /v1/auth/users, POST /v1/auth/users, PATCH /v1/auth/users/{name}, DELETE /v1/auth/users/{name}, "
        "POST /v1/auth/signing-keys"
    ),
    _CHANGE: (
        "POST /pull, POST /api/pull, POST /api/create, POST /api/copy, POST /api/push, DELETE /api/delete, "
        "POST /api/blobs/{digest}, HEAD /api/blobs/{digest}, DELETE /v1/models/{name}, DELETE /jobs/{ident}, "
        "POST /models/{name}/reload, POST /v1/models, PATCH /v1/models/{name}"
    ),
    _WATCH: "GET /status, GET /diag, GET /metrics, GET /metrics/gpu",
}
RULES: dict[tuple[str, str], Rule] = {
    (method, path): rule
    for rule, routes in _TABLE.items()
    for method, path in (route.split() for route in routes.split(", "))
}
"""(method, path) as the document of the API writes them; the names in braces mean nothing. HEAD is GET."""


class Rules:
    """The table, ready to be asked about real paths."""

    def __init__(self, table: dict[tuple[str, str], Rule] | None = None) -> None:
        table = RULES if table is None else table
        self._exact = {route: rule for route, rule in table.items() if "{" not in route[1]}
        self._named = [(method, _pattern(path), rule) for (method, path), rule in table.items() if "{" in path]

    def exact(self, method: str, path: str) -> bool:
        """Whether the table has this very route, without a name in it."""
        return (method, path) in self._exact

    def of(self, method: str, path: str) -> Rule | None:
        """The rule of a request; of several that fit the strictest, for it is not told here which one answers."""
        found = self._exact.get((method, path)) or self._strictest(method, path)
        return self.of("GET", path) if found is None and method == "HEAD" else found

    def _strictest(self, method: str, path: str) -> Rule | None:
        fitting = (rule for each, pattern, rule in self._named if each == method and pattern.fullmatch(path))
        return max(fitting, key=lambda rule: rule.role, default=None)


def allow(rule: Rule | None, caller: Caller, method: str, path: str) -> None:
    """Refusal where the caller may not do it."""
    if rule is None:
        if caller.role < Role.ADMIN:
            # as the application says it: who may do little need not know what there is
            text = f"Unknown request URL: {method} {path[:200]}. See /docs for what there is."
            raise Refusal(404, text, code="unknown_url")
        return
    if caller.role < rule.role:
        text = (
            f"{caller.id} has the role {caller.role.name.lower()}, and {method} {path[:200]} needs "
            f"{rule.role.name.lower()}: ask whoever gave you the key for one with that role."
        )
        raise Refusal(403, text, code="insufficient_role")
    if rule.scope is not None and caller.scopes and rule.scope not in caller.scopes:
        text = (
            f"This key is for {', '.join(sorted(caller.scopes))}, and {method} {path[:200]} is of '{rule.scope}': "
            "use a key with that scope."
        )
        raise Refusal(403, text, code="insufficient_scope")
    if _narrow(rule, caller, method):
        text = (
            f"This key is for the models {', '.join(caller.models)[:500]} only, and makes no batches: use another key."
        )
        raise Refusal(403, text, code="insufficient_scope")


def _narrow(rule: Rule, caller: Caller, method: str) -> bool:
    """Whether it would get around the models of the caller's key: a batch names its models in a file, and is answered
    when nobody knows by which key it came."""
    return rule.scope == BATCHES and method == "POST" and bool(caller.models)


def _pattern(path: str) -> re.Pattern[str]:
    # a name may hold slashes; `.` and line ends must fit too, for whatever is served must have a rule
    parts = re.split(r"\{\w+\}", path)
    return re.compile(".+".join(re.escape(part) for part in parts), re.DOTALL)
