"""POST /models/{name}/predict over real sockets, and the schema in the model's view."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.native.chats import refused, streaming
from tests.router.dialects.records import known_status, model
from tests.router.fakes import Engine, Exchange, Stage, stage, until

SCHEMA = {"type": "object", "properties": {"rooms": {"type": "integer"}}}
OWN = known_status(
    capabilities=["predict"],
    engine={"name": "custom", "quantization": "none", "inputSchema": json.dumps(SCHEMA)},
)
URL = "/models/tiny-chat/predict"
BODY = {"input": {"rooms": 3}}


async def prices(exchange: Exchange) -> None:
    await exchange.answer({"model": "tiny-chat", "seconds": 0.5, "output": [exchange.json["input"]]})


async def serving(world: Stage, engine: Engine) -> None:
    world.cluster.add_model(model(aliases=["tiny", "Org/Tiny"], status=OWN))
    world.ready(engine, name="tiny-chat")
    await engines.awake(world)


@pytest.fixture
async def engine(world: Stage, make_engine: MakeEngine) -> Engine:
    made = await make_engine(prices)
    await serving(world, made)
    return made


@pytest.mark.parametrize("name", ["tiny-chat", "tiny", "Org/Tiny", "default/tiny-chat", "Org%2FTiny"])
async def test_a_prediction_by_any_name(client: httpx.AsyncClient, engine: Engine, name: str) -> None:
    answer = await client.post(f"/models/{name}/predict?x=1", json={**BODY, "keep_alive": "5m", "unknown": 1})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {"model": "tiny-chat", "seconds": 0.5, "output": [{"rooms": 3}]}
    assert answer.headers["x-dormouse-model"] == "default/tiny-chat"
    assert answer.headers["x-dormouse-engine"] == "custom"
    (seen,) = engine.seen
    assert (seen.path, seen.json) == ("/predict", {"model": "tiny-chat", "input": {"rooms": 3}, "stream": False})


async def test_inputs_are_passed_on_as_they_are_written(client: httpx.AsyncClient, engine: Engine) -> None:
    written = b'{"input":{"big": 123456789012345678901234567890, "e": 1e5,"s":"\\u00e9"},"stream":false}'
    assert (await client.post(URL, content=written)).status_code == 200
    assert b'{"big": 123456789012345678901234567890, "e": 1e5,"s":"\\u00e9"}' in engine.seen[0].body


async def test_a_stream_is_passed_on_as_it_comes(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    events = b'data: {"output":1}\n\ndata: {"output":2}\n\ndata: {"done": true}\n\n'
    await serving(world, await make_engine(streaming([events[:7], events[7:]])))
    answer = await client.post(URL, json={**BODY, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.content == events


async def test_a_stream_that_is_cut_ends_with_an_error(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    await serving(world, await make_engine(streaming([b'data: {"output":1}\n\n'], cut=True)))
    answer = await client.post(URL, json={**BODY, "stream": True})
    first, last = [json.loads(line[6:]) for line in answer.text.splitlines() if line]
    assert (first, last["status"]) == ({"output": 1}, 502)
    assert "send the request again" in last["error"]


@pytest.mark.parametrize(
    ("status", "said", "told"),
    [
        (422, {"error": "input.rooms: 'x'", "param": "input.rooms", "errors": []}, None),
        (429, {"error": "too many predictions"}, None),
        (500, {"error": "predict raised KeyError"}, None),
        (400, {"error": {"message": "in OpenAI's shape"}}, {"error": "in OpenAI's shape"}),
        (500, "oops", {"error": "oops"}),
    ],
)
async def test_what_the_engine_refuses_has_the_native_shape(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine, status: int, said: Any, told: Any
) -> None:
    await serving(world, await make_engine(engines.refusing(status, said)))
    for stream in (False, True):
        answer = await client.post(URL, json={**BODY, "stream": stream})
        assert (answer.status_code, answer.json()) == (status, told or said)


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (b"", "input", 'say what to predict from: {"input": {...}}'),
        (b"{}", "input", "say what to predict from"),
        (b'{"rooms": 3}', "input", "say what to predict from"),
        (b"{", None, "not valid JSON"),
        (b"[]", None, "the fields are input, stream, keep_alive"),
        (b'{"input": 1, "stream": "yes"}', None, "the fields are input, stream, keep_alive"),
        (b'{"input": 1, "keep_alive": "soon"}', None, "soon"),
    ],
)
async def test_what_is_no_prediction_wakes_nothing(
    client: httpx.AsyncClient, world: Stage, body: bytes, param: str | None, words: str
) -> None:
    world.cluster.add_model(model(status=OWN))
    await engines.known(world)
    status, field, text = refused(await client.post(URL, content=body))
    assert status == 400
    assert param in (None, field)
    assert words in text
    assert (world.cluster.writes, world.cluster.reads) == ([], 0)


async def test_who_takes_none_is_refused_before_a_wake(client: httpx.AsyncClient, world: Stage) -> None:
    world.cluster.add_model(model())
    await engines.known(world)
    status, field, text = refused(await client.post(URL, json=BODY))
    assert (status, field) == (400, "name")
    assert "'tiny-chat' takes no predictions: it can completion, tools" in text
    assert refused(await client.post("/models/nobody/predict", json=BODY))[0] == 404
    assert (await client.post("/models//predict", json=BODY)).status_code in (404, 405)
    assert world.cluster.writes == []


async def test_a_chat_to_a_model_of_predictions_is_refused_before_a_wake(
    client: httpx.AsyncClient, world: Stage
) -> None:
    world.cluster.add_model(model(status=OWN))
    await engines.known(world)
    for path, body in (
        ("/v1/chat/completions", {"messages": engines.HI}),
        ("/v1/embeddings", {"input": "x"}),
        ("/v1/images/generations", {"prompt": "x"}),
        ("/chat", {"prompt": "x"}),
    ):
        answer = await client.post(path, json={"model": "tiny-chat", **body})
        assert answer.status_code == 400, path
        assert "predict" in answer.text, path
    assert world.cluster.writes == []


async def test_a_prediction_wakes_a_model_that_sleeps(make_engine: MakeEngine) -> None:
    engine = await make_engine(prices)
    async with stage() as world, httpx.AsyncClient(base_url=world.url, timeout=20) as client:
        world.cluster.add_model(model(status=OWN))
        await engines.known(world)
        call = asyncio.create_task(client.post(URL, json=BODY))
        await until(lambda: bool(world.cluster.writes))
        world.ready(engine, name="tiny-chat")
        answer = await call
        assert answer.json()["output"] == [{"rooms": 3}]
        assert len(engine.seen) == 1


async def test_the_model_shows_its_schema_asleep_too(client: httpx.AsyncClient, world: Stage) -> None:
    world.cluster.add_model(model(status=OWN))
    await engines.known(world)
    assert (await client.get("/models/tiny-chat")).json()["input_schema"] == SCHEMA
    broken = OWN | {"engine": {"name": "custom", "quantization": "none", "inputSchema": "{"}}
    world.cluster.add_model(model("odd", status=broken))
    world.cluster.add_model(model("plain"))
    await engines.known(world, "odd")
    await engines.known(world, "plain")
    for name in ("odd", "plain"):
        assert (await client.get(f"/models/{name}")).json()["input_schema"] is None
