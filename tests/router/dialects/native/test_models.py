"""Models and routes as the native API shows them."""

import asyncio
from typing import Any

import httpx
import pytest

from dormouse_router.dialects.native import models
from dormouse_router.insight import Traffic
from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.records import condition, known_status, model, record
from tests.router.fakes import Engine, Stage, in_two, until

START: dict[str, Any] = {
    "at": "2026-05-01T11:00:00Z",
    "seconds": 7,
    "engine": "vllm",
    "quantization": "none",
    "stages": [{"stage": "requested", "atMilliseconds": 0}, {"stage": "ready", "atMilliseconds": 7250}],
}
NOW = 1_777_640_000.0


def ready(status: str, reason: str, **more: Any) -> dict[str, Any]:
    return known_status(conditions=[condition("Ready", status, reason, "because")], **more)


@pytest.mark.parametrize(
    ("status", "awake", "state", "stage", "message"),
    [
        (ready("True", "Serving"), True, "awake", None, None),
        (ready("True", "Serving"), False, "waking", "Waking", None),
        (ready("True", "Waking"), False, "waking", "Waking", None),
        (ready("True", "ScaledToZero"), False, "asleep", None, None),
        (ready("False", "Pulling", progress="42%"), False, "preparing", "Pulling 42%", "because"),
        (ready("False", "Inspecting"), False, "preparing", "Inspecting", "because"),
        (ready("False", "EngineFailed"), False, "failed", None, "because"),
        (ready("False", "DoesNotFit"), True, "awake", None, None),
        ({}, False, "preparing", "Pending", "The operator has not looked at this model yet."),
    ],
)
def test_states(status: dict[str, Any], awake: bool, state: str, stage: str | None, message: str | None) -> None:
    found = models.entry(record(status=status), awake, Traffic(), NOW)
    assert (found["state"], found["loaded"], found["stage"], found["message"]) == (state, awake, stage, message)


def test_what_is_known_of_a_model() -> None:
    known = known_status(coldStarts=[START], engine={"name": "vllm", "quantization": "int4"})
    found = models.entry(record(status=known, aliases=["tiny", "Org/Tiny"]), True, Traffic(2, 1, 0.5, NOW), NOW)
    assert found["names"] == ["tiny-chat", "tiny", "Org/Tiny", "default/tiny-chat"]
    assert (found["backend"], found["quantization"], found["size_bytes"]) == ("vllm", "int4", 4_500_000)
    assert (found["load_seconds"], found["loaded_at"]) == (7, "2026-05-01T11:00:07.250000Z")
    assert (found["context_length"], found["parameters"], found["device"]) == (2048, 1_100_000, "cpu")
    assert (found["in_flight"], found["held"], found["last_used_at"]) == (2, 1, "2026-05-01T12:53:20.000000Z")
    assert (found["eta_seconds"], found["job"]) == (0.0, "default.tiny-chat")


def test_what_is_not_known_is_null() -> None:
    found = models.entry(record(status={}), False, Traffic(), NOW)
    unknown = ("backend", "size_bytes", "load_seconds", "loaded_at", "last_used_at", "context_length", "eta_seconds")
    assert [found[field] for field in unknown] == [None] * len(unknown)


def test_a_sleeping_model_tells_how_long_a_wake_takes() -> None:
    found = models.entry(record(status=known_status(coldStarts=[START], profile=None)), False, Traffic(), NOW)
    assert (found["state"], found["loaded_at"], found["eta_seconds"]) == ("asleep", None, 7.0)


def test_details() -> None:
    attempts = [{"engine": "vllm", "reason": "OutOfMemory", "message": "no room", "seconds": 3}]
    served = {"name": "transformers", "quantization": "none", "attempts": attempts}
    found = models.details(record(status=known_status(coldStarts=[START], engine=served)), True, Traffic(), NOW)
    assert found["passed_over"] == [{"backend": "vllm", "reason": "OutOfMemory", "message": "no room"}]
    assert found["starts"] == [{"at": START["at"], "seconds": 7, "backend": "vllm"}]
    assert [c["type"] for c in found["conditions"]] == ["Ready", "ModelPulled"]
    assert found["scaling"]["idle_seconds"] == 300


async def test_the_list(world: Stage, client: httpx.AsyncClient, serving: Engine) -> None:
    world.cluster.add_model(model("sleeper", created="2026-05-02T10:00:00Z"))
    world.cluster.add_route("over", ("sleeper", 1), ("tiny-chat", 1))
    await engines.known(world, "sleeper")
    await until(lambda: world.router.catalog.find_route("over") is not None)
    listed = (await client.get("/models")).json()
    assert [(m["name"], m["loaded"]) for m in listed["models"]] == [("sleeper", False), ("tiny-chat", True)]
    assert [(r["name"], r["models"]) for r in listed["routes"]] == [("over", ["sleeper", "tiny-chat"])]
    head = await client.head("/models")
    assert (head.status_code, head.content) == (200, b"")
    assert world.cluster.reads == 0


@pytest.mark.parametrize("name", ["tiny-chat", "tiny", "Org/Tiny", "default/tiny-chat", "tiny:latest", "Org%2FTiny"])
async def test_any_name_will_do(client: httpx.AsyncClient, serving: Engine, name: str) -> None:
    found = await client.get(f"/models/{name}")
    assert (found.status_code, found.json()["name"], found.json()["state"]) == (200, "tiny-chat", "awake")


async def test_a_route_is_shown_as_one(world: Stage, client: httpx.AsyncClient, serving: Engine) -> None:
    world.cluster.add_route("over", ("tiny-chat", 1))
    await until(lambda: world.router.catalog.find_route("over") is not None)
    assert (await client.get("/models/over")).json()["models"] == ["tiny-chat"]


@pytest.mark.parametrize("name", ["nobody", "TINY", "a/b/c", "x" * 5000])
async def test_who_is_not_there(client: httpx.AsyncClient, serving: Engine, name: str) -> None:
    answer = await client.get(f"/models/{name}")
    assert (answer.status_code, answer.json()["param"]) == (404, "name")
    assert "GET /models lists all names" in answer.json()["error"]
    assert len(answer.text) < 500


async def test_a_call_shows_as_use(world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine) -> None:
    go_on = asyncio.Event()
    engine = await make_engine(in_two(go_on))
    await world.awake(engine)
    assert (await client.get("/models/tiny")).json()["last_used_at"] is None
    body = {"model": "tiny", "stream": True, "messages": engines.HI}
    async with client.stream("POST", "/v1/chat/completions", json=body) as stream:
        busy = (await client.get("/models/tiny")).json()
        assert (busy["in_flight"], busy["last_used_at"] is None) == (1, False)
        go_on.set()
        await stream.aread()
    after = (await client.get("/models/tiny")).json()
    assert (after["in_flight"], after["last_used_at"] >= busy["last_used_at"]) == (0, True)
