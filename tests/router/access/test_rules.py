"""`access.rules.may`, whole: who may do what with a model of each kind."""

import itertools

import pytest

from dormouse_api.access import Access, Visibility
from dormouse_router.access.rules import ANYBODY, ROUTER, Verb, closed, may, named
from dormouse_router.caller import Caller, Role

OWNER = Caller("user:a", "a" * 64, Role.USER)
MEMBER = Caller("user:b", "b" * 64, Role.USER, teams=frozenset({"red"}))
OTHER = Caller("user:c", "c" * 64, Role.OPERATOR, teams=frozenset({"blue"}))
ADMIN = Caller("user:d", "d" * 64, Role.ADMIN)
CALLERS = {"owner": OWNER, "member": MEMBER, "other": OTHER, "anybody": ANYBODY, "admin": ADMIN, "router": ROUTER}
MODELS = {
    "kubectl": None,
    "public, unowned": Access(),
    "public": Access(owner=OWNER.owner),
    "team": Access(owner=OWNER.owner, visibility=Visibility.TEAM, team="red"),
    "team, unowned": Access(visibility=Visibility.TEAM, team="red"),
    "private": Access(owner=OWNER.owner, visibility=Visibility.PRIVATE),
    # the API server refuses it, an older object may be so: nobody's but the administrators'
    "private, unowned": Access(visibility=Visibility.PRIVATE),
}
ALL = set(CALLERS)
ADMINS = {"admin", "router"}
MINE = {"owner"} | ADMINS
TEAM = {"member"} | ADMINS
SEEN = {
    "kubectl": ALL,
    "public, unowned": ALL,
    "public": ALL,
    "team": MINE | TEAM,
    "team, unowned": TEAM,
    "private": MINE,
    "private, unowned": ADMINS,
}
WRITTEN = {  # deleted, or its runtime restarted, as far as the router's settings let anybody
    "kubectl": ALL,
    "public, unowned": ALL,
    "public": MINE,
    "team": MINE,
    "team, unowned": TEAM,
    "private": MINE,
    "private, unowned": ADMINS,
}


@pytest.mark.parametrize(("model", "verb"), list(itertools.product(MODELS, Verb)))
def test_who_may_do_what(model: str, verb: Verb) -> None:
    owned = {name for name, access in MODELS.items() if access is not None and access.owner}
    changed = {name: MINE if name in owned else ADMINS for name in MODELS}
    table = {Verb.SEE: SEEN, Verb.CHANGE: changed, Verb.DELETE: WRITTEN, Verb.RESTART: WRITTEN}
    assert {name for name, caller in CALLERS.items() if may(caller, MODELS[model], verb)} == table[verb][model]


def test_closed_is_what_somebody_does_not_see() -> None:
    for name, access in MODELS.items():
        assert closed(access) is (SEEN[name] != ALL), name


@pytest.mark.parametrize("access", list(MODELS.values()))
def test_who_may_change_a_model_sees_it(access: Access | None) -> None:
    for caller, verb in itertools.product(CALLERS.values(), Verb):
        assert may(caller, access, Verb.SEE) or not may(caller, access, verb)


def test_no_credential_is_nobodys() -> None:
    """An owner that is empty (an object edited by hand, before the schema's pattern) is not everybody without a key."""
    assert not may(ANYBODY, Access.model_construct(owner="", visibility=Visibility.PRIVATE, team=None), Verb.SEE)


@pytest.mark.parametrize(
    ("models", "name", "fits"),
    [
        ((), "a", True),
        (("a",), "a", True),
        (("b", "ns/a"), "a", True),
        (("a",), "ab", False),
        (("a*",), "ab", True),
        (("ns/*",), "a", True),
        (("other/*",), "a", False),
        (("a.b",), "axb", False),
    ],
)
def test_models_of_a_key_go_by_their_names(models: tuple[str, ...], name: str, fits: bool) -> None:
    assert named(models, name, f"ns/{name}") is fits
