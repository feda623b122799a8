"""GET /health, /status and /diag: what they say of a router that is well, of one that is not, and never: a secret."""

import asyncio
import json
import logging
import time
from typing import Any

import httpx
import pytest

from dormouse_router import inside
from dormouse_router.cluster import Resource
from dormouse_router.inside import Pulse, configuration
from dormouse_router.recent import KEPT, LONGEST, Concealing, Recent, conceal, without_secrets
from dormouse_router.settings import Settings
from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.records import condition, known_status, model
from tests.router.fakes import Engine, Stage, slice_of, stage, until

CANARY = "canary-7f3a9c"
PATHS = ("/health", "/status", "/diag")


def state(status: str, reason: str, **more: Any) -> dict[str, Any]:
    return known_status(conditions=[condition("Ready", status, reason, "because")], **more)


async def put(world: Stage, name: str, status: dict[str, Any]) -> None:
    world.cluster.add_model(model(name, status=status))
    await engines.known(world, name)


@pytest.mark.parametrize("path", PATHS)
async def test_an_empty_router_is_well(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["status"], answer.json()["reasons"]) == (200, "healthy", [])
    head = await client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    wrong = await client.post(path)
    assert (wrong.status_code, list(wrong.json())) == (405, ["error"])


async def test_health_counts(world: Stage, client: httpx.AsyncClient, serving: Engine) -> None:
    await put(world, "pulling", state("False", "Pulling"))
    await put(world, "passing", state("False", "RateLimited"))
    await put(world, "queued", {})
    health = (await client.get("/health")).json()
    assert (health["models"], health["awake"], health["awake_limit"]) == (4, 1, None)
    assert health["pulls"] == {"active": 2, "queued": 1}
    assert health["accelerator_memory"] is None
    assert health["uptime_seconds"] >= 0
    assert health["status"] == "degraded"
    assert health["reasons"] == ["default/passing: RateLimited: because"]


async def test_failed_loads_and_how_long_they_are_left_alone(world: Stage, client: httpx.AsyncClient) -> None:
    soon, long_ago = "2099-01-01T00:00:00Z", "2020-01-01T00:00:00Z"
    cooldown = {"failures": 2, "until": soon, "key": "k", "reason": "EngineFailed", "message": "m"}
    await put(world, "resting", state("False", "EngineFailed", cooldown=cooldown))
    await put(world, "retried", state("False", "Network", retryAt=long_ago))
    await put(world, "gated", state("False", "Gated"))
    loads = {load["model"]: load for load in (await client.get("/status")).json()["failed_loads"]}
    assert loads["default/resting"]["cooldown_seconds"] > 1e9
    assert loads["default/retried"]["cooldown_seconds"] == 0.0
    assert loads["default/gated"]["cooldown_seconds"] is None
    assert [loads[f"default/{name}"]["permanent"] for name in ("resting", "retried", "gated")] == [False, False, True]
    assert world.cluster.reads == 0


