"""What the gate remembers, whom it keeps waiting, and what it never does."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from dormouse_router.access.credential import digest
from dormouse_router.access.gate import KNOWN_SECONDS, UNKNOWN_SECONDS, KeyGate, Pass
from dormouse_router.access.settings import DEFAULT, AccessSettings
from dormouse_router.access.throttle import MOST, SECONDS, Throttle, network
from dormouse_router.access.windows import TooMany
from dormouse_router.caller import CALLER, Caller, Limits, Role
from dormouse_router.request import Refusal
from tests.router.access.callers import CALLERS, KEYS, Known

USER = KEYS["user"]


@dataclass
class Asks:
    """`caller.Asked`."""

    key: str = USER
    path: str = "/v1/models"
    method: str = "GET"
    peer: str = "10.0.0.1"
    headers: Mapping[bytes, bytes] = field(default_factory=dict)

    def header(self, name: bytes) -> bytes | None:
        if name == b"authorization" and self.key:
            return b"Bearer " + self.key.encode()
        return self.headers.get(name)


class Clock:
    now = 1_700_000_040.0  # the beginning of a minute

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def made(clock: Clock, source: Known, modes: tuple[str, ...] = ("keys",), key_limits: Limits = DEFAULT) -> KeyGate:
    return KeyGate(AccessSettings(modes=modes, key_limits=key_limits), [source], clock)


async def test_a_source_is_asked_once_and_believed_for_a_while(clock: Clock) -> None:
    source = Known({}, slow=CALLERS)
    gate = made(clock, source)
    assert gate.enter(Asks()) is None
    assert (await gate.ask(Asks())).caller == CALLERS[USER]
    for _ in range(3):
        found = gate.enter(Asks())
        assert found is not None
        assert found.caller == CALLERS[USER]
    assert source.asked == 1
    clock.now += KNOWN_SECONDS
    assert gate.enter(Asks()) is None


async def test_what_is_revoked_is_forgotten_at_once(clock: Clock) -> None:
    gate = made(clock, Known({}, slow=CALLERS))
    await gate.ask(Asks())
    gate.forget()
    assert gate.enter(Asks()) is None


async def test_a_wrong_key_is_not_asked_for_twice_in_a_row(clock: Clock) -> None:
    source = Known({}, slow=CALLERS)
    gate = made(clock, source)
    with pytest.raises(Refusal, match="not known here"):
        await gate.ask(Asks("dm-wrong"))
    with pytest.raises(Refusal) as refused:
        gate.enter(Asks("dm-wrong"))
    assert (refused.value.status, source.asked) == (401, 1)
    clock.now += UNKNOWN_SECONDS
    assert gate.enter(Asks("dm-wrong")) is None


async def test_who_guesses_waits_and_nobody_else_does(clock: Clock) -> None:
    gate = made(clock, Known(CALLERS))
    for number in range(MOST):
        with pytest.raises(Refusal, match="not known here"):
            await gate.ask(Asks(f"dm-guess-{number}"))
    with pytest.raises(Refusal, match="Too many wrong keys") as refused:
        gate.enter(Asks("dm-guess-again"))
    assert (refused.value.status, refused.value.retry_after) == (429, SECONDS)
    assert gate.enter(Asks()) is not None, "a good key of the same address"
    assert gate.enter(Asks("dm-guess-again", peer="10.0.0.2")) is None, "another address"
    clock.now += SECONDS
    assert gate.enter(Asks("dm-guess-again")) is None


def test_an_oversized_credential_is_looked_at_by_nobody(clock: Clock) -> None:
    with pytest.raises(Refusal, match="not known here"):
        made(clock, Known(CALLERS)).enter(Asks("x" * 20_000))


@pytest.mark.parametrize("headers", [{}, {b"authorization": b"Basic YTpi"}, {b"x-api-key": b"  "}])
def test_without_a_key_the_answer_says_how_to_send_one(clock: Clock, headers: dict[bytes, bytes]) -> None:
    with pytest.raises(Refusal, match=r"Authorization: Bearer KEY.*OLLAMA_HOST") as refused:
        made(clock, Known(CALLERS)).enter(Asks("", headers=headers))
    assert (refused.value.status, refused.value.code) == (401, "invalid_api_key")


def test_what_is_public_asks_nobody(clock: Clock) -> None:
    found = made(clock, Known(CALLERS)).enter(Asks("", path="/health"))
    assert found is not None
    assert found.caller.role is Role.ANYONE


async def test_open_beside_keys_lets_anybody_in_as_a_user(clock: Clock) -> None:
    gate = made(clock, Known(CALLERS), ("open", "keys"), key_limits=Limits(requests=2))
    first = gate.enter(Asks(""))
    assert first is not None
    assert (first.caller.role, first.caller.owner) == (Role.USER, "")
    stray = await gate.ask(Asks("anything"))
    assert stray.caller.owner == digest(b"anything").hex(), "what it kept in mode open is still its own"
    with pytest.raises(TooMany, match=r"address:10\.0\.0\.1"):
        gate.enter(Asks(""))
    assert gate.enter(Asks("", peer="10.0.0.2")) is not None
    admin = gate.enter(Asks(KEYS["admin"], "/diag"))
    assert admin is not None
    assert admin.caller.role is Role.ADMIN
    with pytest.raises(Refusal, match="needs operator"):
        gate.enter(Asks("", "/diag", peer="10.0.0.3"))


def limited(**limits: int) -> Known:
    caller = Caller("user:a", "user:a", Role.USER, "key", limits={"key:a": Limits(**limits), "team:t": Limits()})
    return Known({USER: caller})


def headers(passed: Pass) -> dict[str, str]:
    return dict(line.split(": ") for line in passed.lines.decode().split("\r\n") if line)


def test_a_minute_has_so_many_requests_and_says_how_many_are_left(clock: Clock) -> None:
    gate = made(clock, limited(requests=3))
    clock.now += 18.5
    for left in ("2", "1", "0"):
        passed = gate.enter(Asks())
        assert passed is not None
        assert headers(passed) == {
            "x-ratelimit-limit-requests": "3",
            "x-ratelimit-remaining-requests": left,
            "x-ratelimit-reset-requests": "42s",
        }
    with pytest.raises(TooMany, match="Rate limit reached for key:a: 3 requests per minute") as refused:
        gate.enter(Asks())
    assert refused.value.retry_after == 41.5
    assert b"remaining-requests: 0" in refused.value.lines
    clock.now += 41.5
    assert gate.enter(Asks()) is not None


def test_requests_at_a_time_are_counted_until_they_are_over(clock: Clock) -> None:
    gate = made(clock, limited(concurrent=2))
    first, second = gate.enter(Asks()), gate.enter(Asks())
    assert first is not None
    assert second is not None
    with pytest.raises(TooMany, match="2 requests at a time"):
        gate.enter(Asks())
    first.leave()
    assert gate.enter(Asks()) is not None


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("", ""),
    ],
)
def test_addresses_that_one_guesser_has_are_one(peer: str, name: str) -> None:
    assert network(peer) == name


def test_the_throttle_forgets_the_oldest_of_too_many() -> None:
    throttle = Throttle(most=1, peers=2)
    for peer in ("a", "b", "c"):
        throttle.failed(peer, 0.0)
    assert [throttle.wait(peer, 1.0) for peer in ("a", "b", "c")] == [0.0, 59.0, 59.0]


def test_a_revoked_key_of_anybody_gives_nobody_their_minute_again(clock: Clock) -> None:
    gate = made(clock, limited(requests=2, tokens=100))
    passed = gate.enter(Asks())
    assert passed is not None
    token = CALLER.set(passed.caller)
    try:
        spend = gate.charge("m", "ns/m")
    finally:
        CALLER.reset(token)
    assert spend is not None
    spend(30)
    passed.leave()
    del passed, spend
    gate.forget()
    again = gate.enter(Asks())
    assert again is not None
    assert (headers(again)["x-ratelimit-remaining-requests"], headers(again)["x-ratelimit-remaining-tokens"]) == (
        "0",
        "70",
    )
    gate.forget()
    with pytest.raises(TooMany):
        gate.enter(Asks())


def test_what_may_be_done_again_is_not_what_else_may(clock: Clock) -> None:
    narrow = Caller("user:a", "user:a", Role.USER, "key", models=("m",))
    source = Known({USER: narrow})
    gate = made(clock, source)
    for _ in range(2):
        assert gate.enter(Asks(path="/v1/batches")) is not None
        with pytest.raises(Refusal, match="makes no batches"):
            gate.enter(Asks(method="POST", path="/v1/batches"))
        with pytest.raises(Refusal, match="needs operator"):
            gate.enter(Asks(path="/status"))
    source.change(USER, replace(narrow, scopes=frozenset({"files"})))
    gate.forget()
    with pytest.raises(Refusal, match="is of 'batches'"):
        gate.enter(Asks(path="/v1/batches"))
