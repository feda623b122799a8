"""What was used in a minute, and whether more may be. Pure: the clock is given, nothing waits.

Minutes are fixed and those of the clock, so that routers agree on them without a word; what others have used is added
by whoever knows (`shared`). Its own few lines, not the library's strategies: one request asks up to four windows and
tells of two, which took those 40 µs and takes this 3. What every request passes through looks at each meter once, and
calls nothing for it: calls were most of what it took.
"""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from dormouse_router.caller import Limits
from dormouse_router.request import Refusal

MINUTE = 60
REQUESTS, TOKENS, CONCURRENT = "requests", "tokens", "concurrent"
_RESETS = tuple(b"1m0s" if second == 0 else b"%ds" % (MINUTE - second) for second in range(MINUTE))
"""When a minute is over, at each of its seconds."""


class TooMany(Refusal):
    """More than a limit allows."""

    def __init__(self, message: str, kind: str, retry_after: float, lines: bytes, hit: tuple[str, str]) -> None:
        """`hit`: which limit, and of what kind of meter."""
        super().__init__(429, message, code="rate_limit_exceeded", retry_after=retry_after)
        self.hit = hit
        self.limited = kind
        self.lines = lines


class Window:
    """One count of one minute, of one name."""

    __slots__ = ("granted", "minute", "others", "own", "told")

    def __init__(self) -> None:
        self.minute = -1
        self.own = self.told = self.others = self.granted = 0
        """Counted here; of that, what others know of; counted, or set aside, by others; set aside for us."""

    def begin(self, minute: int) -> None:
        self.minute = minute
        self.own = self.told = self.others = self.granted = 0

    def used(self, minute: int) -> int:
        if self.minute != minute:
            self.begin(minute)
        return self.own + self.others

    def add(self, minute: int, amount: int) -> None:
        self.used(minute)
        self.own += amount


@dataclass(slots=True, weakref_slot=True, eq=False)
class Meter:
    """All that is counted of one name: a key, a user, a team, an address."""

    name: str
    limits: Limits
    requests: Window
    tokens: Window
    running: int = 0
    held: int = 0
    """Where others count too (`places`): how many may run here, how many more were just asked for, and what the server
    knows of both, by minute."""
    asking: int = 0
    told: dict[int, int] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """key, user, team, model or address."""
        return self.name.partition(":")[0]

    @property
    def lacks_requests(self) -> bool:
        """None is set aside for us. To be asked after `check`, which looks what minute it is."""
        return self.limits.requests is not None and self.requests.own >= self.requests.granted

    @property
    def lacks_place(self) -> bool:
        return self.limits.concurrent is not None and self.running >= self.held


class Meters:
    """The meters of everybody who is known: one for each name, as long as anybody holds it."""

    def __init__(self) -> None:
        self._meters: WeakValueDictionary[str, Meter] = WeakValueDictionary()

    def __iter__(self) -> Iterator[Meter]:
        return iter(list(self._meters.values()))

    def of(self, limits: dict[str, Limits]) -> tuple[Meter, ...]:
        """The meters of a caller, in the order in which they are asked."""
        return tuple(self._meter(name, each) for name, each in limits.items())

    def _meter(self, name: str, limits: Limits) -> Meter:
        meter = self._meters.get(name)
        if meter is None:
            meter = self._meters[name] = Meter(name, limits, Window(), Window())
        meter.limits = limits  # as they are now: a key's may have been changed
        return meter


Left = tuple[int | None, int | None, int | None, int | None]
"""Of the tightest limits: requests that are left, of how many; and tokens. None where nothing is limited."""


def take(meters: tuple[Meter, ...], now: float, *, shared: bool = False) -> bytes | None:
    """Count one request on all of `meters`, or none; the lines that tell how much is left. TooMany.

    `shared`: others count too, so only what was set aside for us may be taken. None where that is too little.
    """
    requests, of_requests, tokens, of_tokens = check(meters, now)
    if shared and lacking(meters):
        return None
    for meter in meters:
        meter.requests.own += 1  # of this minute: `check` has looked
        meter.running += 1
    return _said(None if requests is None else requests - 1, of_requests, tokens, of_tokens, now)


def lacking(meters: tuple[Meter, ...]) -> list[Meter]:
    """Those of which more must be set aside first."""
    return [each for each in meters if each.lacks_requests or each.lacks_place]


