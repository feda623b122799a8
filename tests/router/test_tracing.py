"""Spans of requests and calls, as a real receiver has them, and the trace that engines are handed."""

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from dormouse_router.tracing.opening import open_tracing
from tests.otlp import Receiver, Span, receiving
from tests.router.conftest import MakeEngine
from tests.router.fakes import Engine, Exchange, Stage, chat_chunk, speak, stage

SERVER, CLIENT, INTERNAL = 2, 3, 1
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=value"}
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "a secret question"}]}
ROUTE = "POST /v1/chat/completions"


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    async with receiving(monkeypatch) as made:
        yield made


@pytest.fixture
async def traced(receiver: Receiver) -> AsyncIterator[Stage]:
    async with open_tracing(True) as spans, stage(spans=spans) as made:
        yield made


@pytest.fixture
async def caller(traced: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=traced.url, timeout=60, trust_env=False) as made:
        yield made


def handed(engine: Engine, index: int = 0) -> tuple[str, str]:
    """The trace and the span that an engine was told of."""
    found = re.search(rb"\r\ntraceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-01\r\n", engine.seen[index].head)
    assert found is not None, engine.seen[index].head
    return found[1].decode(), found[2].decode()


async def test_a_chat_goes_on_in_its_clients_trace(
    traced: Stage, receiver: Receiver, caller: httpx.AsyncClient, engine: Engine
) -> None:
    await traced.awake(engine)
    for stream in (False, True):
        receiver.spans.clear()
        engine.seen.clear()
        answer = await caller.post("/v1/chat/completions", json=CHAT | {"stream": stream}, headers=TRACEPARENT)
        assert answer.status_code == 200
        found = await receiver.until(ROUTE, "chat tiny")
        request, call = found[ROUTE], found["chat tiny"]
        assert (request.trace, request.parent, request.kind) == (TRACE, PARENT, SERVER)
        assert (call.trace, call.parent, call.kind) == (TRACE, request.id, CLIENT)
        assert handed(engine) == (TRACE, call.id)
        assert b"\r\ntracestate: vendor=value\r\n" in engine.seen[0].head
        assert request.service == "dormouse-router"
        _says(request, answer)
        assert call.said["server.port"] == engine.port
        assert call.said["http.response.status_code"] == 200
        assert {request.failed, call.failed} == {False}
    assert b"secret" not in receiver.raw


def _says(request: Span, answer: httpx.Response) -> None:
    wanted: dict[str, Any] = {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "dormouse.request_id": answer.headers["x-request-id"],
        "dormouse.model": "default/tiny",
        "dormouse.dialect": "openai",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "tiny",
    }
    assert wanted.items() <= request.said.items(), request.said
    if "stream" not in answer.headers["content-type"]:
        assert request.said["gen_ai.usage.input_tokens"] > 0
        assert request.said["gen_ai.usage.output_tokens"] > 0


CALLS: dict[str, dict[str, Any]] = {
    "/v1/completions": {"model": "tiny", "prompt": "x"},
    "/v1/embeddings": {"model": "tiny", "input": "x"},
    "/v1/messages": {"model": "tiny", "max_tokens": 9, "messages": CHAT["messages"]},
    "/v1/responses": {"model": "tiny", "input": "x"},
    "/api/chat": {"model": "tiny", "messages": CHAT["messages"]},
    "/api/generate": {"model": "tiny", "prompt": "x"},
    "/api/embed": {"model": "tiny", "input": "x"},
    "/api/embeddings": {"model": "tiny", "prompt": "x"},
    "/chat": {"model": "tiny", "message": "x"},
}


async def answering(exchange: Exchange) -> None:
    """Every route of an engine: vectors for embeddings, words for the rest."""
    if exchange.path == "/v1/embeddings":
        vectors = {"object": "list", "data": [{"index": 0, "embedding": [0.6, 0.8]}], "usage": {"prompt_tokens": 1}}
        await exchange.answer(vectors)
    else:
        await speak(exchange)


