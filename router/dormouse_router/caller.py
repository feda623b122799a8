"""Who asks: one value per request, made of its credential, and the protocol of whoever makes it. Pure types.

Mode `open` makes none: there `CALLER` is never set, nobody is refused, and what is kept belongs to the hash of whatever
credential was sent (`keeping.request_owner`). Otherwise the way in (`guarded`) has a `Gate` make one before anything
else looks at the request, and whoever is below reads `current()` or the request's own `caller`.
"""

from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol


class Role(IntEnum):
    """What somebody may do, each more than the one before. `ANYONE` has shown no credential."""

    ANYONE = 0
    USER = 1
    """Call models, keep things of one's own."""
    OPERATOR = 2
    """Pull, delete and restart models; see how all of it runs."""
    ADMIN = 3
    """Give keys and roles to others."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Most of each; None is as many as one likes. Minutes are those of the clock."""

    requests: int | None = None
    """Requests a minute."""
    tokens: int | None = None
    """Tokens a minute, in and out, counted when an answer is whole."""
    concurrent: int | None = None
    """Requests at a time."""
    enqueued: int | None = None
    """Tokens, by estimate, of lines of batches for one model that have no answer yet."""
    storage: int | None = None
    """Bytes of files that are kept."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request. Every field is fit for logs: no part of a credential is in it."""

    id: str
    """`user:alice`, `key:team-a/ci`, `serviceaccount:ns/name`, `oidc:subject`, or `anonymous`."""
    owner: str
    """Whose is what it keeps: the user, where several keys are one user's."""
    role: Role
    kind: str = "anonymous"
    """key, user, serviceaccount, oidc or anonymous: a label of metrics."""
    teams: frozenset[str] = frozenset()
    key_id: str | None = None
    scopes: frozenset[str] = frozenset()
    """Parts of the API that it may use; empty is all that its role may."""
    models: tuple[str, ...] = ()
    """Names of models that it may call, where `*` is any text; empty is all."""
    limits: dict[str, Limits] = field(default_factory=dict, hash=False)
    """By what they are counted for: `key:...`, `user:...`, `team:...`."""
    bound: bool = False
    """Whether it came with a key that somebody with a password made for itself: it is no more than that user is now."""


class Asked(Protocol):
    """A request, as far as it says who sends it."""

    @property
    def method(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def header(self) -> Callable[[bytes], bytes | None]:
        """Gives a header by its lower-case name."""
        ...

    @property
    def peer(self) -> str:
        """The address it comes from."""
        ...


class Passed(Protocol):
    """A request that may go on."""

    caller: Caller
    lines: bytes
    """More lines of its answer's head, as `request.header_lines` makes them: what is left of its limits."""

    def leave(self) -> None:
        """Its answer is over, or it was given up. Called once."""
        ...


class Gate(Protocol):
    """Says who may come in."""

    hits: Counter[tuple[str, str]]
    """How many were refused for a limit: by which, and of what (key, user, team, model, address)."""

    def nameless(self, header: Callable[[bytes], bytes | None]) -> bool:
        """Whether a request with these headers is refused whatever else it holds: it has no header for a credential."""
        ...

    def enter(self, asked: Asked) -> Passed | None:
        """None where that is not known without waiting: `ask`. Refusal 401, 403 or 429."""
        ...

    async def ask(self, asked: Asked) -> Passed:
        """Refusal likewise, and 503 where whoever could tell is away."""
        ...

    def forget(self) -> None:
        """Believe nothing of what was said of any credential: one was revoked."""
        ...

    def charge(self, model: str, full_name: str) -> Callable[[int], None] | None:
        """The current caller's call goes to this model; what is given is told its tokens. Refusal 429."""
        ...


CALLER: ContextVar[Caller | None] = ContextVar("caller", default=None)
"""Whose request runs now. Set for what a request does at once and for the tasks it begins."""


def current() -> Caller | None:
    """None in mode `open`, and where nobody's request runs."""
    return CALLER.get()
