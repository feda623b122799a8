"""Embeddings: what the engine is asked, row by row, and what is refused; and the rounds with an engine that counts."""

import json
import math
from typing import Any

import httpx
import pytest

from dormouse_router.dialects.ollama import embeds
from dormouse_router.dialects.ollama.requests import EmbedRequest, decode
from dormouse_router.request import Refusal
from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.ollama import sage
from tests.router.dialects.records import known_status, model, record
from tests.router.fakes import Engine, Exchange, Stage

SERVED = record(status=known_status(capabilities=["embedding"], contextLength=512))
LEAST = {"model": "tiny-chat", "input": ["a"], "encoding_format": "float", "truncate_prompt_tokens": -1}


def sent(legacy: bool = False, **fields: Any) -> dict[str, Any]:
    given = {"model": "m", "prompt" if legacy else "input": "a", **fields}
    request = decode(json.dumps(given).encode(), EmbedRequest)
    found: dict[str, Any] = json.loads(embeds.body(request, SERVED, embeds.inputs(request, legacy), legacy))
    return found


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({}, {}),
        ({"input": ["a", "b"]}, {"input": ["a", "b"]}),
        ({"truncate": True}, {}),
        ({"truncate": None, "dimensions": None, "options": None, "keep_alive": None}, {}),
        ({"dimensions": 2, "keep_alive": "5m", "options": {"temperature": 0, "seed": 1}}, {}),
        ({"options": {"num_ctx": 30}}, {"truncate_prompt_tokens": 30}),
        ({"options": {"num_ctx": 4096}}, {}),
        ({"legacy": True}, {"use_activation": False}),
    ],
)
def test_what_the_engine_is_asked(fields: dict[str, Any], changed: dict[str, Any]) -> None:
    assert sent(**fields) == LEAST | changed


def test_what_must_not_be_cut_is_not() -> None:
    assert "truncate_prompt_tokens" not in sent(truncate=False)
    assert "truncate_prompt_tokens" not in sent(truncate=False, options={"num_ctx": 30})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"input": 7}, "invalid input type"),
        ({"input": ["a", 7]}, "invalid input type"),
        ({"input": {"a": 1}}, "invalid input type"),
        ({"dimensions": -1}, "dimensions must be at least 1"),
        ({"options": {"num_ctx": "x"}}, 'option "num_ctx" must be of type integer'),
        ({"options": {"temperature": "x"}}, 'option "temperature" must be of type float32'),
        ({"options": {"num_ctx": 1}}, "input after truncation exceeds maximum context length"),
        ({"options": {"num_ctx": 0}}, "input after truncation exceeds maximum context length"),
    ],
)
def test_bad_wishes_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(Refusal, match=words) as refused:
        sent(**fields)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("vector", "dimensions", "wanted"),
    [([3.0, 4.0], None, [0.6, 0.8]), ([3.0, 4.0], 1, [1.0]), ([3.0, 4.0], 9, [0.6, 0.8]), ([0.0, 0.0], None, [0, 0])],
)
def test_vectors_have_a_length_of_one(vector: list[float], dimensions: int | None, wanted: list[float]) -> None:
    assert embeds.normalised(vector, dimensions) == pytest.approx(wanted)


# ---------------------------------------------------------------------------------------------------- over sockets


@pytest.fixture
async def counting(world: Stage, make_engine: MakeEngine) -> Engine:
    engine = await make_engine(sage.serve)
    world.cluster.add_model(model("e5", status=known_status(capabilities=["embedding"], contextLength=sage.CONTEXT)))
    world.ready(engine, name="e5")
    await engines.awake(world, "e5")
    return engine


@pytest.mark.usefixtures("counting")
async def test_num_ctx_cuts_or_refuses(client: httpx.AsyncClient) -> None:
    long = {"model": "e5", "input": ["why is the sky blue?", "why"], "options": {"num_ctx": 3}}
    cut = (await client.post("/api/embed", json=long)).json()
    assert cut["embeddings"][0] == pytest.approx(cut["embeddings"][1])
    assert [math.hypot(*vector) for vector in cut["embeddings"]] == pytest.approx([1, 1])
    assert cut["prompt_eval_count"] == 6
    kept = await client.post("/api/embed", json={**long, "truncate": False})
    assert (kept.status_code, kept.json()) == (400, {"error": "the input length exceeds the context length"})
    short = {**long, "input": ["why", "sky"], "truncate": False}
    assert (await client.post("/api/embed", json=short)).status_code == 200


async def test_texts_longer_than_the_model_are_refused_uncut(client: httpx.AsyncClient, counting: Engine) -> None:
    wish = {"model": "e5", "input": "word " * 600, "truncate": False}
    refused = await client.post("/api/embed", json=wish)
    assert (refused.status_code, refused.json()) == (400, {"error": "the input length exceeds the context length"})
    assert [exchange.path for exchange in counting.seen] == ["/v1/embeddings"]
    assert (await client.post("/api/embed", json={**wish, "truncate": True})).status_code == 200


@pytest.mark.usefixtures("counting")
@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        ("/api/embed", {}, {"model": "e5", "embeddings": []}),
        ("/api/embed", {"input": ""}, {"model": "e5", "embeddings": []}),
        ("/api/embed", {"input": []}, {"model": "e5", "embeddings": []}),
        ("/api/embed", {"input": None}, {"model": "e5", "embeddings": []}),
        ("/api/embeddings", {}, {"embedding": []}),
        ("/api/embeddings", {"prompt": ""}, {"embedding": []}),
    ],
)
async def test_nothing_to_embed_loads(client: httpx.AsyncClient, path: str, body: Any, answer: Any) -> None:
    found = await client.post(path, json={"model": "e5", **body})
    assert (found.status_code, found.json()) == (200, answer)


async def test_an_engine_that_cannot_count_decides(client: httpx.AsyncClient, counting: Engine) -> None:
    async def uncounting(exchange: Exchange) -> None:
        if exchange.path.endswith("/tokenize"):
            await exchange.answer({"detail": "Not Found"}, 404)
        else:
            await sage.serve(exchange)

    counting.serve = uncounting
    wish = {"model": "e5", "input": "why is the sky blue?", "truncate": False, "options": {"num_ctx": 3}}
    assert (await client.post("/api/embed", json=wish)).status_code == 200


@pytest.mark.parametrize(
    ("answer", "words"),
    [({"data": []}, "sent no vectors"), ({"data": 7}, "cannot be read"), ([], "cannot be read")],
)
async def test_an_engine_that_talks_nonsense(
    client: httpx.AsyncClient, counting: Engine, answer: Any, words: str
) -> None:
    counting.serve = engines.refusing(200, answer)
    found = await client.post("/api/embed", json={"model": "e5", "input": "x"})
    assert (found.status_code, words in found.json()["error"]) == (502, True)
