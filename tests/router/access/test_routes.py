"""Every route has a rule, and the rule is what decides: everybody who may come, on every route there is."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from dormouse_router.access.gate import Found, KeyGate
from dormouse_router.access.routes import PUBLIC, RULES, SCOPES, Rule, Rules, allow
from dormouse_router.access.settings import AccessSettings
from dormouse_router.caller import Caller, Role
from dormouse_router.request import Refusal
from tests.router.access.callers import CALLERS, KEYS, Known
from tests.router.fakes import Stage, stage
from tests.router.openapi.test_document import mounted

ROUTES = sorted(RULES)
_RULES = Rules()


def real(path: str) -> str:
    """A path that a client could send for a template."""
    return re.sub(r"\{\w+\}", "x-1", path)


@pytest.fixture
async def guarded() -> AsyncIterator[Stage]:
    settings = AccessSettings(modes=("keys",))
    async with stage(gate=KeyGate(settings, [Known(CALLERS)])) as made:
        yield made


@pytest.mark.usefixtures("world")
async def test_every_route_that_is_mounted_has_a_rule(world: Stage) -> None:
    without = sorted(
        f"{method.upper()} {path}"
        for method, path in mounted(world.router.app)
        if _RULES.of(method.upper(), real(path)) is None
    )
    assert without == [], "nobody but admins may call these: give each a line in access/routes.py"


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[f"{method} {path}" for method, path in ROUTES])
def test_the_rule_of_a_real_path_is_that_of_its_template(method: str, path: str) -> None:
    found = _RULES.of(method, real(path))
    assert found is not None
    assert found.role == RULES[method, path].role
    assert found.scope is None or found.scope in SCOPES


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("DELETE", "/v1/models/org/name", Role.OPERATOR),
        ("GET", "/v1/models/org/name", Role.USER),
        ("HEAD", "/v1/models", Role.USER),
        ("POST", "/models/a/b/reload", Role.OPERATOR),
        ("POST", "/models/x/predict/reload", Role.OPERATOR),  # of two that might answer, the stricter one decides
        ("GET", "/v1/models/x\n", Role.USER),
        ("GET", "/v1/models/", None),
        ("GET", "/v1/chat", None),
        ("DELETE", "/v1/chat", None),
        ("PUT", "/v1/files", None),
    ],
)
def test_paths_that_are_none_of_the_table_are_nobodys(method: str, path: str, role: Role | None) -> None:
    found = _RULES.of(method, path)
    assert (None if found is None else found.role) == role


@pytest.mark.parametrize("name", sorted(KEYS))
async def test_who_may_call_what(guarded: Stage, name: str) -> None:
    """The matrix: what comes back is a refusal of the gate exactly where the table says so."""
    key = KEYS[name]
    role = CALLERS[key].role if key else Role.ANYONE
    wrong = []
    async with httpx.AsyncClient(base_url=guarded.url, timeout=20, trust_env=False) as client:
        for method, path in ROUTES:
            headers = {"authorization": f"Bearer {key}"} if key else {}
            answer = await client.request(method, real(path), headers=headers)
            needs = RULES[method, path].role
            refused = answer.status_code == 401 or (
                answer.status_code == 403 and (method == "HEAD" or "has the role" in answer.text)
            )
            if refused != (role < needs) or (answer.status_code == 401) != (not key and needs > Role.ANYONE):
                wrong.append(f"{method} {path}: {answer.status_code} {answer.text[:100]}")
    assert wrong == []


def test_a_route_without_a_rule_is_not_told_of() -> None:
    admin, user = Caller("a", "a", Role.ADMIN), Caller("u", "u", Role.USER)
    allow(None, admin, "GET", "/new")
    with pytest.raises(Refusal, match="Unknown request URL") as refused:
        allow(None, user, "GET", "/new")
    assert refused.value.status == 404


def test_a_key_for_one_part_of_the_api_opens_no_other() -> None:
    caller = Caller("key:a/b", "key:a/b", Role.ADMIN, scopes=frozenset({"files"}))
    allow(Rule(Role.USER, "files"), caller, "GET", "/v1/files")
    allow(Rule(Role.USER), caller, "GET", "/v1/models")
    with pytest.raises(Refusal, match="is for files") as refused:
        allow(Rule(Role.USER, "inference"), caller, "POST", "/chat")
    assert (refused.value.status, refused.value.code) == (403, "insufficient_scope")


def test_what_is_public_needs_no_key_and_no_more() -> None:
    public = [path for (_, path), rule in RULES.items() if rule is PUBLIC]
    assert "/v1/models" not in public
    assert {"/health", "/docs"} <= set(public)
    assert isinstance(Found(CALLERS[KEYS["user"]], 0.0).caller, Caller)


def test_a_key_for_some_models_makes_no_batch_over_others() -> None:
    caller = Caller("key:a/b", "key:a/b", Role.USER, models=("tiny",))
    allow(RULES["GET", "/v1/batches"], caller, "GET", "/v1/batches")
    with pytest.raises(Refusal, match="makes no batches"):
        allow(RULES["POST", "/v1/batches"], caller, "POST", "/v1/batches")
