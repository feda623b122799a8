"""What a key, or a user, may: as people write it, as the store keeps it, and as a caller has it. Pure."""

import re
from dataclasses import replace

import msgspec

from dormouse_router.access import routes
from dormouse_router.access.settings import AccessSettings, Allowance
from dormouse_router.caller import Caller, Limits, Role

ROLES = {role.name.lower(): role for role in Role if role is not Role.ANYONE}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")
_MODEL = re.compile(r"[A-Za-z0-9.*/:_-]{1,253}")
_CALLED = {
    "requests": "requests",
    "tokens": "tokens",
    "concurrent": "concurrent",
    "enqueued": "enqueued tokens",
    "storage": "bytes of files",
}
"""Fields of `Limits`, in a sentence."""
MOST = 64
"""Teams, scopes, models."""


class Grants(Allowance, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Empty scopes and models are all. What is absent of the limits is the default's."""

    role: str = "user"
    teams: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()

    def check(self) -> None:
        """ValueError with a sentence that says what is wrong."""
        if self.role not in ROLES:
            raise ValueError(f"the role is none of {', '.join(ROLES)}")
        if wrong := [scope for scope in self.scopes if scope not in routes.SCOPES]:
            raise ValueError(f"there is no scope {wrong[0][:40]!r}: there are {', '.join(routes.SCOPES)}")
        if not all(NAME.fullmatch(team) for team in self.teams):
            raise ValueError("teams must be letters and digits, with . _ @ - in between")
        if not all(_MODEL.fullmatch(model) for model in self.models):
            raise ValueError("models must be names, or namespace/name, where * is any text")
        if max(len(self.teams), len(self.models)) > MOST:
            raise ValueError(f"there are more than {MOST} teams or models")
        if any(isinstance(each, int) and each < 0 for each in self.asked):
            raise ValueError("a limit is negative")


def unbounded(caller: Caller) -> bool:
    """Whether it may give anything to anybody."""
    return caller.role is Role.ADMIN and not caller.scopes and not caller.models


def within(asked: Grants, caller: Caller, default: Limits) -> None:
    """ValueError where a key would be more than what `caller` has, who is not `unbounded`."""
    if ROLES[asked.role] > caller.role:
        raise ValueError(f"you have the role {caller.role.name.lower()} and cannot give more")
    if caller.scopes and not (asked.scopes and caller.scopes.issuperset(asked.scopes)):
        raise ValueError(f"your own key is for {', '.join(sorted(caller.scopes))}: name the scopes of the new one")
    if caller.models and not (asked.models and set(caller.models).issuperset(asked.models)):
        raise ValueError(f"your own key is for the models {', '.join(caller.models)}: name some of these")
    if not caller.teams.issuperset(asked.teams):
        raise ValueError("you can give only the teams that you are in")
    wanted = asked.over(default)
    own = caller.limits.get(caller.key_id or caller.id, default)
    for name, words in _CALLED.items():
        most, wish = getattr(own, name), getattr(wanted, name)
        if most is not None and (wish is None or wish > most):
            raise ValueError(f"you have {most} {words} yourself, and only an admin gives more: say how many of these")


class Stored(Grants, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Of a key in the store. `own`: its holder made it, so all such keys of one holder share one key's limits.

    `bound`: a user with a password made it for itself, so it ends to be more than that user is (`bounded`).
    """

    own: bool = False
    bound: bool = False


def bounded(key: Stored, user: Grants) -> Stored | None:
    """What a bound key may, now that its user may this much. None: nothing is left of what it was for."""
    scopes, models = _both(key.scopes, user.scopes), _both(key.models, user.models)
    if scopes is None or models is None:
        return None
    role = min(key.role, user.role, key=lambda name: ROLES[name])
    teams = tuple(team for team in key.teams if team in user.teams)
    return msgspec.structs.replace(key, role=role, teams=teams, scopes=scopes, models=models)


def _both(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...] | None:
    """What is in both, where an empty one is everything. None: nothing is."""
    if not one or not other:
        return one or other
    return tuple(each for each in one if each in other) or None


def key_caller(who: str, owner: str, ident: str, granted: Grants, settings: AccessSettings) -> Caller:
    """Whoever comes with the key `ident`, which is that of `who`."""
    limits = {ident: granted.over(settings.key_limits)}
    if who.startswith("user:") and settings.user_limits != Limits():
        limits[who] = settings.user_limits
    if isinstance(granted, Stored) and granted.own:
        limits[f"{who} (keys it made)"] = settings.key_limits
    bound = isinstance(granted, Stored) and granted.bound
    return replace(_caller(who, owner, granted, settings, limits, kind="key", key_id=ident), bound=bound)


def user_caller(who: str, granted: Grants, settings: AccessSettings, kind: str) -> Caller:
    """Somebody who comes by name: with a password's token, or a provider's. Limited like one key."""
    default = settings.user_limits if settings.user_limits != Limits() else settings.key_limits
    return _caller(who, who, granted, settings, {who: granted.over(default)}, kind=kind)


def _caller(
    who: str,
    owner: str,
    granted: Grants,
    settings: AccessSettings,
    limits: dict[str, Limits],
    *,
    kind: str,
    key_id: str | None = None,
) -> Caller:
    shared = {f"team:{team}": settings.teams[team] for team in granted.teams if team in settings.teams}
    return Caller(
        id=who,
        owner=owner,
        role=ROLES[granted.role],
        kind=kind,
        teams=frozenset(granted.teams),
        key_id=key_id,
        scopes=frozenset(granted.scopes),
        models=granted.models,
        limits=limits | shared,
    )


def decoded(grants: bytes) -> Stored:
    """Of a record in the store."""
    return msgspec.json.decode(grants, type=Stored)
