"""Rerank, score, images, speech, tokens, and forms: to the model's engine where it has them, a 400 where it has not."""

from typing import Any

import httpx
import pytest

from dormouse_router.cluster import Resource
from dormouse_router.dataplane.peek import BadBody
from dormouse_router.dialects.openai.forms import Form
from tests.router.conftest import MakeEngine
from tests.router.dialects.records import known_status, model
from tests.router.fakes import Engine, Exchange, Stage, route, until

RERANK = {"query": "q", "documents": ["a", "b"], "top_n": 1}
SCORE = {"text_1": "q", "text_2": ["a", "b"]}
VOICE = b"\x00\xff RIFF \r\n--b\r\n not quite the boundary \x80"
ALIAS = "Org/Tiny"

PASSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("/v1/rerank", "/rerank", RERANK, "embedding"),
    ("/rerank", "/rerank", RERANK, "embedding"),
    ("/v2/rerank", "/rerank", RERANK, "embedding"),
    ("/v1/score", "/score", SCORE, "embedding"),
    ("/score", "/score", {"queries": "q", "documents": ["a"]}, "embedding"),
    ("/score", "/score", {"queries": "q", "items": ["a"]}, "embedding"),
    ("/score", "/score", {"data_1": "q", "data_2": ["a"]}, "embedding"),
    ("/v1/images/generations", "/v1/images/generations", {"prompt": "a dormouse", "n": 2, "size": "64x64"}, "image"),
    ("/v1/audio/speech", "/v1/audio/speech", {"input": "hello", "voice": "alloy"}, "speech"),
    ("/tokenize", "/tokenize", {"prompt": "x", "add_special_tokens": False}, "completion"),
    ("/tokenize", "/tokenize", {"messages": [{"role": "user", "content": "x"}]}, "embedding"),
    ("/detokenize", "/detokenize", {"tokens": [1, 2]}, "completion"),
]
FORMS = [
    ("/v1/audio/transcriptions", "file", "audio"),
    ("/v1/audio/translations", "file", "audio"),
    ("/v1/images/edits", "image", "image"),
    ("/v1/images/edits", "image[]", "image"),
    ("/v1/images/variations", "image", "image"),
]


async def echo(exchange: Exchange) -> None:
    await exchange.answer({"path": exchange.path, "model": exchange.json["model"], "results": []})


async def serve(world: Stage, engine: Engine, capability: str) -> None:
    world.cluster.add_model(model(aliases=[ALIAS], status=known_status(capabilities=[capability])))
    await world.awake(engine, name="tiny-chat")


@pytest.mark.parametrize(("path", "on_engine", "fields", "capability"), PASSED)
async def test_a_call_reaches_the_engines_route(
    world: Stage, client: httpx.AsyncClient, engine: Engine, path: str, on_engine: str, fields: Any, capability: str
) -> None:
    engine.serve = echo
    await serve(world, engine, capability)
    answer = await client.post(path, json={"model": ALIAS, **fields})
    assert answer.json() == {"path": on_engine, "model": ALIAS, "results": []}
    assert engine.seen[0].json == {"model": "tiny-chat", **fields}
    assert answer.headers["x-dormouse-model"] == "default/tiny-chat"


@pytest.mark.parametrize(
    ("path", "fields", "able"),
    [(path, fields, able) for path, _, fields, able in PASSED if able != "completion" and path != "/tokenize"],
)
async def test_a_model_that_cannot_says_so_and_sleeps_on(
    world: Stage, client: httpx.AsyncClient, path: str, fields: Any, able: str
) -> None:
    await world.asleep(model())
    answer = await client.post(path, json={"model": "tiny-chat", **fields})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "model_not_supported", "model")
    assert "it can completion, tools." in error["message"]
    assert world.cluster.writes == []


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/rerank", {"query": "q", "documents": ["a"]}, "model"),
        ("/v1/rerank", {"model": "", "query": "q", "documents": ["a"]}, "model"),
        ("/v1/rerank", {"model": "tiny-chat", "documents": ["a"]}, "query"),
        ("/v1/rerank", {"model": "tiny-chat", "query": "q"}, "documents"),
        ("/v1/rerank", {"model": "tiny-chat", "query": "q", "documents": []}, "documents"),
        ("/v1/rerank", {"model": "tiny-chat", "query": "q", "documents": ["a"], "top_n": -1}, "top_n"),
        ("/v1/score", {"model": "tiny-chat", "text_1": "x"}, "queries"),
        ("/v1/images/generations", {"model": "tiny-chat"}, "prompt"),
        ("/v1/images/generations", {"model": "tiny-chat", "prompt": "x", "n": 11}, "n"),
        ("/v1/audio/speech", {"model": "tiny-chat", "input": ""}, "input"),
        ("/tokenize", {"model": "tiny-chat"}, "prompt"),
        ("/tokenize", {"model": "tiny-chat", "prompt": "x", "messages": []}, "prompt"),
        ("/detokenize", {"model": "tiny-chat", "tokens": ["x"]}, "tokens[0]"),
    ],
)
async def test_a_body_that_cannot_be_obeyed_wakes_nothing(
    world: Stage, client: httpx.AsyncClient, path: str, body: Any, param: str
) -> None:
    await world.asleep(model())
    answer = await client.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert world.cluster.reads == 0