async def test_an_engine_that_cannot_be_reached(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    engine = await make_engine()
    await world.awake(engine)
    world.cluster.put(Resource.SLICES, slice_of("tiny", 1))  # nobody listens there
    await until(lambda: world.endpoints() == 2)
    for number in range(30):  # calls go where others like them went
        messages = [{"role": "user", "content": f"{number} x"}]
        answer = await client.post("/v1/chat/completions", json={"model": "tiny", "messages": messages})
        assert answer.status_code == 200
        if not world.router.inside.passed_over():
            continue
        # it is passed over for a second: a busy machine may take longer to ask, and then it is asked after another
        health, status = (await client.get("/health")).json(), (await client.get("/status")).json()
        if health["status"] == "degraded" and status["unreachable_engines"]:
            break
    assert health["status"] == "degraded"
    [unreachable] = status["unreachable_engines"]
    assert (unreachable["model"], unreachable["failures"] >= 1) == ("default/tiny", True)
    assert 0 < unreachable["cooldown_seconds"] <= 2 ** (unreachable["failures"] - 1)
    assert "cannot be reached" in health["reasons"][0]


async def test_an_api_server_that_is_away(world: Stage, client: httpx.AsyncClient) -> None:
    world.cluster.break_down()
    await until(lambda: any(watch.error for watch in world.router.inside.watches()))
    health = await client.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert "may be old: the API server is away" in health.json()["reasons"][0]
    world.cluster.come_back()


async def test_the_overview(world: Stage, client: httpx.AsyncClient, serving: Engine) -> None:
    await put(world, "sleeper", state("True", "ScaledToZero"))
    told = (await client.get("/status")).json()
    assert told["models"] == {
        "awake": ["default/tiny-chat"],
        "waking": [],
        "asleep": ["default/sleeper"],
        "preparing": [],
        "failed": [],
    }
    assert [engine["model"] for engine in told["engines"]] == ["tiny-chat"]
    assert told["configuration"]["default_namespace"] == "default"
    assert told["configuration"]["pull"] is True


async def test_the_bundle(world: Stage, client: httpx.AsyncClient, serving: Engine) -> None:
    await client.post("/v1/chat/completions", json={"model": "tiny", "messages": engines.HI, "max_tokens": 1})
    told = (await client.get("/diag")).json()
    assert {"python", "dormouse-router", "uvloop", "fastapi"} <= set(told["versions"])
    assert {watch["resource"] for watch in told["watches"]} == {resource.value for resource in Resource}
    assert all(watch["synced"] and watch["silent_seconds"] >= 0 for watch in told["watches"])
    assert told["lanes"] == {"default/tiny-chat": {"in_flight": 0, "held": 0, "oldest_wait_seconds": 0.0}}
    assert told["process"]["connections"] == 1
    assert told["process"]["peak_memory_bytes"] > 10_000_000
    assert told["process"]["event_loop_lag_seconds"] >= 0
    assert told["errors"] == []


async def test_no_secret_is_told() -> None:
    env = {
        "DORMOUSE_DATABASE_URL": f"postgresql://user:{CANARY}@db/router",
        "DORMOUSE_SESSIONS": f"redis://:{CANARY}@cache:6379/0",
    }
    settings = Settings.from_env(env)
    url, sessions = settings.database_url, settings.sessions
    assert CANARY in url
    assert CANARY in sessions
    async with stage(database_url=url, sessions=sessions) as world, httpx.AsyncClient(base_url=world.url) as client:
        headers = {"authorization": f"Bearer {CANARY}", "x-api-key": CANARY, "cookie": f"token={CANARY}"}
        for path in ("/pull", "/v1/chat/completions", "/api/chat", "/v1/messages", f"/key/{CANARY}/v1/models"):
            await client.post(path, json={"model": "a/b", "token": CANARY, "messages": []}, headers=headers)
        for path in (*PATHS, "/models", "/jobs", "/metrics", "/metrics/gpu"):
            answer = await client.get(path, headers=headers, params={"token": CANARY})
            assert answer.status_code == 200
            assert CANARY not in answer.text, path


def test_a_setting_that_may_hold_a_secret_is_only_said_to_be_set() -> None:
    told = configuration(Settings(database_url=f"postgresql://u:{CANARY}@db/x", sessions="", origins=("https://a",)))
    assert (told["database_url"], told["sessions"], told["origins"]) == ("set", "not set", ["https://a"])
    assert (told["pull"], told["max_body"]) == (True, 64 * 1024 * 1024)
    assert set(told) == set(Settings.__dataclass_fields__)


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://user:{CANARY}@db/x refused",
        f"redis://:{CANARY}@cache",
        f"Authorization: Bearer {CANARY}",
        f"authorization=Basic {CANARY}",
        f"token={CANARY}&x=1",
        f'"password": "{CANARY}"',
        f"x-api-key: {CANARY}",
        f"HF_TOKEN={CANARY} was not taken",
        f"hf_{CANARY}",
        f"sk-{CANARY}",
        f"/key/{CANARY}/api/chat",
    ],
)
def test_what_looks_like_a_secret_is_left_out(text: str) -> None:
    assert CANARY not in without_secrets(text)


def test_no_line_of_the_log_holds_a_credential() -> None:
    error = RuntimeError(f"cannot reach postgresql://me:{CANARY}@db/x of GET /key/{CANARY}/api/chat")
    record = logging.LogRecord("asyncio", logging.ERROR, "", 0, "it failed: %s", (error,), (type(error), error, None))
    text = Concealing("%(message)s").format(record)
    assert "it failed: cannot reach postgresql://***@db/x of GET /key/***/api/chat" in text
    assert CANARY not in text
    line = conceal(None, "error", {"level": "error", "event": "lost", "why": str(error), "tries": 3})
    assert (line["event"], line["tries"], CANARY in str(line)) == ("lost", 3, False)


async def test_an_address_that_is_unknown_is_told_without_the_key_in_it(client: httpx.AsyncClient) -> None:
    """A router that asks for no keys has no such addresses."""
    answer = await client.get(f"/key/{CANARY}/api/tags")
    assert (answer.status_code, CANARY in answer.text) == (404, False)
    assert "GET /key/***/api/tags" in answer.text


def test_other_words_stay() -> None:
    text = "watch interrupted: the API server does not answer: Cannot connect to host 10.0.0.1:443"
    assert without_secrets(text) == text
    assert len(without_secrets("x" * 10_000)) == LONGEST + 3


def test_the_last_errors_are_kept() -> None:
    recent = Recent()
    for number in range(KEPT + 10):
        passed = {"level": "error", "event": f"broke {number}", "exception": f"Traceback\n  line\nOSError: {CANARY}"}
        assert recent(None, "error", passed) is passed
    recent(None, "info", {"level": "info", "event": "fine"})
    kept = recent.events()
    assert (len(kept), kept[-1]["event"]) == (KEPT, f"broke {KEPT + 9}")
    assert kept[-1]["exception"] == f"OSError: {CANARY}"
    json.dumps(kept)


async def test_a_late_event_loop_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "PULSE_SECONDS", 0.01)
    pulse = Pulse()
    assert pulse.worst == 0.0
    beating = asyncio.create_task(pulse.beat())
    await asyncio.sleep(0)  # it has begun to wait
    time.sleep(0.1)  # noqa: ASYNC251 - this is what shall show
    await until(lambda: pulse.worst > 0.05)
    beating.cancel()
