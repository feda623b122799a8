"""Every answer says which weights it is of: whole or streamed, the engine's error or our refusal, in every dialect."""

import asyncio
from typing import Any

import httpx
import pytest

from dormouse_router.cluster import Resource
from tests.router.conftest import MakeEngine
from tests.router.fakes import Exchange, Stage, chat_chunk, model, speak, stage, until

pytestmark = pytest.mark.slow

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ENGINE = {"name": "vllm", "version": "0.11.0", "quantization": "int4"}
ORIGIN = {
    "x-dormouse-model": "default/tiny",
    "x-dormouse-commit": COMMIT,
    "x-dormouse-quantization": "int4",
    "x-dormouse-engine": "vllm",
}
MESSAGES = [{"role": "user", "content": "x"}]
CALLS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "tiny", "messages": MESSAGES},
    "/v1/completions": {"model": "tiny", "prompt": "x"},
    "/v1/embeddings": {"model": "tiny", "input": "x"},
    "/v1/messages": {"model": "tiny", "max_tokens": 9, "messages": MESSAGES},
    "/v1/responses": {"model": "tiny", "input": "x"},
    "/api/chat": {"model": "tiny", "messages": MESSAGES},
    "/api/generate": {"model": "tiny", "prompt": "x"},
    "/api/embed": {"model": "tiny", "input": "x"},
    "/api/embeddings": {"model": "tiny", "prompt": "x"},
}
STREAMED = [path for path in CALLS if "embed" not in path]


def known(reason: str = "Serving", message: str = "", **scaling: Any) -> Any:
    return model(reason=reason, message=message, scaling=scaling, status={"commit": COMMIT, "engine": ENGINE})


def origin(answer: httpx.Response) -> dict[str, str]:
    """The headers of provenance; each must be there once."""
    found = [(name, value) for name, value in answer.headers.multi_items() if name in ORIGIN]
    assert len(found) == len(dict(found)), found
    return dict(found)


async def answering(exchange: Exchange) -> None:
    """Every route of an engine: vectors for embeddings, words for the rest."""
    if exchange.path == "/v1/embeddings":
        vectors = {"object": "list", "data": [{"index": 0, "embedding": [0.6, 0.8]}], "usage": {"prompt_tokens": 1}}
        await exchange.answer(vectors)
    else:
        await speak(exchange)


@pytest.mark.parametrize("path", CALLS)
async def test_a_whole_answer(world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine, path: str) -> None:
    world.cluster.add_model(known())
    await world.awake(await make_engine(answering))
    answer = await client.post(path, json=CALLS[path] | {"stream": False})
    assert answer.status_code == 200, answer.text
    assert origin(answer) == ORIGIN
    assert int(answer.headers["x-dormouse-hold-ms"]) >= 0


@pytest.mark.parametrize("path", STREAMED)
async def test_a_stream(world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine, path: str) -> None:
    world.cluster.add_model(known())
    await world.awake(await make_engine(answering))
    answer = await client.post(path, json=CALLS[path] | {"stream": True})
    assert answer.status_code == 200
    assert origin(answer) == ORIGIN
    assert "x-dormouse-hold-ms" in answer.headers


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize("status", [400, 500, 503])
async def test_an_engines_error(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine, path: str, status: int
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer({"error": {"message": "no", "code": status}}, status=status)

    world.cluster.add_model(known())
    await world.awake(await make_engine(refuse))
    answer = await client.post(path, json=CALLS[path])
    assert answer.status_code in (status, 500)  # Ollama knows few statuses
    assert origin(answer) == ORIGIN


@pytest.mark.parametrize("path", CALLS)
async def test_an_engine_that_dies(world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine, path: str) -> None:
    async def die(exchange: Exchange) -> None:
        exchange.cut()

    world.cluster.add_model(known())
    await world.awake(await make_engine(die))
    answer = await client.post(path, json=CALLS[path])
    assert answer.status_code == 502
    assert origin(answer) == ORIGIN


@pytest.mark.parametrize("path", CALLS)
async def test_a_refusal_while_it_wakes(world: Stage, client: httpx.AsyncClient, path: str) -> None:
    await world.asleep(known("ScaledToZero", "Asleep."))
    answer = await client.post(path, json=CALLS[path], headers={"x-dormouse-hold-seconds": "0"})
    assert answer.status_code in (503, 529)
    assert origin(answer) == ORIGIN


@pytest.mark.parametrize("path", CALLS)
async def test_a_model_that_cannot_be_served(world: Stage, client: httpx.AsyncClient, path: str) -> None:
    await world.asleep(known("EngineFailed", "Both engines failed."))
    answer = await client.post(path, json=CALLS[path])
    assert answer.status_code in (503, 529)
    assert origin(answer) == ORIGIN


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_a_held_stream_says_it_in_its_head(make_engine: MakeEngine, path: str) -> None:
    """Which is out before the engine answers: what is known then."""
    async with stage(comment_after=0.01, comment_every=0.01) as world, httpx.AsyncClient(base_url=world.url) as client:
        await world.asleep(known("ScaledToZero", "Asleep."))
        async with client.stream("POST", path, json=CALLS[path] | {"stream": True}) as answer:
            assert origin(answer) == ORIGIN
            world.ready(await make_engine())
            await answer.aread()


async def test_what_is_learned_while_it_wakes_is_told(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    """Before its first start nobody knows the engine, nor after the pull began the commit."""
    go_on = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await go_on.wait()
        await speak(exchange)

    await world.asleep(model(reason="Pulling", message="Pulling.", status={"commit": None}))
    calls = [asyncio.create_task(client.post(path, json=CALLS[path])) for path in ("/v1/chat/completions", "/api/chat")]
    await until(lambda: world.router.plane.hold.bytes > 0)
    engine = await make_engine(slow)
    world.ready(engine)
    await until(lambda: len(engine.seen) == 2)
    world.cluster.put(Resource.MODELS, known())  # the operator's word may come after the endpoint's
    await until(lambda: world.router.plane.find("tiny").status.engine is not None)
    go_on.set()
    for answer in await asyncio.gather(*calls):
        assert answer.status_code == 200
        assert origin(answer) == ORIGIN


async def test_an_unknown_model_says_nothing(world: Stage, client: httpx.AsyncClient) -> None:
    for path, body in CALLS.items():
        assert origin(await client.post(path, json=body)) == {}


async def test_two_requests_of_one_connection_do_not_mix(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    async def talk(exchange: Exchange) -> None:
        await exchange.stream_head()
        await exchange.event(chat_chunk("x", finish="stop"))
        await exchange.finish()

    world.cluster.add_model(known())
    await world.awake(await make_engine(talk))
    assert origin(await client.post("/api/chat", json=CALLS["/api/chat"])) == ORIGIN
    assert origin(await client.post("/api/chat", json=CALLS["/api/chat"] | {"model": "nobody"})) == {}
