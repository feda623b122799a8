"""Who may come in: `caller.Gate` over the sources of callers, the rules of routes and the limits.

Owns the order of things: what the route asks for, who it is (from memory, or from whoever knows), whether that may, how
much is left. What a source has told is believed for a while; what nobody knows is remembered for a moment. Knows no
database and no provider: sources do.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from dormouse_router.access import credential, windows
from dormouse_router.access.proxies import FORWARDED, Proxies
from dormouse_router.access.routes import PUBLIC, Rule, Rules, allow
from dormouse_router.access.rules import ANYBODY, named
from dormouse_router.access.settings import OPEN, AccessSettings
from dormouse_router.access.shared import Shared
from dormouse_router.access.throttle import Throttle, network
from dormouse_router.access.windows import Meter, Meters, TooMany
from dormouse_router.caller import Asked, Caller, Role, current
from dormouse_router.request import Refusal

KNOWN_SECONDS = 30.0
"""How long a source is believed: so long may another router still let in a key that was revoked here."""
UNKNOWN_SECONDS = 5.0
MOST_KNOWN = 20_000
Spend = Callable[[tuple[Meter, ...], int], None]


@dataclass(frozen=True, slots=True)
class Found:
    """Whose a credential is, and until when that may be believed (seconds since the epoch)."""

    caller: Caller
    until: float


class Source(Protocol):
    """Knows some callers."""

    def at_once(self, looked_up: bytes, now: float) -> Found | None:
        """By the `credential.digest`, if it is known without waiting."""
        ...

    async def find(self, shown: bytes, looked_up: bytes, now: float) -> Found | None:
        """None where the credential is none of this source's. Refusal 503 where that cannot be told now."""
        ...


class _Known:
    """Somebody who was told of, and what every request of theirs needs."""

    __slots__ = ("caller", "meters", "routes", "spend", "until")

    def __init__(self, caller: Caller, meters: tuple[Meter, ...], until: float, spend: Spend) -> None:
        self.caller, self.meters, self.until = caller, meters, until
        self.spend = partial(spend, meters)
        """Counts the tokens of a call."""
        self.routes: set[tuple[str, str]] = set()
        """Methods and paths without a name in them that they may call."""


class Pass:
    """`caller.Passed`."""

    __slots__ = ("_meters", "caller", "lines")

    def __init__(self, caller: Caller, meters: tuple[Meter, ...], lines: bytes) -> None:
        self.caller, self._meters, self.lines = caller, meters, lines

    def leave(self) -> None:
        for meter in self._meters:
            meter.running -= 1


