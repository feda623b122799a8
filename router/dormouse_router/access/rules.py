"""Whether a caller may do something with a model. Pure: the one place that decides it, for every dialect.

A model without an owner is the administrator's: everybody sees it, and whether callers may delete it or restart its
runtime is a setting of the router, which is asked besides.
"""

import functools
import re
from enum import Enum, auto

from dormouse_api.access import Access, Visibility
from dormouse_router.caller import Caller, Role


class Verb(Enum):
    """What is asked."""

    SEE = auto()
    """Find it in lists, read of it, call it."""
    CHANGE = auto()
    DELETE = auto()
    RESTART = auto()


ANYBODY = Caller("anonymous", "", Role.ANYONE)
ROUTER = Caller("router", "", Role.ADMIN)
"""The router itself, for what it has to know of all models."""


def closed(access: Access | None) -> bool:
    """Whether there is anybody who does not see it."""
    return access is not None and access.visibility is not Visibility.PUBLIC


def may(caller: Caller, access: Access | None, verb: Verb) -> bool:
    """Whether `caller` may do it with a model of this `spec.access`."""
    if caller.role is Role.ADMIN:
        return True
    if access is None or not access.owner:
        public = not closed(access) or _in_team(caller, access)
        return public and verb is not Verb.CHANGE
    if caller.owner == access.owner:
        return True
    return verb is Verb.SEE and (not closed(access) or _in_team(caller, access))


def named(models: tuple[str, ...], name: str, full_name: str) -> bool:
    """Whether a key for `models` is for the one called so; either name will do. `*` is any text; none is all."""
    return not models or any(_pattern(each).fullmatch(it) for each in models for it in (name, full_name))


@functools.lru_cache(maxsize=4096)
def _pattern(models: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, models.split("*"))))


def _in_team(caller: Caller, access: Access | None) -> bool:
    return access is not None and access.visibility is Visibility.TEAM and access.team in caller.teams