async def test_speech_keeps_its_bytes_and_their_type(world: Stage, client: httpx.AsyncClient, engine: Engine) -> None:
    async def speak(exchange: Exchange) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: %d\r\n\r\n" % len(VOICE)
        await exchange.raw(head + VOICE)

    engine.serve = speak
    await serve(world, engine, "speech")
    answer = await client.post("/v1/audio/speech", json={"model": "tiny-chat", "input": "hello"})
    assert (answer.content, answer.headers["content-type"]) == (VOICE, "audio/mpeg")


# ---------------------------------------------------------------------------------------------------- forms


@pytest.mark.parametrize(("path", "field", "capability"), FORMS)
async def test_a_form_goes_on_as_it_came_but_for_the_models_name(
    world: Stage, client: httpx.AsyncClient, engine: Engine, path: str, field: str, capability: str
) -> None:
    async def hear(exchange: Exchange) -> None:
        await exchange.answer({"text": "Paris."})

    engine.serve = hear
    await serve(world, engine, capability)
    data = {"model": ALIAS, "prompt": "\u00eb"}
    request = client.build_request("POST", path, data=data, files={field: ("a", VOICE)})
    sent = await request.aread()
    answer = await client.send(request)
    assert answer.json() == {"text": "Paris."}
    (seen,) = engine.seen
    assert seen.path == path
    assert seen.body == sent.replace(ALIAS.encode(), b"tiny-chat")
    assert f"content-type: {request.headers['content-type']}".encode() in seen.head


async def test_subtitles_and_streams_come_as_they_are(world: Stage, client: httpx.AsyncClient, engine: Engine) -> None:
    said = b'data: {"type":"transcript.text.delta","delta":"Par"}\n\ndata: [DONE]\n\n'

    async def hear(exchange: Exchange) -> None:
        if b'name="stream"' in exchange.body:
            await exchange.stream_head()
            await exchange.chunk(said)
            await exchange.raw(b"0\r\n\r\n")
        else:
            await exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\nParis.")

    engine.serve = hear
    await serve(world, engine, "audio")
    files = {"file": ("a.wav", VOICE)}
    whole = await client.post("/v1/audio/transcriptions", data={"model": ALIAS}, files=files)
    assert (whole.text, whole.headers["content-type"]) == ("Paris.", "text/plain")
    streamed = await client.post("/v1/audio/transcriptions", data={"model": ALIAS, "stream": "true"}, files=files)
    assert streamed.content == said


async def test_a_form_by_a_route_names_whoever_answers(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    async def hear(exchange: Exchange) -> None:
        await exchange.answer({"text": exchange.body.count(b"tiny-chat")})

    await serve(world, await make_engine(hear), "audio")
    world.cluster.put(Resource.ROUTES, route("ears", ("tiny-chat", 1), defaults={"temperature": 0.5}))
    await until(lambda: world.router.catalog.find_route("ears") is not None)
    answer = await client.post("/v1/audio/translations", data={"model": "ears"}, files={"file": ("a.wav", VOICE)})
    assert (answer.json(), answer.headers["x-dormouse-route"]) == ({"text": 1}, "default/ears")


@pytest.mark.parametrize(
    ("data", "files", "param"),
    [
        ({"model": "tiny-chat"}, {"other": ("a", b"x")}, "file"),
        ({"language": "en"}, {"file": ("a", b"x")}, "model"),
        ({"model": ""}, {"file": ("a", b"x")}, "model"),
        ({"model": "nobody"}, {"file": ("a", b"x")}, "model"),
    ],
)
async def test_a_form_that_lacks_something(
    world: Stage, client: httpx.AsyncClient, data: dict[str, str], files: Any, param: str
) -> None:
    await world.asleep(model(status=known_status(capabilities=["audio"])))
    answer = await client.post("/v1/audio/transcriptions", data=data, files=files)
    assert answer.status_code == (404 if "nobody" in data.values() else 400)
    assert answer.json()["error"]["param"] == param
    assert world.cluster.reads == 0


HEAD = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\n'


@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        (b"application/json", b"{}", "send multipart/form-data"),
        (b"multipart/form-data", HEAD, "send multipart/form-data"),
        (b"multipart/form-data; boundary=b", b"", "does not begin"),
        (b"multipart/form-data; boundary=b", b"x" + HEAD, "does not begin"),
        (b"multipart/form-data; boundary=b", HEAD + b"x", "has no end"),
        (b"multipart/form-data; boundary=b", HEAD + b"x\r\n--b", "does not end"),
        (b"multipart/form-data; boundary=b", b"--b\r\nx: y\r\n\r\nx\r\n--b--", "has no name"),
        (b"multipart/form-data; boundary=b", HEAD.replace(b"\r\n\r\n", b"\r\n" * 9000), "has no end"),
        (b"multipart/form-data; boundary=b", (HEAD + b"x\r\n") * 101 + b"--b--", "more than 100"),
    ],
)
def test_what_is_no_form(content_type: bytes, body: bytes, words: str) -> None:
    with pytest.raises(BadBody, match=words):
        Form(content_type, body)


def test_every_model_in_a_form_is_renamed_and_no_other_byte() -> None:
    body = HEAD + b"one\r\n" + HEAD.replace(b"model", b"file") + b"--b one\r\n" + HEAD + b"\r\n--b--\r\n"
    form = Form(b'multipart/form-data; charset=utf-8; boundary="b"', body)
    assert (form.value("model"), form.value("file"), form.value("other")) == (b"", b"--b one", None)
    assert form.renamed("two") == body.replace(b"\r\n\r\none", b"\r\n\r\ntwo").replace(
        HEAD + b"\r\n", HEAD + b"two\r\n"
    )