class KeyGate:
    """`caller.Gate`. Clocks are seconds since the epoch: what it compares with is written in certificates and files."""

    def __init__(
        self,
        settings: AccessSettings,
        sources: Sequence[Source],
        clock: Callable[[], float] = time.time,
        rules: Rules | None = None,
    ) -> None:
        self._settings, self._sources, self._clock = settings, sources, clock
        self._rules = rules or Rules()
        self._open = OPEN in settings.modes
        self._proxies = Proxies(settings.proxies)
        self.meters = Meters()
        self._known: dict[bytes, _Known] = {}
        self._by_caller: dict[int, _Known] = {}
        """The same by the identity of their callers, which they keep."""
        self._unknown: dict[bytes, float] = {}
        self._strays: dict[str, tuple[Meter, ...]] = {}
        """Of addresses that call without a name, those of the latest calls last."""
        self._models: dict[str, tuple[Meter, ...]] = {}
        self.throttle = Throttle()
        self.shared: Shared | None = None
        """Where other routers count as well."""
        self.hits: Counter[tuple[str, str]] = Counter()
        """Refused requests by which limit, and of what."""

    # ------------------------------------------------------------------ caller.Gate

    def nameless(self, header: Callable[[bytes], bytes | None]) -> bool:
        return header(b"authorization") is None and header(b"x-api-key") is None and not self._open

    def enter(self, asked: Asked) -> Pass | None:
        """Most come again, with what they came with before."""
        known = self._known.get(credential.looked_up(asked.header))
        now = self._clock()
        try:
            if known is None or known.until <= now or (asked.method, asked.path) not in known.routes:
                return self._enter(asked)
            lines = windows.take(known.meters, now, shared=self.shared is not None)
        except TooMany as refusal:
            self.hits[refusal.hit] += 1
            raise
        return None if lines is None else Pass(known.caller, known.meters, lines)

    async def ask(self, asked: Asked) -> Pass:
        try:
            return await self._ask(asked)
        except TooMany as refusal:
            self.hits[refusal.hit] += 1
            raise

    def _enter(self, asked: Asked) -> Pass | None:
        rule = self._rules.of(asked.method, asked.path)
        if rule is PUBLIC:
            return Pass(ANYBODY, (), b"")
        now = self._clock()
        known = self._known_at_once(asked, now)
        return None if known is None else self._passed(known, rule, asked, now)

    async def _ask(self, asked: Asked) -> Pass:
        rule = self._rules.of(asked.method, asked.path)
        known = self._known_at_once(asked, self._clock()) or await self._found(asked)
        while (passed := self._passed(known, rule, asked, self._clock())) is None:
            await self._set_aside(known.meters)
        return passed

    async def _set_aside(self, meters: tuple[Meter, ...]) -> None:
        assert self.shared is not None  # noqa: S101 - else nothing is lacking
        await self.shared.set_aside(meters)

    def charge(self, model: str, full_name: str) -> Callable[[int], None] | None:
        caller = current()
        limited = self._models.get(full_name)
        if limited is None:
            limited = self._of_model(model, full_name)
        if limited:
            self._count(limited)
        known = self._by_caller.get(id(caller))
        if known is not None and not limited:
            return known.spend
        own = () if caller is None else known.meters if known is not None else self.meters.of(caller.limits)
        return partial(self._spend, (*own, *limited)) if own or limited else None

    def forget(self) -> None:
        for known in self._known.values():
            known.until = 0.0  # what they have used of this minute stays counted
        self._unknown.clear()

    # ------------------------------------------------------------------ inside

    def _of_model(self, model: str, full_name: str) -> tuple[Meter, ...]:
        """What everybody together may have of a model that is called for the first time."""
        fitting = {
            f"model:{full_name} ({name})": limits
            for name, limits in self._settings.models.items()
            if named((name,), model, full_name)
        }
        if len(self._models) >= MOST_KNOWN:
            self._models.clear()
        found = self._models[full_name] = self.meters.of(fitting)
        return found

    def _count(self, limited: tuple[Meter, ...]) -> None:
        """One more call of a model. TooMany."""
        now = self._clock()
        try:
            windows.check(limited, now)
        except TooMany as refusal:
            self.hits[refusal.hit] += 1
            raise
        windows.count(limited, now)

    def _spend(self, meters: tuple[Meter, ...], tokens: int) -> None:
        windows.spend(meters, tokens, self._clock())
        if self.shared is not None:
            self.shared.spent(meters)

    def _passed(self, known: _Known, rule: Rule | None, asked: Asked, now: float) -> Pass | None:
        allow(rule, known.caller, asked.method, asked.path)
        if self._rules.exact(asked.method, asked.path):
            known.routes.add((asked.method, asked.path))
        lines = windows.take(known.meters, now, shared=self.shared is not None)
        return None if lines is None else Pass(known.caller, known.meters, lines)

    def _known_at_once(self, asked: Asked, now: float) -> _Known | None:
        """Who it is; None where a source must be waited for. Refusal 401, 429."""
        shown = credential.credential_of(asked.header)
        if not shown:
            return self._anonymous(asked)
        looked_up = credential.digest(shown)
        known = self._known.get(looked_up)
        if known is not None and known.until > now:
            return known
        found = self._at_once(looked_up, now)
        return self._stranger(asked, shown, looked_up, now) if found is None else self._remember(looked_up, found)

    async def _found(self, asked: Asked) -> _Known:
        """Who the sources say it is. Refusal 401, 503."""
        shown = credential.credential_of(asked.header)
        looked_up, now = credential.digest(shown), self._clock()
        for source in self._sources:
            found = await source.find(shown, looked_up, now)
            if found is not None:
                return self._remember(looked_up, found)
        return self._wrong(asked, looked_up, self._clock())

    def _at_once(self, looked_up: bytes, now: float) -> Found | None:
        for source in self._sources:
            found = source.at_once(looked_up, now)
            if found is not None:
                return found
        return None

    def _remember(self, looked_up: bytes, found: Found) -> _Known:
        known = _Known(found.caller, self.meters.of(found.caller.limits), found.until, self._spend)
        self._drop(looked_up)
        if len(self._known) >= MOST_KNOWN:
            self._drop(next(iter(self._known)))
        self._known[looked_up] = self._by_caller[id(found.caller)] = known
        return known

    def _drop(self, looked_up: bytes) -> None:
        known = self._known.pop(looked_up, None)
        if known is not None:
            self._by_caller.pop(id(known.caller), None)

    def _stranger(self, asked: Asked, shown: bytes, looked_up: bytes, now: float) -> _Known | None:
        """Nobody knows it at once: whoever guesses waits, and what was wrong a moment ago still is."""
        if len(shown) > credential.MOST or self._unknown.get(looked_up, 0.0) > now:
            return self._wrong(asked, looked_up, now)
        wait = self.throttle.wait(self._origin(asked), now)
        if wait and not self._open:
            self.hits["wrong_keys", "address"] += 1
            text = "Too many wrong keys came from your address: send the right one, or try again later."
            raise Refusal(429, text, code="rate_limit_exceeded", retry_after=wait)
        return None

    def _wrong(self, asked: Asked, looked_up: bytes, now: float) -> _Known:
        if len(self._unknown) >= MOST_KNOWN:
            del self._unknown[next(iter(self._unknown))]
        self._unknown[looked_up] = now + UNKNOWN_SECONDS
        if self._open:  # with another credential than anybody's they are who they were in mode open alone
            return self._stray(asked, looked_up.hex())
        self.throttle.failed(self._origin(asked), now)
        raise Refusal(
            401,
            "The API key is not known here, was revoked or has expired: send another as `Authorization: Bearer KEY` "
            "or `x-api-key: KEY`.",
            code="invalid_api_key",
            should_retry=False,
        )

    def _anonymous(self, asked: Asked) -> _Known:
        if self._open:
            return self._stray(asked, "")
        raise Refusal(
            401,
            "You didn't provide an API key: send it as `Authorization: Bearer KEY` or `x-api-key: KEY`; for the "
            "command line of Ollama put it into its address, OLLAMA_HOST=http://<router>/key/KEY.",
            code="invalid_api_key",
            should_retry=False,
        )

    def _origin(self, asked: Asked) -> str:
        return self._proxies.origin(asked.peer, asked.header(FORWARDED))

    def _stray(self, asked: Asked, owner: str) -> _Known:
        """Somebody without a name, where those may come in too: as a user, and limited by address."""
        address = f"address:{network(self._origin(asked))}"
        limits = {address: self._settings.key_limits}
        meters = self._strays.pop(address, None) or self.meters.of(limits)
        if len(self._strays) >= MOST_KNOWN:
            del self._strays[next(iter(self._strays))]
        self._strays[address] = meters
        caller = Caller("anonymous", owner, Role.USER, limits=limits)
        return _Known(caller, meters, 0.0, self._spend)
