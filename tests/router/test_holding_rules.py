"""The rules of holding, one row or one test each, in the words of each dialect.

Bounds; refusals and the time they name; callers that leave; wakes that fail, at each stage; wakes that come too late;
callers that wait for different times; models that are deleted, renamed or lose a name; routers and operators that go.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from dormouse_api.conditions import PERMANENT
from dormouse_router.cluster import Object, Resource
from tests.router.fakes import AT_ONCE, DEADLINE, Engine, Stage, model, stage, until
from tests.router.test_holding import held

pytestmark = pytest.mark.slow

MESSAGES = [{"role": "user", "content": "Capital of France?"}]
WAIT = "x-dormouse-hold-seconds"
START = {
    "at": "2026-01-01T00:00:00Z",
    "seconds": 40,
    "engine": "vllm",
    "profile": "cpu",
    "quantization": "none",
    "stages": [{"stage": "loading", "atMilliseconds": 0}, {"stage": "ready", "atMilliseconds": 40_000}],
}


@dataclass(frozen=True)
class Dialect:
    """A route, and how it says no."""

    path: str
    body: dict[str, Any]
    sentence: Callable[[Any], str]
    full: int
    """Its status for one call too many."""
    coded: bool = False
    """It has a field for a machine-readable word."""

    async def ask(self, url: str, hold: float | None = None, **fields: Any) -> httpx.Response:
        headers = {} if hold is None else {WAIT: str(hold)}
        async with httpx.AsyncClient(timeout=DEADLINE) as client:
            return await client.post(url + self.path, json=self.body | fields, headers=headers)

    def said(self, answer: httpx.Response) -> str:
        return self.sentence(answer.json())


DIALECTS = {
    "openai": Dialect(
        "/v1/chat/completions",
        {"model": "tiny", "messages": MESSAGES},
        lambda answer: str(answer["error"]["message"]),
        429,
        coded=True,
    ),
    "ollama": Dialect(
        "/api/chat", {"model": "tiny", "messages": MESSAGES, "stream": False}, lambda answer: str(answer["error"]), 503
    ),
    "responses": Dialect(
        "/v1/responses",
        {"model": "tiny", "input": MESSAGES},
        lambda answer: str(answer["error"]["message"]),
        429,
        coded=True,
    ),
    "anthropic": Dialect(
        "/v1/messages",
        {"model": "tiny", "messages": MESSAGES, "max_tokens": 9},
        lambda answer: str(answer["error"]["message"]),
        429,
    ),
}
OPENAI = DIALECTS["openai"]


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return DIALECTS[request.param]


def waking(reason: str = "Waking", message: str = "Starting.", **more: Any) -> Object:
    return model(reason=reason, message=message, **more)


def seconds_named(answer: httpx.Response) -> int:
    """Of Retry-After, which agrees with its finer form where there is one."""
    seconds = int(answer.headers["retry-after"])
    fine = answer.headers.get("retry-after-ms")
    assert fine is None or abs(int(fine) / 1000 - seconds) <= 1
    return seconds


# ------------------------------------------------------------------------------------------------ bounds


async def test_calls_are_bounded_for_each_model_by_itself(world: Stage, engine: Engine, dialect: Dialect) -> None:
    await world.asleep(model(scaling={"maxHeld": 2}))
    await world.asleep(model("other", scaling={"maxHeld": 2}))
    calls = [asyncio.create_task(dialect.ask(world.url)) for _ in range(2)]
    await until(lambda: held(world) == 2)
    refused = await dialect.ask(world.url)
    assert refused.status_code == dialect.full
    assert "maxHeld" in dialect.said(refused)
    calls.append(asyncio.create_task(dialect.ask(world.url, model="other")))
    await until(lambda: held(world, "other") == 1)
    for name in ("tiny", "other"):
        world.ready(engine, name=name)
    assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}


async def test_bytes_are_bounded_for_all_models_together(engine: Engine, dialect: Dialect) -> None:
    said = "messages" if "messages" in dialect.body else "input"
    long: dict[str, Any] = {said: [{"role": "user", "content": "x" * 3000}]}
    async with stage(held_bytes=5000) as world:
        await world.asleep()
        await world.asleep(model("other"))
        first = asyncio.create_task(dialect.ask(world.url, **long))
        await until(lambda: held(world) == 1)
        refused = await dialect.ask(world.url, model="other", **long)
        assert refused.status_code == dialect.full
        assert "memory" in dialect.said(refused)
        small = asyncio.create_task(dialect.ask(world.url, model="other"))
        await until(lambda: held(world, "other") == 1)
        for name in ("tiny", "other"):
            world.ready(engine, name=name)
        assert [(await call).status_code for call in (first, small)] == [200, 200]
        assert world.router.plane.hold.bytes == 0
        again = await dialect.ask(world.url, **long)
        assert again.status_code == 200


async def test_seconds_are_bounded(world: Stage, dialect: Dialect) -> None:
    await world.asleep(waking(scaling={"holdSeconds": 1}))
    began = time.monotonic()
    answer = await dialect.ask(world.url)
    assert 0.9 <= time.monotonic() - began <= 3
    assert answer.status_code == 503
    assert "did not wake within 1 s" in dialect.said(answer)
    assert "Starting." in dialect.said(answer)
    assert not dialect.coded or answer.json()["error"]["code"] == "model_loading"


async def test_who_cannot_be_reached_is_not_said_to_wake(world: Stage, engine: Engine, dialect: Dialect) -> None:
    """Engines are ready, says the cluster, and none takes a connection: nothing may blame the wake."""
    world.cluster.add_model(model(reason="Serving", scaling={"maxHeld": 1}))
    await world.awake(engine)
    await engine.stop()
    waits = asyncio.create_task(dialect.ask(world.url, hold=0.4))
    await until(lambda: held(world) == 1)
    answers = await dialect.ask(world.url), await dialect.ask(world.url, hold=0), await waits
    assert [answer.status_code for answer in answers] == [dialect.full, 502, 502]
    assert {seconds_named(answer) for answer in answers} == {1}
    assert ["could not be reached" in dialect.said(answer) for answer in answers] == [True] * 3


# ------------------------------------------------------------------------------- the time a refusal names

KNOWN = {"coldStarts": [START] * 3, "profile": "cpu", "quantization": "none"}
PULL = {"stage": "fetch", "bytes": 10, "total": 100, "bytesPerSecond": 3, "etaSeconds": 30}
ESTIMATES: dict[str, tuple[Object, range]] = {
    "nothing known": (waking(), range(15, 16)),
    "starts of 40 s": (waking(status=KNOWN), range(36, 41)),
    "a pull of 30 s, and no start known": (waking("Pulling", "Pulling.", status={"pull": PULL}), range(27, 31)),
    "a pull of 30 s, then a start of 40 s": (
        waking("Pulling", "Pulling.", status=KNOWN | {"pull": PULL}),
        range(67, 71),  # an estimate is made once a second and counted down meanwhile
    ),
    "longer than any SDK obeys": (
        waking("Pulling", "Pulling.", status={"pull": PULL | {"etaSeconds": 5000}}),
        range(120, 121),
    ),
    "about to be ready": (
        waking(status=KNOWN | {"coldStarts": [START | {"seconds": 1}] * 3}),
        range(1, 2),
    ),
}


@pytest.mark.parametrize("row", ESTIMATES)
async def test_refusals_name_the_time_that_is_left(world: Stage, dialect: Dialect, row: str) -> None:
    obj, seconds = ESTIMATES[row]
    obj["spec"]["scaling"]["maxHeld"] = 1
    await world.asleep(obj)
    unheld = await dialect.ask(world.url, hold=0)
    waits = asyncio.create_task(dialect.ask(world.url, hold=0.4))
    await until(lambda: held(world) == 1)
    full = await dialect.ask(world.url)
    late = await waits
    assert [unheld.status_code, full.status_code, late.status_code] == [503, dialect.full, 503]
    assert [seconds_named(answer) in seconds for answer in (unheld, full, late)] == [True] * 3


# ------------------------------------------------------------------------------------ callers that leave


async def test_a_caller_that_leaves_frees_its_place_and_the_wake_goes_on(
    world: Stage, engine: Engine, dialect: Dialect
) -> None:
    await world.asleep(model(scaling={"maxHeld": 1}))
    leaves = asyncio.create_task(dialect.ask(world.url))
    await until(lambda: held(world) == 1 and len(world.cluster.writes) == 1)
    leaves.cancel()
    await until(lambda: held(world) == 0)
    assert world.router.plane.hold.bytes == 0
    lane = world.router.plane.lanes["default", "tiny"]
    assert lane.busy
    comes = asyncio.create_task(dialect.ask(world.url))
    await until(lambda: held(world) == 1)
    world.ready(engine)
    assert (await comes).status_code == 200
    assert (lane.stats.wakes, len(engine.seen)) == (1, 1)


# ---------------------------------------------------------------------------------- wakes that fail

FAILURES = (
    ("Inspecting", "NotFound", "There is no repository org/name."),
    ("Inspecting", "Gated", "Accept the licence at the hub."),
    ("Inspecting", "Unauthorized", "Set spec.source.tokenSecretRef."),
    ("Inspecting", "Unsupported", "The repository holds no safetensors."),
    ("Pulling", "NoSpace", "The volume is full: raise spec.storage.size."),
    ("Pulling", "Network", "The hub cannot be reached."),
    ("Pulling", "Stalled", "No byte came for 60 s."),
    ("Pulling", "Corrupt", "model.safetensors is not what the hub promised."),
    ("Pulling", "StorageFailed", "The volume cannot be mounted."),
    ("Quantizing", "QuantizationFailed", "The layers do not fit."),
    ("Quantizing", "JobFailed", "The Job was killed three times."),
    ("Waking", "Unschedulable", "No node has nvidia.com/gpu free."),
    ("Waking", "ImagePullFailed", "No such image."),
    ("Waking", "OutOfMemory", "The engine was killed while loading."),
    ("Waking", "EngineFailed", "vllm: bad weights; transformers: bad weights."),
    ("ScaledToZero", "ProfileNotFound", "There is no RuntimeProfile cpu."),
    ("ScaledToZero", "InvalidSpec", "spec.engine.args has --host."),
)


@pytest.mark.parametrize(("before", "reason", "message"), FAILURES)
async def test_a_failure_ends_the_wait_with_its_cause(
    world: Stage, engine: Engine, dialect: Dialect, before: str, reason: str, message: str
) -> None:
    await world.asleep(model(reason=before, message="On its way."))
    call = asyncio.create_task(dialect.ask(world.url))
    await until(lambda: held(world) == 1)
    told = time.monotonic()
    world.cluster.put(Resource.MODELS, model(reason=reason, message=message))
    answer = await call
    assert time.monotonic() - told < AT_ONCE
    assert answer.status_code == 503
    assert message in dialect.said(answer)
    assert "'tiny'" in dialect.said(answer)
    assert ("retry-after" in answer.headers) == (reason not in PERMANENT)
    assert answer.headers.get("x-should-retry") == (
        "false" if reason in PERMANENT and dialect is not DIALECTS["ollama"] else None
    )
    assert not dialect.coded or answer.json()["error"]["code"] == reason
    lane = world.router.plane.lanes.get(("default", "tiny"))
    assert lane is None or not lane.busy  # nobody keeps awake what cannot be
    world.cluster.put(Resource.MODELS, model())  # somebody cured it
    await until(lambda: world.router.plane.find("tiny").ready)
    again = asyncio.create_task(dialect.ask(world.url))
    await until(lambda: held(world) == 1)
    world.ready(engine)
    assert (await again).status_code == 200


# ----------------------------------------------------------------------------- late wakes, many deadlines


async def test_a_wake_that_comes_too_late_serves_the_next(world: Stage, engine: Engine, dialect: Dialect) -> None:
    await world.asleep(waking())
    answer = await dialect.ask(world.url, hold=0.2)
    assert answer.status_code == 503
    lane = world.router.plane.lanes["default", "tiny"]
    assert lane.busy  # the wake goes on for as long as the model allows
    world.ready(engine)
    await until(lambda: world.endpoints() == 1)
    assert (await dialect.ask(world.url)).status_code == 200
    assert lane.stats.wakes == 1


async def test_each_caller_waits_for_as_long_as_it_wants_and_the_model_allows(
    world: Stage, engine: Engine, dialect: Dialect
) -> None:
    await world.asleep(waking(scaling={"holdSeconds": 1}))
    began = time.monotonic()

    async def waited(hold: float | None) -> tuple[int, float]:
        answer = await dialect.ask(world.url, hold=hold)
        return answer.status_code, time.monotonic() - began

    ends = await asyncio.gather(*(waited(hold) for hold in (0, 0.3, 0.6, None, 3600)))
    assert [status for status, _ in ends] == [503] * 5
    for (_, took), wanted in zip(ends, (0, 0.3, 0.6, 1, 1), strict=True):
        assert wanted - 0.05 <= took < wanted + AT_ONCE
    assert sorted(took for _, took in ends[:3]) == [took for _, took in ends[:3]]
    world.ready(engine)
    await until(lambda: world.endpoints() == 1)
    assert (await dialect.ask(world.url, hold=0)).status_code == 200  # awake: nothing to wait for
