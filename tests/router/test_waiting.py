"""What a request and a model may say of waiting: how long at most, and whether a held stream is told how it goes."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from dormouse_api.lease import micro_time
from dormouse_router.catalog.record import Record
from dormouse_router.cluster import Resource
from dormouse_router.dataplane import hold
from dormouse_router.dataplane.estimate import Moment, remaining
from tests.router.fakes import Engine, Stage, model, stage, until

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Capital of France?"}]}
OPENAI, OLLAMA = "/v1/chat/completions", "/api/chat"
STARTS = [{"at": "2026-01-01T00:00:00Z", "seconds": 40, "engine": "vllm", "stages": []}]
HOLD = "x-dormouse-hold-seconds"


def held(world: Stage) -> int:
    lane = world.router.plane.lanes.get(("default", "tiny"))
    return len(lane.held) if lane is not None else 0


@dataclass
class Answered:
    response: httpx.Response
    after: float


async def ask(client: httpx.AsyncClient, wish: str | None = None, path: str = OPENAI) -> Answered:
    began = time.monotonic()
    response = await client.post(path, json=CHAT | {"stream": False}, headers={} if wish is None else {HOLD: wish})
    return Answered(response, time.monotonic() - began)


# ------------------------------------------------------------------------------------------------------- how long


@pytest.mark.parametrize("path", [OPENAI, "/v1/completions", "/v1/embeddings", OLLAMA, "/api/generate", "/api/embed"])
async def test_zero_begins_the_wake_and_refuses_at_once(world: Stage, client: httpx.AsyncClient, path: str) -> None:
    await world.asleep(model(status={"coldStarts": STARTS, "capabilities": ["completion", "embedding"]}))
    body = {**CHAT, "prompt": "Capital of France?", "input": "Paris", "stream": False}
    answer = await client.post(path, json=body, headers={HOLD: "0"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "40"
    assert "asked not to wait" in answer.text
    lane = world.router.plane.lanes["default", "tiny"]
    assert lane.busy
    assert lane.stats.wakes == 1
    await until(lambda: len(world.cluster.writes) == 1)
    assert held(world) == 0


async def test_zero_is_no_matter_to_a_model_that_is_awake(
    world: Stage, client: httpx.AsyncClient, engine: Engine
) -> None:
    await world.awake(engine)
    for path in (OPENAI, OLLAMA):
        assert (await ask(client, "0", path)).response.status_code == 200


async def test_who_does_not_wait_takes_no_place_of_those_who_do(
    world: Stage, client: httpx.AsyncClient, engine: Engine
) -> None:
    await world.asleep(model(scaling={"maxHeld": 1}))
    waits = asyncio.create_task(ask(client))
    await until(lambda: held(world) == 1)
    assert (await ask(client, "0")).response.status_code == 503
    assert (await ask(client, "5")).response.status_code == 429
    world.ready(engine)
    assert (await waits).response.status_code == 200


@pytest.mark.parametrize("path", [OPENAI, OLLAMA])
async def test_each_caller_has_a_deadline_of_its_own(
    world: Stage, client: httpx.AsyncClient, engine: Engine, path: str
) -> None:
    await world.asleep()
    patient = asyncio.create_task(ask(client, None, path))
    later = asyncio.create_task(ask(client, "0.6", path))
    soon = asyncio.create_task(ask(client, "0.2", path))
    refused = await asyncio.gather(soon, later)
    assert [answer.response.status_code for answer in refused] == [503, 503]
    assert 0.2 <= refused[0].after < 0.6 <= refused[1].after
    assert not patient.done()
    assert world.router.plane.lanes["default", "tiny"].stats.wakes == 1
    world.ready(engine)
    assert (await patient).response.status_code == 200


async def test_the_models_own_bound_is_the_upper_one(world: Stage, client: httpx.AsyncClient) -> None:
    await world.asleep(model(scaling={"holdSeconds": 1}))
    answer = await ask(client, "3600")
    assert answer.response.status_code == 503
    assert answer.response.json()["error"]["code"] == "model_loading"
    assert 1.0 <= answer.after < 10.0


async def test_loading_a_model_for_ollama_may_be_bounded_as_well(world: Stage, client: httpx.AsyncClient) -> None:
    await world.asleep()
    answer = await client.post("/api/generate", json={"model": "tiny"}, headers={HOLD: "0"})
    assert answer.status_code == 503
    assert "asked not to wait" in answer.json()["error"]


@pytest.mark.parametrize("given", ["soon", "-1", "nan", "inf", "", "1s"])
@pytest.mark.parametrize("path", [OPENAI, OLLAMA])
async def test_a_bad_value_says_the_fix_and_wakes_nothing(
    world: Stage, client: httpx.AsyncClient, path: str, given: str
) -> None:
    await world.asleep()
    answer = (await ask(client, given, path)).response
    assert answer.status_code == 400
    assert HOLD in answer.text
    assert "send 0" in answer.text
    assert world.cluster.writes == []
    assert world.cluster.reads == 0


async def test_a_sdks_own_timeout_is_no_wish(world: Stage, client: httpx.AsyncClient, engine: Engine) -> None:
    await world.asleep()
    headers = {"x-stainless-read-timeout": "0.01", "x-stainless-timeout": "0.01"}
    call = asyncio.create_task(client.post(OPENAI, json=CHAT, headers=headers))
    await until(lambda: held(world) == 1)
    world.ready(engine)
    assert (await call).status_code == 200


# --------------------------------------------------------------------------------------------- one estimate for all


async def test_every_refusal_names_the_time_that_the_start_still_takes(
    world: Stage, client: httpx.AsyncClient, engine: Engine
) -> None:
    """30 s of 40 are left, says the status: a router that has never seen this wake before knows it too."""
    asked = time.time() - 10.0
    stages = [{"stage": "requested", "atMilliseconds": 0}, {"stage": "loading", "atMilliseconds": 5000}]
    known = [STARTS[0] | {"stages": [*stages, {"stage": "ready", "atMilliseconds": 40000}]}]
    status = {"coldStarts": known, "starting": {"at": micro_time(asked), "stages": stages}}
    await world.asleep(model(reason="Waking", scaling={"maxHeld": 1, "holdSeconds": 1}, status=status))
    waits = asyncio.create_task(ask(client))
    await until(lambda: held(world) == 1)
    answers = [(await ask(client, "0")).response, (await ask(client)).response, (await waits).response]
    assert [answer.status_code for answer in answers] == [503, 429, 503]
    assert {answer.headers["retry-after"] for answer in answers} <= {"30", "29", "28"}
    assert "Loading" in answers[0].json()["error"]["message"]
    assert "Loading" in answers[2].json()["error"]["message"]


# ------------------------------------------------------------------------------------------------- what it is told


async def comments(world: Stage, client: httpx.AsyncClient, engine: Engine, headers: dict[str, str]) -> list[str]:
    """The comments of a stream whose model becomes ready once it has been held for a while."""
    world.wake_with(engine)
    async with client.stream("POST", OPENAI, json=CHAT | {"stream": True}, headers=headers) as answer:
        assert answer.status_code == 200
        return [line async for line in answer.aiter_lines() if line.startswith(":")]


@pytest.fixture
async def talkative() -> AsyncIterator[Stage]:
    """A router that tells at once."""
    async with stage(comment_after=0.0, comment_every=0.02) as made:
        yield made


@pytest.mark.parametrize(
    ("router", "of_model", "request_header", "wanted"),
    [
        (True, "Auto", None, True),
        (True, "On", None, True),
        (True, "Off", None, False),
        (True, "Off", "on", True),
        (True, "Auto", "off", False),
        (True, "On", "OFF", False),
        (False, "Auto", None, False),
        (False, "On", None, True),
        (False, "Off", "on", True),
        (False, "Auto", "whatever", False),
    ],
)
async def test_request_goes_before_model_and_model_before_router(
    engine: Engine, router: bool, of_model: str, request_header: str | None, wanted: bool
) -> None:
    async with (
        stage(comments=router, comment_after=0.0, comment_every=0.02) as world,
        httpx.AsyncClient(base_url=world.url) as client,
    ):
        await world.asleep(model(scaling={"waitComments": of_model}))
        headers = {} if request_header is None else {"x-dormouse-comments": request_header}
        assert bool(await comments(world, client, engine, headers)) is wanted


async def test_the_live_stage_is_told(talkative: Stage, engine: Engine) -> None:
    moments = [("requested", 0), ("scheduled", 100), ("importing", 1000), ("loading", 6000), ("ready", 40_000)]
    stages = [{"stage": name, "atMilliseconds": at} for name, at in moments]
    asked = micro_time(time.time() - 6.5)
    told: list[str] = []
    rows = [
        model(reason="Inspecting"),
        model(reason="Pulling", status={"progress": "43%", "pull": _pulling(eta=9)}),
        *(
            model(
                reason="Waking",
                status={"coldStarts": [STARTS[0] | {"stages": stages}], "starting": _starting(asked, s)},
            )
            for s in (stages[:1], stages[:2], stages[:4])
        ),
    ]
    await talkative.asleep(rows[0])
    async with (
        httpx.AsyncClient(base_url=talkative.url) as client,
        client.stream("POST", OPENAI, json=CHAT | {"stream": True}) as answer,
    ):
        async for line in answer.aiter_lines():
            if not line.startswith(":"):
                continue
            word = line.split(" waited=")[0]
            if word in told:
                continue
            told.append(word)
            if len(told) < len(rows):
                talkative.cluster.put(Resource.MODELS, rows[len(told)])
            else:
                assert line.split("eta=")[1] in ("33s", "34s")
                talkative.ready(engine)
    assert told == [f": tiny {stage}" for stage in ("Inspecting", "Pulling 43%", "Scheduling", "Starting", "Loading")]


async def test_one_estimate_serves_all_who_wait(
    talkative: Stage, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimates: list[float] = []

    def counted(record: Record, moment: Moment) -> float | None:
        estimates.append(moment.wall)
        return remaining(record, moment)

    monkeypatch.setattr(hold, "remaining", counted)
    await talkative.asleep(model(status={"coldStarts": STARTS}))

    async def told(client: httpx.AsyncClient) -> int:
        async with client.stream("POST", OPENAI, json=CHAT | {"stream": True}) as answer:
            lines = [line async for line in answer.aiter_lines()]
        assert lines[-2] == "data: [DONE]"
        return len([line for line in lines if " eta=" in line])

    async with httpx.AsyncClient(base_url=talkative.url, limits=httpx.Limits(max_connections=None)) as client:
        began = time.monotonic()
        calls = [asyncio.create_task(told(client)) for _ in range(20)]
        await until(lambda: held(talkative) == 20)
        talkative.ready(engine)
        comments = sum(await asyncio.gather(*calls))
    assert comments >= 20
    # one per look at the status and second; nearly all of these comments fall into the first
    assert len(estimates) <= 2 + (time.monotonic() - began)


def _starting(asked: str, stages: list[dict[str, Any]]) -> dict[str, Any]:
    return {"at": asked, "stages": stages}


def _pulling(eta: int) -> dict[str, Any]:
    return {"stage": "fetching", "bytes": 43, "total": 100, "bytesPerSecond": 5, "etaSeconds": eta, "percent": 43}
