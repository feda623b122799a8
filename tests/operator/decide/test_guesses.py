"""A guess among models that share devices: it takes what is free, evicts nobody, and gives way to whoever is called."""

from dataclasses import replace

import pytest

from dormouse_api import names
from dormouse_operator.decide import history
from dormouse_operator.decide.pool import Contender
from tests.operator.builders import NOW
from tests.operator.decide.test_eviction import asking, awake, contender, going, homeless, leaving, traffic, turns
from tests.operator.shared import Shared


def guess(name: str = "g", **more: object) -> Contender:
    return contender(name, **({"wanted": True, "guess": True, "traffic": traffic()} | more))


PLACING = guess(granted=True, pods=1)
PLACED = guess(granted=True, pods=1, nodes={"n1": 1})


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        pytest.param([], ["g"], id="nobody else"),
        pytest.param([awake("a")], ["a", "g"], id="the scheduler knows whether another device is free"),
        pytest.param([asking("a")], ["a"], id="somebody is called"),
        pytest.param([homeless("a")], ["a"], id="somebody waits for a device"),
        pytest.param([guess("f", granted=True, pods=1)], ["f"], id="another guess is being placed"),
        pytest.param([guess("f")], ["f"], id="one guess at a time"),
        pytest.param([awake("a", limit=1)], ["a", "g"], id="another profile's limit"),
    ],
)
def test_a_guess_gets_a_pod_while_nobody_else_waits(others: list[Contender], expected: list[str]) -> None:
    assert going(guess(), *others) == expected


def test_a_guess_respects_its_profiles_limit() -> None:
    assert going(guess(limit=1), awake("a", limit=1)) == ["a"]


def test_a_guess_that_finds_no_device_goes_and_nobody_is_asked_to_leave_for_it() -> None:
    pool = (replace(PLACING, homeless=True), awake("a"))
    assert (going(*pool), leaving(*pool)) == (["a"], ["g"])
    assert all(turn.place is None for turn in turns(*pool).values())


def test_a_guess_that_is_not_placed_yet_gives_way_to_a_call() -> None:
    assert going(PLACING, asking("a")) == ["a"]
    assert going(PLACING) == ["g"]


@pytest.mark.parametrize(
    "held",
    [
        pytest.param(PLACED, id="while it starts"),
        pytest.param(replace(PLACED, ready_at=NOW - 1), id="once it serves"),
    ],
)
def test_a_guess_leaves_before_any_other(held: Contender) -> None:
    idle = awake("a", last_used=0.0)
    assert leaving(held, idle, homeless("b")) == ["g"]


def test_a_guess_that_answers_a_call_or_may_do_so_is_not_taken_for_one() -> None:
    silent = replace(PLACED, traffic=None)
    busy = replace(PLACED, traffic=traffic(in_flight=1), ready_at=NOW)
    assert leaving(silent, homeless("b")) == leaving(busy, homeless("b")) == []


async def expecting(shared: Shared, name: str) -> None:
    """A model with four weeks of calls at every hour."""
    await shared.add(name)
    shared.world.model(name, scaling={"learn": {"budgetMinutesPerDay": 600}})
    await shared.settle()
    known = history.began(NOW - 4 * history.WEEK).model_copy(update={"hours": [400] * 168})
    body = shared.world.objects[names.MODEL_KIND, "ns", name]
    shared.world.put(names.MODEL_KIND, "ns", name, status=body["status"] | {"prewarm": {"history": known.wire()}})
    shared.start()  # so that it looks at what it would have learnt itself
    await shared.settle()


async def test_a_guess_never_takes_the_device_of_another_model() -> None:
    shared = Shared()
    shared.world.now = NOW + 3480  # 08:58 of a Friday, UTC
    await shared.add("a")
    await expecting(shared, "g")
    shared.call("a")
    await shared.run(200)
    assert shared.awake() == ["a"]
    assert shared.condition(name="g") == ("True", "ScaledToZero")
    told = shared.status("g")["prewarm"]
    assert (told["starts"], told["unused"]) == (1, 1)
    assert "current" not in told


async def test_a_guess_takes_a_free_device_and_makes_room_for_who_is_called() -> None:
    shared = Shared()
    shared.world.now = NOW + 3480
    called = await shared.add("b")
    await expecting(shared, "g")
    await shared.run(100)
    assert shared.awake() == ["g"]
    assert "by its history" in shared.message("Idle", "g")
    shared.call("b")
    await shared.run(20)
    assert shared.awake() == ["b"]
    assert called.waits[0] < 12
    assert shared.status("g")["prewarm"]["unused"] == 1
    await shared.run(200)
    assert shared.awake() == ["b"]
    assert shared.status("g")["prewarm"]["starts"] == 1
