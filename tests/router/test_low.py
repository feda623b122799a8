"""Calls of the batch worker: who may make them, and that they yield to everybody else's."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from dormouse_router.batch.lifecycle import Rights
from dormouse_router.behalf import DOUBT_SECONDS, MOST_LOOKUPS, TRUST_SECONDS, Trust
from dormouse_router.caller import Caller, Limits, Role
from dormouse_router.cluster import Resource
from dormouse_router.dataplane.lane import PACE_SECONDS, Lane
from dormouse_router.dataplane.low import lowered
from dormouse_router.dialects.openai.batches.routes import rights
from dormouse_router.files.batches import NoBatches
from dormouse_router.request import Refusal
from dormouse_router.store.memory import in_memory
from tests.router.fakes import Engine, Stage, model, stage, until

NAME = "worker-1/" + "0" * 32
LOW = {"x-dormouse-worker": NAME, "x-dormouse-owner": "ann"}
CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Capital of France?"}]}
URL = "/v1/chat/completions"


class Known(NoBatches):
    async def attended(self, holder: str | None = None) -> bool:
        return holder == NAME


@pytest.fixture
async def world() -> AsyncIterator[Stage]:
    async with stage(replace(in_memory(), batches=Known())) as made:
        yield made


async def post(client: httpx.AsyncClient, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    """Once the router knows the worker."""
    while True:
        answer = await client.post(URL, json=CHAT | body, headers=LOW if headers is None else headers)
        if answer.status_code != 503 or answer.json()["error"]["code"] != "worker_not_trusted":
            return answer


async def test_engines_take_them_up_last_and_others_cannot_say_who_goes_first(
    world: Stage, client: httpx.AsyncClient, engine: Engine
) -> None:
    await world.awake(engine)
    assert (await post(client)).json()["choices"][0]["message"]["content"] == "Paris."
    assert (await post(client, priority=-1)).status_code == 200
    assert (await post(client, {}, priority=-1)).status_code == 200
    assert (await post(client, {})).status_code == 200
    assert [exchange.json.get("priority") for exchange in engine.seen] == [100, 100, None, None]
    assert [exchange.json["messages"] for exchange in engine.seen] == [CHAT["messages"]] * 4
    metrics = (await client.get(f"{world.ops}/metrics")).text
    assert 'dormouse_requests_total{code="200",dialect="batch",model="default/tiny"} 2.0' in metrics
    assert 'dormouse_requests_total{code="200",dialect="openai",model="default/tiny"} 2.0' in metrics


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/embeddings", {"input": "x"}), ("/v1/rerank", {"query": "q", "documents": ["d"]})]
)
async def test_nor_can_they_where_there_is_no_chat(
    world: Stage, client: httpx.AsyncClient, engine: Engine, path: str, body: dict[str, Any]
) -> None:
    await world.awake(engine)
    await client.post(path, json={"model": "tiny", **body, "priority": -1})
    assert [exchange.json for exchange in engine.seen] == [{"model": "tiny", **body}]


async def test_who_is_no_worker_is_refused(world: Stage, client: httpx.AsyncClient, engine: Engine) -> None:
    await world.awake(engine)
    for name in ("worker-1/" + "1" * 32, "", "worker", "A B", "x" * 5000):
        answer = await post(client, {**LOW, "x-dormouse-worker": name})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "worker_not_trusted")
        assert "leave it out" in answer.json()["error"]["message"]
    assert not engine.seen
    answer = await post(client, {"x-dormouse-worker": NAME})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x-dormouse-owner")
    assert (await client.post(URL, json=CHAT, headers={"x-dormouse-owner": "ann"})).status_code == 200


async def test_one_waits_for_a_sleeping_model_and_the_others_neither_wait_nor_wake_it(
    world: Stage, client: httpx.AsyncClient, engine: Engine
) -> None:
    await world.asleep(model(scaling={"holdSeconds": 1, "maxHeld": 2}))
    lane = world.router.plane.lane(("default", "tiny"))
    refused = await post(client)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "model_loading")
    assert float(refused.headers["retry-after"]) <= 5
    assert lane.stats.wakes == 0, "no hold, no wake"
    first = asyncio.create_task(post(client, {**LOW, "x-dormouse-hold-seconds": "600"}))
    await until(lambda: len(lane.held) == 1)
    assert lane.stats.wakes == 1
    second = await post(client, {**LOW, "x-dormouse-hold-seconds": "600"})
    assert second.status_code == 503
    demand = (await client.get(f"{world.ops}/demand")).json()["models"]["default/tiny"]
    assert demand["held"] == 1
    interactive = await client.post(URL, json=CHAT)
    assert interactive.status_code == 503, "others wait for as long as the model allows"
    assert not first.done(), "longer than the model's holdSeconds"
    assert world.cluster.wish() is not None
    world.ready(engine)
    assert (await first).status_code == 200
    assert lane.low is None
    assert (await post(client)).status_code == 200


async def test_a_worker_that_leaves_makes_room_for_the_next(world: Stage, client: httpx.AsyncClient) -> None:
    await world.asleep()
    lane = world.router.plane.lane(("default", "tiny"))
    headers = {**LOW, "x-dormouse-hold-seconds": "600"}
    for _ in range(2):
        waiting = asyncio.create_task(post(client, headers))
        await until(lambda: lane.low is not None)
        waiting.cancel()
        await until(lambda: lane.low is None and not lane.held)
    assert lane.held_bytes == 0


async def test_workers_are_told_how_fast_others_are_answered(
    world: Stage, client: httpx.AsyncClient, engine: Engine
) -> None:
    await world.awake(engine)
    assert "x-dormouse-pace" not in (await post(client)).headers
    theirs = await client.post(URL, json=CHAT)
    assert "x-dormouse-pace" not in theirs.headers
    pace = float((await post(client)).headers["x-dormouse-pace"])
    assert 0 < pace < 20
    async with client.stream("POST", URL, json=CHAT | {"stream": True}) as stream:
        await stream.aread()


def test_the_pace_is_a_mean_that_is_forgotten() -> None:
    lane = Lane(("default", "tiny"))
    assert lane.paced_at(0.0) is None
    lane.told(2.0, 20, 100.0)
    assert lane.paced_at(100.0) == pytest.approx(0.1)
    for at in range(100):
        lane.told(4.0, 20, 100.0 + at / 100)
    assert lane.paced_at(101.0) == pytest.approx(0.2)
    assert lane.paced_at(101.0 + PACE_SECONDS) is None
    lane.told(1.0, 0, 200.0)
    assert lane.paced_at(200.0) == 1.0, "an answer without tokens counts as one"


@pytest.mark.parametrize(
    ("body", "made"),
    [
        (b'{"model":"a"}', {"model": "a", "priority": 100}),
        (b' {"model":"a"} \n', {"model": "a", "priority": 100}),
        (b'{"model":"a","priority":-5}', {"model": "a", "priority": 100}),
    ],
)
def test_bodies_that_yield(body: bytes, made: dict[str, Any]) -> None:
    assert json.loads(lowered(body)) == made


@pytest.mark.parametrize("body", [b"", b"--form\r\n", b"[]"])
def test_what_is_no_object_stays(body: bytes) -> None:
    assert lowered(body) == body


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Directory:
    """Who is known, asked by the trust."""

    def __init__(self) -> None:
        self.known = {NAME}
        self.asked: list[str] = []
        self.away = False

    async def __call__(self, name: str) -> bool:
        self.asked.append(name)
        if self.away:
            raise Refusal(503, "away")
        return name in self.known


async def learnt(trust: Trust, worker: bytes = NAME.encode()) -> str | int:
    """Whose the call is once nothing is being looked up; else the status."""
    for _ in range(2):
        try:
            return trust.caller(worker, b"ann").owner
        except Refusal as refusal:
            status = refusal.status
        for _ in range(5):
            await asyncio.sleep(0)
    return status


async def test_a_name_counts_for_a_minute_and_is_looked_up_again_before() -> None:
    directory, clock = Directory(), Clock()
    trust = Trust(directory, clock)
    assert await learnt(trust) == "ann"
    clock.now = TRUST_SECONDS / 2 - 1
    assert await learnt(trust) == "ann"
    assert len(directory.asked) == 1
    clock.now = TRUST_SECONDS / 2 + 1
    assert trust.caller(NAME.encode(), b"ben").owner == "ben", "nobody waits for the second look"
    await asyncio.sleep(0)
    assert len(directory.asked) == 2
    directory.known.clear()
    clock.now += TRUST_SECONDS
    assert await learnt(trust) == 403
    await trust.close()


async def test_while_the_database_is_away_nobody_new_is_trusted_and_who_was_goes_on() -> None:
    directory, clock = Directory(), Clock()
    trust = Trust(directory, clock)
    assert await learnt(trust) == "ann"
    directory.away = True
    clock.now = TRUST_SECONDS - 1
    assert await learnt(trust) == "ann"
    clock.now = TRUST_SECONDS + 1
    assert await learnt(trust) == 503
    directory.away = False
    assert await learnt(trust) == "ann"


async def test_names_that_are_tried_out_cost_few_looks() -> None:
    directory, clock = Directory(), Clock()
    trust = Trust(directory, clock)
    wrong = b"worker-1/" + b"f" * 32
    for _ in range(100):
        assert await learnt(trust, wrong) == 403
    assert len(directory.asked) == 1
    clock.now = DOUBT_SECONDS + 1
    assert await learnt(trust, wrong) == 403
    assert len(directory.asked) == 2
    for number in range(100):
        with pytest.raises(Refusal):
            trust.caller(b"worker-1/%032x" % number, b"ann")
    await asyncio.sleep(0)
    assert len(directory.asked) == 2 + MOST_LOOKUPS
    await trust.close()


TEAM = {"visibility": "Team", "owner": "bob", "team": "red"}


async def test_a_line_may_ask_what_the_teams_of_its_batch_s_maker_may(
    world: Stage, client: httpx.AsyncClient, engine: Engine
) -> None:
    await world.awake(engine)
    theirs = copy.deepcopy(world.cluster.objects[Resource.MODELS]["default", "tiny"])
    theirs["spec"]["access"] = TEAM
    world.cluster.put(Resource.MODELS, theirs)
    await until(lambda: any(entry.record.closed for entry in world.router.plane.catalog.entries()))
    teams = LOW | {"x-dormouse-teams": "de%20la%2C%20mer,red"}
    assert (await post(client, teams)).status_code == 200
    assert (await post(client)).status_code == 404
    shown = [await client.get("/models/tiny", headers=each) for each in (teams, LOW, {"x-dormouse-worker": NAME}, {})]
    assert [each.status_code for each in shown] == [200, 404, 200, 404], "the worker itself sees how all of them are"
    stranger = {"x-dormouse-worker": NAME.replace("0", "1")}
    assert (await client.get("/models/tiny", headers=stranger)).status_code in (403, 503)


def test_a_batch_is_made_with_its_maker_s_teams_and_the_tightest_of_its_limits() -> None:
    limits = {"key:a": Limits(enqueued=50), "user:ann": Limits(), "team:red": Limits(enqueued=20)}
    maker = Caller("user:ann", "user:ann", Role.USER, teams=frozenset({"red", "blue"}), limits=limits)
    assert rights(maker) == Rights(("blue", "red"), 20)
    assert rights(None) == Rights()