def check(meters: tuple[Meter, ...], now: float) -> Left:
    """What is left, before a request is counted. TooMany where one of them has no room for it."""
    minute = int(now) // MINUTE
    requests = of_requests = tokens = of_tokens = None
    for meter in meters:
        limits = meter.limits
        window = meter.requests
        if window.minute != minute:
            window.begin(minute)
        most = limits.requests
        if most is not None:
            left = most - window.own - window.others
            if left <= 0:
                raise _too_many(meters, meter, REQUESTS, now)
            if requests is None or left < requests:
                requests, of_requests = left, most
        most = limits.tokens
        if most is not None:
            window = meter.tokens
            left = most - (window.own + window.others if window.minute == minute else 0)
            if left <= 0:
                raise _too_many(meters, meter, TOKENS, now)
            if tokens is None or left < tokens:
                tokens, of_tokens = left, most
        most = limits.concurrent
        if most is not None and meter.running >= most:
            raise too_busy(meters, meter, now)
    return requests, of_requests, tokens, of_tokens


def count(meters: tuple[Meter, ...], now: float) -> None:
    """One request on each of them."""
    minute = int(now) // MINUTE
    for meter in meters:
        meter.requests.add(minute, 1)


def spend(meters: tuple[Meter, ...], tokens: int, now: float) -> None:
    """Count the tokens of an answer that is whole."""
    minute = int(now) // MINUTE
    for meter in meters:
        window = meter.tokens
        if window.minute != minute:
            window.begin(minute)
        window.own += tokens


def lines(meters: tuple[Meter, ...], now: float) -> bytes:
    """What is left, of the tightest of each: x-ratelimit-* as OpenAI tells it; b"" where nothing is limited."""
    minute = int(now) // MINUTE
    requests = _tightest(((meter.limits.requests, meter.requests) for meter in meters), minute)
    tokens = _tightest(((meter.limits.tokens, meter.tokens) for meter in meters), minute)
    return _said(*requests, *tokens, now)


def _tightest(limited: Iterable[tuple[int | None, Window]], minute: int) -> tuple[int | None, int | None]:
    """What is left, of how many."""
    found = [(max(0, most - window.used(minute)), most) for most, window in limited if most is not None]
    return min(found, key=lambda each: each[0], default=(None, None))


def _said(
    requests: int | None, of_requests: int | None, tokens: int | None, of_tokens: int | None, now: float
) -> bytes:
    reset = _RESETS[int(now) % MINUTE]
    if requests is None:
        return b"" if tokens is None else _form(None, of_tokens) % (tokens, reset)
    if tokens is None:
        return _form(of_requests, None) % (requests, reset)
    return _form(of_requests, of_tokens) % (requests, reset, tokens, reset)


@functools.lru_cache(maxsize=1024)
def _form(requests: int | None, tokens: int | None) -> bytes:
    """The lines of these limits, with room for what is left of each and for when it is whole again."""
    return b"".join(
        b"x-ratelimit-limit-%b: %d\r\nx-ratelimit-remaining-%b: %%d\r\nx-ratelimit-reset-%b: %%b\r\n"
        % (kind, most, kind, kind)
        for kind, most in ((b"requests", requests), (b"tokens", tokens))
        if most is not None
    )


def _too_many(meters: tuple[Meter, ...], meter: Meter, kind: str, now: float) -> TooMany:
    most = meter.limits.requests if kind == REQUESTS else meter.limits.tokens
    wait = MINUTE - now % MINUTE
    text = (
        f"Rate limit reached for {meter.name}: {most} {kind} per minute. Try again in {wait:.0f} s, or ask whoever "
        "operates this router for more."
    )
    return TooMany(text, kind, wait, lines(meters, now), (kind, meter.kind))


def too_busy(meters: tuple[Meter, ...], meter: Meter, now: float) -> TooMany:
    """All that may run of the meter at a time do."""
    text = (
        f"Rate limit reached for {meter.name}: {meter.limits.concurrent} requests at a time. Wait for one of them to "
        "end, or ask whoever operates this router for more."
    )
    return TooMany(text, REQUESTS, 1.0, lines(meters, now), (CONCURRENT, meter.kind))