async def test_every_dialect_hands_the_trace_on(
    traced: Stage, receiver: Receiver, caller: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    engine = await make_engine(answering)
    await traced.awake(engine)
    for path, body in CALLS.items():
        assert (await caller.post(path, json=body, headers=TRACEPARENT)).status_code == 200, path
        found = await receiver.until(f"POST {path}")
        request = found[f"POST {path}"]
        assert (request.trace, request.parent) == (TRACE, PARENT)
        asked = [span for span in receiver.spans if span.kind == CLIENT and span.parent == request.id]
        assert [handed(engine, -1)] == [(TRACE, span.id) for span in asked], path


async def test_without_tracing_the_clients_own_trace_is_handed_on(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    engine = await make_engine(answering)
    await world.awake(engine)
    for path, body in CALLS.items():
        assert (await client.post(path, json=body, headers=TRACEPARENT)).status_code == 200, path
        assert handed(engine, -1) == (TRACE, PARENT), path


async def test_a_wake_is_a_child_of_the_call_that_waited(
    traced: Stage, receiver: Receiver, caller: httpx.AsyncClient, engine: Engine
) -> None:
    await traced.asleep()
    traced.wake_with(engine)
    assert (await caller.post("/v1/chat/completions", json=CHAT)).status_code == 200
    found = await receiver.until(ROUTE, "wake default/tiny", "chat tiny")
    request, wake, call = found.values()
    assert request.parent == ""
    assert wake.kind == INTERNAL
    assert wake.parent == call.parent == request.id
    assert {span.trace for span in found.values()} == {request.trace}
    assert request.said["dormouse.hold_seconds"] > 0


async def test_each_engine_that_was_asked_has_a_span(
    traced: Stage, receiver: Receiver, caller: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    async def dies(exchange: Exchange) -> None:
        exchange.cut()

    await traced.awake(await make_engine(dies), await make_engine(dies))
    assert (await caller.post("/v1/chat/completions", json=CHAT)).status_code == 502
    request = (await receiver.until(ROUTE))[ROUTE]
    attempts = receiver.named("chat tiny")
    assert [span.said["dormouse.attempt"] for span in attempts] == [1, 2]
    assert {(span.parent, span.failed, span.said["error.type"]) for span in attempts} == {
        (request.id, True, "Unreachable")
    }
    assert request.failed
    assert request.said["http.response.status_code"] == 502


async def test_a_client_that_leaves_is_499(
    traced: Stage, receiver: Receiver, caller: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    async def begins(exchange: Exchange) -> None:
        await exchange.stream_head()
        await exchange.event(chat_chunk("Par"))
        await exchange.closed()

    await traced.awake(await make_engine(begins))
    async with caller.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as answer:
        async for _ in answer.aiter_bytes():
            break
    found = await receiver.until(ROUTE, "chat tiny")
    assert found[ROUTE].said["http.response.status_code"] in (200, 499)
    assert found["chat tiny"].said["error.type"] == "CancelledError"
    assert found["chat tiny"].said["dormouse.first_token_seconds"] > 0


async def test_what_is_refused_and_what_is_no_call(
    traced: Stage, receiver: Receiver, caller: httpx.AsyncClient, engine: Engine
) -> None:
    await traced.awake(engine)
    assert (await caller.post("/v1/chat/completions", content=b"{")).status_code == 400
    assert (await caller.get("/v1/models/tiny?key=a-secret", headers=TRACEPARENT)).status_code == 200
    assert (await caller.get("/a-secret/path")).status_code == 404
    assert (await caller.request("PROPFIND", "/v1/models")).status_code == 405
    found = await receiver.until(ROUTE, "GET", "_OTHER /v1/models")
    assert found[ROUTE].said["http.response.status_code"] == 400
    assert not found[ROUTE].failed
    assert found["GET"].said["http.response.status_code"] == 404
    (read,) = [span for span in receiver.spans if span.trace == TRACE]
    assert read.said["http.route"].startswith("/v1/models/{")
    assert read.name == f"GET {read.said['http.route']}"
    assert b"secret" not in receiver.raw


async def test_a_trace_that_is_not_sampled_is_handed_on_and_exports_nothing(
    traced: Stage, receiver: Receiver, caller: httpx.AsyncClient, engine: Engine
) -> None:
    await traced.awake(engine)
    unsampled = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
    assert (await caller.post("/v1/chat/completions", json=CHAT, headers=unsampled)).status_code == 200
    assert f"\r\ntraceparent: 00-{TRACE}-".encode() in engine.seen[0].head
    assert (await caller.post("/v1/chat/completions", json=CHAT)).status_code == 200
    await receiver.until(ROUTE)
    assert [span.trace for span in receiver.named(ROUTE)] != [TRACE]
    assert TRACE not in {span.trace for span in receiver.spans}


OFF = """
import sys
import dormouse_router.__main__
assert not dormouse_router.__main__.Settings.from_env({}).tracing
import asyncio
from dormouse_router.tracing.opening import open_tracing
async def main():
    async with open_tracing(False) as spans:
        assert spans is None
asyncio.run(main())
heavy = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto", "google.protobuf", "dormouse_api.otlp")
print(sorted(name for name in sys.modules if name.startswith(heavy)))
"""


@pytest.mark.slow
def test_off_no_sdk_is_imported() -> None:
    """FastAPI imports OpenTelemetry's API by itself; of us nothing does."""
    done = subprocess.run([sys.executable, "-c", OFF], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
