"""Who comes in is asked before any dialect hears of the request, on the hot paths and on the others."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

import httpx
import pytest

from dormouse_router.caller import Asked, Caller, Role, current
from dormouse_router.files.batches import NoBatches
from dormouse_router.guarded import Guarded
from dormouse_router.keeping import headers_owner
from dormouse_router.request import Refusal
from dormouse_router.store.memory import in_memory
from tests.router.fakes import Engine, Stage, stage, until

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Capital of France?"}]}
ALICE = Caller("user:alice", "user:alice", Role.USER, "user")


@dataclass
class Pass:
    caller: Caller
    gate: "SlowGate"
    lines: bytes = b"x-ratelimit-remaining-requests: 41\r\n"

    def leave(self) -> None:
        self.gate.left += 1


@dataclass
class SlowGate:
    """Knows `Bearer fast` at once and `Bearer slow` after `answer`; nobody else may come in."""

    answer: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0
    entered: int = 0
    left: int = 0
    charged: list[tuple[str, str]] = field(default_factory=list)
    hits: Counter[tuple[str, str]] = field(default_factory=Counter)

    def enter(self, asked: Asked) -> Pass | None:
        self.entered += 1
        word = asked.header(b"authorization")
        if word == b"Bearer slow":
            self.entered -= 1
            return None
        if word != b"Bearer fast":
            self.entered -= 1
            raise Refusal(401, f"Who are you, {asked.peer}?", code="invalid_api_key")
        return Pass(ALICE, self)

    def forget(self) -> None: ...

    def nameless(self, header: Callable[[bytes], bytes | None]) -> bool:
        return header(b"authorization") is None

    def charge(self, model: str, full_name: str) -> None:
        self.charged.append((model, full_name))

    async def ask(self, asked: Asked) -> Pass:
        self.asked += 1
        await self.answer.wait()
        self.entered += 1
        return Pass(ALICE, self)


@pytest.fixture
async def gate() -> SlowGate:
    return SlowGate()


@pytest.fixture
async def guarded(gate: SlowGate) -> AsyncIterator[Stage]:
    async with stage(gate=gate) as made:
        assert isinstance(made.router._hot, Guarded)
        yield made


@pytest.fixture
async def caller(guarded: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=guarded.url, timeout=20, trust_env=False) as client:
        yield client


FAST, SLOW = {"authorization": "Bearer fast"}, {"authorization": "Bearer slow"}


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/chat/completions"), ("GET", "/v1/models")])
async def test_a_stranger_is_refused_in_the_words_of_the_path(
    caller: httpx.AsyncClient, gate: SlowGate, method: str, path: str
) -> None:
    answer = await caller.request(method, path, json=CHAT)
    assert answer.status_code == 401
    assert answer.json()["error"] == {
        "message": "Who are you, 127.0.0.1?",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }
    assert gate.left == 0


async def test_who_is_let_in_is_served_and_told_of_its_limits(
    guarded: Stage, caller: httpx.AsyncClient, gate: SlowGate, engine: Engine
) -> None:
    await guarded.awake(engine)
    for answer in (
        await caller.post("/v1/chat/completions", json=CHAT, headers=FAST),
        await caller.get("/v1/models", headers=FAST),
    ):
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-ratelimit-remaining-requests"] == "41"
    await until(lambda: gate.left == 2)
    assert current() is None
    assert gate.charged == [("tiny", "default/tiny")], "a list of models takes nothing of any"


async def test_who_must_be_asked_for_waits_without_a_dialect_hearing_of_it(
    guarded: Stage, caller: httpx.AsyncClient, gate: SlowGate, engine: Engine
) -> None:
    await guarded.awake(engine)
    calls = [
        asyncio.create_task(caller.post("/v1/chat/completions", json=CHAT, headers=SLOW)),
        asyncio.create_task(caller.get("/v1/models", headers=SLOW)),
    ]
    await until(lambda: gate.asked == 2)
    assert not any(call.done() for call in calls)
    gate.answer.set()
    assert [(await call).status_code for call in calls] == [200, 200]
    await until(lambda: gate.left == gate.entered == 2)


async def test_a_client_that_leaves_while_it_is_asked_for_leaves_nothing_behind(
    guarded: Stage, caller: httpx.AsyncClient, gate: SlowGate
) -> None:
    call = asyncio.create_task(caller.post("/v1/chat/completions", json=CHAT, headers=SLOW))
    await until(lambda: gate.asked == 1)
    assert guarded.router.app.lives.count == 1
    call.cancel()
    await until(lambda: guarded.router.app.lives.count == 0)
    gate.answer.set()
    assert (await caller.get("/v1/models", headers=FAST)).status_code == 200
    await until(lambda: gate.left == gate.entered)


async def test_what_is_kept_belongs_to_the_caller_not_to_the_credential(
    guarded: Stage, caller: httpx.AsyncClient, gate: SlowGate
) -> None:
    made = await caller.post(
        "/v1/files", files={"file": ("a.txt", b"hello")}, data={"purpose": "user_data"}, headers=FAST
    )
    assert made.status_code == 200, made.text
    gate.answer.set()
    found = await caller.get("/v1/files", headers=SLOW)
    assert [each["id"] for each in found.json()["data"]] == [made.json()["id"]]
    assert headers_owner({"authorization": "Bearer fast"}) != ALICE.owner


async def test_the_batch_worker_comes_in_for_whose_lines_it_has(gate: SlowGate, engine: Engine) -> None:
    name = "worker-1/" + "0" * 32
    headers = {"x-dormouse-worker": name, "x-dormouse-owner": "user:alice"}

    class Known(NoBatches):
        async def attended(self, holder: str | None = None) -> bool:
            return holder == name

    async with (
        stage(replace(in_memory(), batches=Known()), gate=gate) as world,
        httpx.AsyncClient(base_url=world.url, timeout=20, trust_env=False) as client,
    ):
        await world.awake(engine)
        for method, path in (("POST", "/v1/chat/completions"), ("GET", "/models/tiny")):
            forged = await client.request(method, path, json=CHAT, headers=headers | {"x-dormouse-worker": "me"})
            assert forged.status_code == 403
            while (answer := await client.request(method, path, json=CHAT, headers=headers)).status_code == 503:
                pass  # its name is being looked up
            assert answer.status_code == 200
    assert (gate.entered, gate.left) == (0, 0), "whoever made the batch has passed the gate"
    assert current() is None


async def test_who_shows_nothing_is_refused_before_its_body_has_come(guarded: Stage) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", guarded.router.port)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: r\r\ncontent-length: 1000000\r\n\r\n"
    writer.write(head + b"{")
    async with asyncio.timeout(20):
        assert b" 401 " in await reader.readline()
        said = await reader.read()
    assert b"www-authenticate: Bearer" in said
    assert guarded.router._hot.arriving == 0
    writer.close()
