"""Held calls while the world changes: models go or lose a name, routers stop, operators are not there."""

import asyncio
import time
from dataclasses import replace

import pytest

from dormouse_router.cluster import Resource
from tests.router.fakes import AT_ONCE, SETTINGS, Engine, Stage, model, stage, until
from tests.router.test_holding import held
from tests.router.test_holding_rules import DIALECTS, OPENAI, Dialect

pytestmark = pytest.mark.slow


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return DIALECTS[request.param]


async def test_a_model_deleted_while_held_is_told_at_once(world: Stage, dialect: Dialect) -> None:
    await world.asleep()
    call = asyncio.create_task(dialect.ask(world.url))
    await until(lambda: held(world) == 1)
    told = time.monotonic()
    world.cluster.remove(Resource.MODELS, "default", "tiny")
    answer = await call
    assert time.monotonic() - told < AT_ONCE
    assert answer.status_code == 404
    assert "deleted" in dialect.said(answer)
    await until(lambda: not world.router.plane.lanes)


async def test_a_model_that_is_being_deleted_is_as_good_as_gone(world: Stage, dialect: Dialect) -> None:
    """Its finalizers may take their time: nobody waits for them."""
    await world.asleep()
    call = asyncio.create_task(dialect.ask(world.url))
    await until(lambda: held(world) == 1)
    going = model()
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.cluster.put(Resource.MODELS, going)
    assert (await call).status_code == 404
    assert (await dialect.ask(world.url)).status_code == 404


async def test_a_model_renamed_while_held_is_another_model(world: Stage, engine: Engine, dialect: Dialect) -> None:
    """A name is an object's for life: renaming is deleting and making anew, and the new one is asked for anew."""
    await world.asleep()
    call = asyncio.create_task(dialect.ask(world.url))
    await until(lambda: held(world) == 1)
    await world.asleep(model("renamed"))
    world.cluster.remove(Resource.MODELS, "default", "tiny")
    world.ready(engine, name="renamed")
    assert (await call).status_code == 404
    assert engine.seen == []
    assert (await dialect.ask(world.url, model="renamed")).status_code == 200


async def test_a_name_taken_away_while_held_loses_no_call(world: Stage, engine: Engine, dialect: Dialect) -> None:
    """The call was for the model, which is still there; the next one by that name is not."""
    await world.asleep(model(aliases=("little",)))
    call = asyncio.create_task(dialect.ask(world.url, model="little"))
    await until(lambda: held(world) == 1)
    world.cluster.put(Resource.MODELS, model(aliases=()))
    await until(lambda: world.router.catalog.find("little") is None)
    assert held(world) == 1
    world.ready(engine)
    assert (await call).status_code == 200
    assert (await dialect.ask(world.url, model="little")).status_code == 404


async def test_a_shorter_time_is_heard_by_those_who_wait(world: Stage, dialect: Dialect) -> None:
    await world.asleep(model(scaling={"holdSeconds": 3600}))
    call = asyncio.create_task(dialect.ask(world.url))
    await until(lambda: held(world) == 1)
    world.cluster.put(Resource.MODELS, model(scaling={"holdSeconds": 1}))
    assert (await call).status_code == 503


async def test_a_router_that_stops_says_so_to_those_it_still_holds(dialect: Dialect) -> None:
    made = Stage(replace(SETTINGS, drain_seconds=0.2))
    running = asyncio.create_task(made.router.run(made.stop))
    await made.asleep()
    call = asyncio.create_task(dialect.ask(made.url))
    await until(lambda: held(made) == 1)
    made.stop.set()
    answer = await call
    assert answer.status_code == 503
    assert "stopping" in dialect.said(answer)
    assert int(answer.headers["retry-after"]) == 1
    await running
    assert made.router.plane.hold.bytes == 0


async def test_a_router_that_stops_still_serves_those_whose_model_wakes_in_time(
    engine: Engine, dialect: Dialect
) -> None:
    made = Stage(SETTINGS)
    running = asyncio.create_task(made.router.run(made.stop))
    await made.asleep()
    call = asyncio.create_task(dialect.ask(made.url))
    await until(lambda: held(made) == 1)
    made.stop.set()
    await until(lambda: made.router.unready() == "stopping")
    made.ready(engine)
    assert (await call).status_code == 200
    await running


async def test_the_next_router_goes_on_with_the_wake_of_the_last(engine: Engine, dialect: Dialect) -> None:
    """Nothing of a wake lives in a router: the wish is in the Lease, the stage in the status."""
    first = Stage(replace(SETTINGS, drain_seconds=0.1))
    running = asyncio.create_task(first.router.run(first.stop))
    await first.asleep()
    call = asyncio.create_task(dialect.ask(first.url))
    await until(lambda: held(first) == 1 and len(first.cluster.writes) == 1)
    first.stop.set()
    await call
    await running
    wish = first.cluster.wish()
    assert wish is not None
    assert wish.ends > time.time() + 5
    second = Stage(SETTINGS, first.cluster)
    running = asyncio.create_task(second.router.run(second.stop))
    await until(lambda: second.router.catalog.find("tiny") is not None)
    call = asyncio.create_task(dialect.ask(second.url))
    await until(lambda: held(second) == 1)
    second.ready(engine)
    assert (await call).status_code == 200
    second.stop.set()
    await running


async def test_without_an_operator_a_call_is_held_for_its_time_and_told_why(world: Stage, dialect: Dialect) -> None:
    """No status was ever written, and there is no Lease to write."""
    obj = model()
    del obj["status"]
    world.cluster.add_model(obj, lease=False)
    await until(lambda: world.router.catalog.get(("default", "tiny")) is not None)
    began = time.monotonic()
    answer = await dialect.ask(world.url, hold=0.5)
    assert time.monotonic() - began >= 0.45
    assert answer.status_code == 503
    assert "operator has not looked at this model yet" in dialect.said(answer)
    assert int(answer.headers["retry-after"]) >= 1
    assert world.cluster.writes == []


async def test_an_operator_that_comes_late_finds_the_call_still_waiting(
    world: Stage, engine: Engine, dialect: Dialect
) -> None:
    obj = model()
    del obj["status"]
    world.cluster.add_model(obj, lease=False)
    await until(lambda: world.router.catalog.get(("default", "tiny")) is not None)
    call = asyncio.create_task(dialect.ask(world.url))
    await until(lambda: held(world) == 1 and world.cluster.reads >= 1)
    world.wake_with(engine)
    world.cluster.add_model(model())
    assert (await call).status_code == 200


async def test_an_operator_that_went_after_the_model_was_ready_is_missed_in_words(
    world: Stage, dialect: Dialect
) -> None:
    """The wish is written, and nobody acts on it."""
    await world.asleep()
    answer = await dialect.ask(world.url, hold=0.5)
    assert answer.status_code == 503
    assert "operator" in dialect.said(answer)
    assert len(world.cluster.writes) == 1


async def test_a_status_of_another_time_is_no_failure(engine: Engine) -> None:
    """An operator that is older than the router may say words that the router does not know: it goes on waiting."""
    async with stage() as world:
        await world.asleep(model(reason="Hibernating", message="A word of another version."))
        call = asyncio.create_task(OPENAI.ask(world.url))
        await until(lambda: held(world) == 1)
        world.ready(engine)
        assert (await call).status_code == 200
