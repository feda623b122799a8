"""Requests at a time over several routers: never more than the limit, and all of it where it is wanted."""

import asyncio
import random

import pytest

from dormouse_router.access.gate import KeyGate, Pass
from dormouse_router.access.windows import TooMany
from dormouse_router.store.counts import ValkeyCounts
from tests.router.access.test_gate import Asks, Clock
from tests.router.access.test_shared import Server, gate
from tests.router.access.test_shared import clock as clock


async def entered(one: KeyGate) -> Pass | None:
    """None where it is refused."""
    try:
        return one.enter(Asks()) or await one.ask(Asks())
    except TooMany:
        return None


async def settled(*gates: KeyGate) -> None:
    for one in gates:
        assert one.shared is not None
        await one.shared.places.settle(one.meters)


@pytest.mark.parametrize("limit", [1, 4, 39, 100, 1000])
async def test_two_routers_let_in_as_many_at_a_time_as_one_may(clock: Clock, limit: int) -> None:
    server = Server()
    gates = [gate(server, clock, concurrent=limit) for _ in range(2)]
    found = await asyncio.gather(*(entered(one) for _ in range(limit) for one in gates))
    inside = [each for each in found if each is not None]
    assert limit * 0.95 <= len(inside) <= limit
    for each in inside:
        each.leave()
    await settled(*gates)
    await asyncio.sleep(0.05)
    again = [await entered(gates[0]) for _ in range(limit)]
    assert sum(each is not None for each in again) >= limit * 0.95, "what one gave back the other may have"


async def test_places_are_never_more_than_the_limit_whatever_comes_and_goes(clock: Clock) -> None:
    server, limit, dice = Server(), 12, random.Random(7)  # noqa: S311 - the same each time
    gates = [gate(server, clock, concurrent=limit) for _ in range(3)]
    inside: list[Pass] = []
    most = refused = 0
    for step in range(1500):
        one = dice.choice(gates)
        if inside and dice.random() < 0.5:
            inside.pop(dice.randrange(len(inside))).leave()
        elif (passed := await entered(one)) is not None:
            inside.append(passed)
        else:
            refused += 1
        most = max(most, len(inside))
        clock.now += dice.random()
        if step % 5 == 0:
            await settled(*gates)
    assert most <= limit
    assert refused < 750


async def test_a_caller_who_leaves_while_it_asks_takes_no_place_along(clock: Clock) -> None:
    server = Server()
    here, there = gate(server, clock, concurrent=1), gate(server, clock, concurrent=1)
    asking = asyncio.create_task(entered(here))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    for _ in range(5):
        await asyncio.sleep(0)
    await settled(here)
    assert await entered(there) is not None


async def test_the_places_of_a_router_that_died_are_free_again(clock: Clock) -> None:
    server = Server()
    dead, alive = gate(server, clock, concurrent=3), gate(server, clock, concurrent=3)
    passes = [await entered(dead) for _ in range(3)]
    assert all(passes)
    assert await entered(alive) is None
    clock.now += 120
    await settled(alive)
    await asyncio.sleep(0.05)
    assert await entered(alive) is not None


async def test_a_router_that_lives_keeps_its_places_over_minutes(clock: Clock) -> None:
    server = Server()
    here, there = gate(server, clock, concurrent=2), gate(server, clock, concurrent=2)
    assert all([await entered(here) for _ in range(2)])
    for _ in range(20):
        clock.now += 30
        await settled(here, there)
        await asyncio.sleep(0.021)
        assert await entered(there) is None


async def test_without_the_server_each_router_has_the_limit_for_itself(clock: Clock) -> None:
    server = Server()
    server.away = True
    gates = [gate(server, clock, concurrent=2) for _ in range(2)]
    found = [await entered(one) for one in gates for _ in range(3)]
    assert [each is not None for each in found] == [True, True, False] * 2


@pytest.mark.slow
async def test_places_on_a_real_server(real: list[ValkeyCounts], clock: Clock) -> None:
    gates = [gate(each, clock, concurrent=50) for each in real]
    found = await asyncio.gather(*(entered(one) for _ in range(60) for one in gates))
    assert 48 <= sum(each is not None for each in found) <= 50
