"""Limits that routers share: never more than the limit, and nearly all of it, whatever the server does."""

import asyncio
from collections import Counter

import pytest

from dormouse_router.access.gate import KeyGate
from dormouse_router.access.settings import AccessSettings
from dormouse_router.access.shared import AWAY_SECONDS, Counts, Shared
from dormouse_router.access.windows import TooMany
from dormouse_router.caller import Caller, Limits, Role
from dormouse_router.request import Refusal
from dormouse_router.store.counts import ValkeyCounts
from tests.router.access.callers import KEYS, Known
from tests.router.access.test_gate import Asks, Clock

USER = KEYS["user"]


class Server:
    """`shared.Counts` in memory, which may be away."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.asked = 0
        self.away = False

    async def add(self, amounts: dict[str, int]) -> list[int]:
        await asyncio.sleep(0)
        self.asked += 1
        if self.away:
            raise Refusal(503, "away")
        self.counts.update(amounts)
        return [self.counts[name] for name in amounts]

    async def close(self) -> None: ...


def gate(counts: Counts, clock: Clock, models: dict[str, Limits] | None = None, **limits: int) -> KeyGate:
    """One router's."""
    caller = Caller("user:a", "user:a", Role.USER, "key", limits={"key:a": Limits(**limits)})
    made = KeyGate(AccessSettings(modes=("keys",), models=models or {}), [Known({USER: caller})], clock)
    made.shared = Shared(counts, made.meters, clock)
    return made


async def enter(one: KeyGate) -> bool:
    """Whether a request is let in."""
    try:
        (one.enter(Asks()) or await one.ask(Asks())).leave()
    except TooMany:
        return False
    return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize("limit", [1, 7, 100, 1000])
async def test_two_routers_let_in_what_one_may(clock: Clock, limit: int) -> None:
    server = Server()
    gates = [gate(server, clock, requests=limit) for _ in range(2)]
    asks = [enter(one) for _ in range(limit) for one in gates]
    let_in = sum(await asyncio.gather(*asks))
    assert limit * 0.95 <= let_in <= limit
    assert server.asked <= min(limit, 40) * 2 + 4, "a part at a time, and not again once it is used up"
    assert not any([await enter(one) for one in gates])
    clock.now += 60
    assert all([await enter(one) for one in gates[: min(limit, 2)]])


async def test_one_router_alone_gets_all_of_it(clock: Clock) -> None:
    one = gate(Server(), clock, requests=100)
    assert sum([await enter(one) for _ in range(120)]) == 100


async def test_without_the_server_each_counts_for_itself(clock: Clock) -> None:
    server = Server()
    one = gate(server, clock, requests=10)
    assert await enter(one)
    server.away = True
    assert sum([await enter(one) for _ in range(20)]) == 9
    asked = server.asked
    clock.now += 60
    assert await enter(one)
    clock.now += AWAY_SECONDS
    server.away = False
    clock.now += 60
    assert await enter(one)
    assert server.asked >= asked + 2


async def test_tokens_that_one_router_counted_are_missing_at_the_other(clock: Clock) -> None:
    server = Server()
    here, there = gate(server, clock, tokens=100), gate(server, clock, tokens=100)
    for one in (here, there):
        assert await enter(one)
    for meter in here.meters:
        meter.tokens.add(int(clock.now) // 60, 100)
    for one in (here, there):
        assert one.shared is not None
        await one.shared.tell()
    assert not await enter(there)
    clock.now += 60
    assert await enter(there)


async def test_many_tokens_are_told_at_once(clock: Clock) -> None:
    server = Server()
    here, there = gate(server, clock, tokens=100), gate(server, clock, tokens=100)
    for one in (here, there):
        assert await enter(one)
    assert here.shared is not None
    assert there.shared is not None
    telling = asyncio.create_task(here.shared.run())
    for meter in here.meters:
        meter.tokens.add(int(clock.now) // 60, 100)
        here.shared.spent((meter,))
    async with asyncio.timeout(30):
        while sum(server.counts.values()) < 100:  # noqa: ASYNC110 - the server is not ours to signal
            await asyncio.sleep(0)
    telling.cancel()
    await there.shared.tell()
    assert not await enter(there)


async def test_requests_of_a_model_are_told_to_the_others(clock: Clock) -> None:
    server, models = Server(), {"big": Limits(requests=2)}
    here, there = gate(server, clock, models), gate(server, clock, models)
    for _ in range(2):
        here.charge("big", "default/big")
    there.charge("big", "default/big")
    for one in (here, there):
        assert one.shared is not None
        await one.shared.tell()
    with pytest.raises(TooMany, match="default/big"):
        there.charge("big", "default/big")


@pytest.mark.slow
async def test_two_routers_on_a_real_server(real: list[ValkeyCounts], clock: Clock) -> None:
    gates = [gate(each, clock, requests=200) for each in real]
    let_in = sum(await asyncio.gather(*(enter(one) for _ in range(300) for one in gates)))
    assert 190 <= let_in <= 200


async def test_a_server_that_is_not_there_keeps_nobody_out(clock: Clock) -> None:
    counts = ValkeyCounts("redis://127.0.0.1:1/0")
    assert await enter(gate(counts, clock, requests=10))
    await counts.close()


@pytest.mark.parametrize("url", ["memory", "redis://h:1/0", "valkeys://h", "unix:///run/r.sock"])
def test_where_limits_are_counted_is_said_once(url: str) -> None:
    found = AccessSettings.from_env({"DORMOUSE_ACCESS_LIMITS": url})
    assert found.limits == url
    assert "h:1" not in repr(found)


def test_a_place_that_is_none_is_refused_without_being_told() -> None:
    with pytest.raises(ValueError, match="DORMOUSE_ACCESS_LIMITS must be memory, or begin with") as wrong:
        AccessSettings.from_env({"DORMOUSE_ACCESS_LIMITS": "http://:secret@host"})
    assert "secret" not in str(wrong.value)
