"""Bodies, paths and queries that nobody should send: refused in the words of their dialect, before anything is woken.

The table of bodies runs on a model that sleeps, so that a body which passes shows as a wake.
"""

import asyncio
import contextlib
import gzip
import json
import logging
import zlib
from typing import Any

import httpx
import pytest

from dormouse_router.inflate import MOST
from tests.router.fakes import Engine, Exchange, Stage, chat_completion, model, stage, until
from tests.router.wire import BODY, CLOSE, POST, bad, chunk, good_client, in_chunks, raw, said, sized, statuses

CONTENT = b'{"model":"tiny","messages":[{"role":"user","content":%b}]%b}'
PROMPT = b'{"model":"tiny","prompt":%b%b}'
INPUT = b'{"model":"tiny","input":%b%b}'
ROUTES = {
    "/v1/chat/completions": CONTENT,
    "/v1/completions": PROMPT,
    "/v1/embeddings": INPUT,
    "/api/chat": CONTENT,
    "/api/generate": PROMPT,
    "/api/embed": INPUT,
}
DEEP = 100_000
BAD: dict[str, tuple[bytes, bytes]] = {
    "a byte that is no UTF-8": (b'"\xff\xfe"', b""),
    "a surrogate in UTF-8": (b'"\xed\xa0\x80"', b""),
    "an overlong sequence": (b'"\xc0\xaf"', b""),
    "a cut sequence": (b'"\xe4\xb8"', b""),
    "no UTF-8 in an unknown field": (b'"x"', b',"z":"\xff"'),
    "no UTF-8 in a key": (b'"x"', b',"\xff":1'),
    "no UTF-8 deep inside": (b'[{"type":"text","text":"\xff"}]', b""),
    "half an escaped surrogate": (b'"\\ud800"', b""),
    "an unknown escape": (b'"\\q"', b""),
    "a line end in a string": (b'"a\nb"', b""),
    "NUL in a string": (b'"a\0b"', b""),
    "a number with a leading zero": (b"[01]", b""),
    "NaN": (b'"x"', b',"z":NaN'),
    "Infinity": (b'"x"', b',"z":-Infinity'),
    "a list without an element": (b"[1,,2]", b""),
    "a comma at the end": (b'"x"', b","),
    "a comment": (b'"x"', b"/* no */"),
    "lists in lists": (b"[" * DEEP + b"]" * DEEP, b""),
    "lists in an unknown field": (b'"x"', b',"z":' + b"[" * DEEP + b"]" * DEEP),
    "objects in an unknown field": (b'"x"', b',"z":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP),
    "a million open lists": (b'"x"', b',"z":' + b"[" * 1_000_000),
    "a second object": (b'"x"}{"a":"b"', b""),
    "bytes after the object": (b'"x"', b"}\0"),
}
WHOLE: dict[str, bytes] = {
    "a byte order mark": b"\xef\xbb\xbf" + BODY,
    "UTF-16": BODY.decode().encode("utf-16"),
    "UTF-32": BODY.decode().encode("utf-32"),
    "nothing": b"",
    "white space": b" \n\t ",
    "a list": b"[]",
    "null": b"null",
    "a string": b'"tiny"',
    "a form": b"model=tiny&prompt=x",
    "half of it": BODY[:-9],
    "no model": b'{"messages":[{"role":"user","content":"x"}],"prompt":"x","input":"x"}',
    "a model that is a number": BODY.replace(b'"tiny"', b"7"),
    "a model that is null": BODY.replace(b'"tiny"', b"null"),
    "a model that is empty": BODY.replace(b'"tiny"', b'""'),
}


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="uvicorn.error")


def message_of(answer: dict[str, Any]) -> str:
    """The sentence in an error of OpenAI's shape or of Ollama's."""
    error = answer["error"]
    return str(error["message"] if isinstance(error, dict) else error)


@pytest.mark.parametrize("path", ROUTES)
async def test_bad_bodies_are_refused_and_wake_nothing(world: Stage, client: httpx.AsyncClient, path: str) -> None:
    await world.asleep()
    bodies = {name: ROUTES[path] % parts for name, parts in BAD.items()} | WHOLE
    for name, body in bodies.items():
        answer = await client.post(path, content=body, timeout=5)
        assert answer.status_code == 400, name
        assert message_of(answer.json()), name
        assert len(answer.content) < 1500, name
    assert (world.cluster.writes, world.cluster.reads) == ([], 0)


@pytest.mark.parametrize("path", [*ROUTES, "/pull", "/api/pull", "/api/show"])
@pytest.mark.parametrize("coding", ["deflate", "br", "zstd", "gzip, identity", "gzip, gzip"])
async def test_a_body_compressed_otherwise_is_refused_unread(
    world: Stage, client: httpx.AsyncClient, path: str, coding: str
) -> None:
    await world.asleep()
    bomb = zlib.compress(b" " * 10_000_000) if coding == "deflate" else gzip.compress(b" " * 10_000_000)
    answer = await client.post(path, content=bomb, headers={"content-encoding": coding})
    assert answer.status_code == 415
    assert "Content-Encoding" in message_of(answer.json())
    assert (world.cluster.writes, world.cluster.created) == ([], [])


PACKED = gzip.compress(BODY)


@pytest.mark.parametrize(
    ("packed", "status"),
    [
        pytest.param(gzip.compress(b" " * (MOST + 1)), 413, id="a bomb"),
        pytest.param(gzip.compress(b" " * 10 * MOST), 413, id="a larger one"),
        pytest.param(gzip.compress(gzip.compress(BODY)), 400, id="twice"),
        pytest.param(PACKED[:-1], 400, id="cut short"),
        pytest.param(PACKED[:-8] + b"12345678", 400, id="another sum"),
        pytest.param(PACKED + b"more", 400, id="and more"),
        pytest.param(PACKED * 2, 400, id="two of them"),
        pytest.param(gzip.compress(b"\xff"), 400, id="no UTF-8"),
        pytest.param(BODY, 400, id="no gzip"),
        pytest.param(b"", 400, id="nothing"),
    ],
)
async def test_a_gzip_that_is_none_or_too_much_wakes_nothing(
    world: Stage, client: httpx.AsyncClient, packed: bytes, status: int
) -> None:
    await world.asleep()
    answer = await client.post("/v1/chat/completions", content=packed, headers={"content-encoding": "gzip"})
    assert answer.status_code == status
    assert message_of(answer.json())
    assert (world.cluster.writes, world.cluster.reads) == ([], 0)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/chat"])
async def test_a_gzip_is_inflated_for_the_engine(
    world: Stage, client: httpx.AsyncClient, engine: Engine, path: str
) -> None:
    await world.awake(engine)
    said = BODY.replace(b"{", b'{"max_tokens": 5, "stream": true, ', 1)
    answer = await client.post(path, content=gzip.compress(said), headers={"content-encoding": "GZip"})
    assert answer.status_code == 200
    assert json.loads(engine.seen[0].body)["messages"] == json.loads(BODY)["messages"]
    assert b"content-encoding" not in engine.seen[0].head


async def test_identity_is_no_compression(world: Stage, client: httpx.AsyncClient, engine: Engine) -> None:
    await world.awake(engine)
    answer = await client.post("/v1/chat/completions", content=BODY, headers={"content-encoding": "Identity"})
    assert answer.status_code == 200


async def test_an_answer_is_never_inflated(world: Stage, client: httpx.AsyncClient, engine: Engine) -> None:
    """An engine that compresses, though nobody asked it to, fails that call and nothing else."""
    await world.awake(engine)
    packed = gzip.compress(json.dumps(chat_completion("x")).encode() + b" " * 20_000_000)

    async def pack(exchange: Exchange) -> None:
        await exchange.answer(packed, headers="content-encoding: gzip\r\n")

    engine.serve = pack
    answer = await client.post("/v1/chat/completions", content=BODY)
    assert "content-encoding" not in answer.headers
    assert len(answer.content) <= len(packed)


TAKEN: dict[str, tuple[bytes, bytes]] = {
    "every script": (json.dumps("Ünï, 中文, 😀, \u2028", ensure_ascii=False).encode(), b""),
    "escapes": (b'"\\u00e4\\ud83d\\ude00\\n"', b""),
    "an unknown number of any size": (b'"x"', b',"z":' + b"9" * 4_000),
    "an unknown fraction of any size": (b'"x"', b',"z":1e999'),
    "an unknown key, twice": (b'"x"', b',"z":1,"z":2'),
    "lists in lists, a few": (b'"x"', b',"z":' + b"[" * 100 + b"]" * 100),
}


@pytest.mark.parametrize("row", TAKEN)
async def test_what_is_only_strange_reaches_the_engine_as_it_came(
    world: Stage, client: httpx.AsyncClient, engine: Engine, row: str
) -> None:
    await world.awake(engine)
    body = CONTENT % TAKEN[row]
    answer = await client.post("/v1/chat/completions", content=body)
    assert answer.status_code == 200
    assert bad(engine) == [body]


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [("nobody", "tiny", 200), ("tiny", "nobody", 404), ("nobody", "little", 200), ("little", "tiny", 200)],
)
async def test_of_two_models_in_one_body_the_last_counts_for_everybody(
    world: Stage, client: httpx.AsyncClient, engine: Engine, first: str, second: str, status: int
) -> None:
    """Whichever the engine's parser takes, it is the one whose lease was written: never the other."""
    await world.asleep(model(aliases=("little",)))
    world.ready(engine)
    await until(lambda: world.endpoints() == 1)
    body = f'{{"model":"{first}","model":"{second}","messages":[{{"role":"user","content":"x"}}]}}'
    answer = await client.post("/v1/chat/completions", content=body)
    assert answer.status_code == status
    if status == 200:
        assert engine.seen[0].json["model"] == "tiny"


PATHS: dict[bytes, int] = {
    b"/v1/models/%00": 404,
    b"/v1/models/tiny%00": 404,
    b"/v1/models/%0d%0ax-smuggled:%201": 404,
    b"/v1/models/%2e%2e%2f%2e%2e%2fetc%2fpasswd": 404,
    b"/v1/models/../../etc/passwd": 404,
    b"/v1/../v1/models": 404,
    b"/v1/./models": 404,
    b"//v1/models": 404,
    b"/v1//models": 404,
    b"/v1/models/%zz": 404,
    b"/v1/models/%ff%fe": 404,
    b"/v1/models/" + b"a" * 50_000: 404,
    b"/v1/models?" + b"a=b&" * 10_000: 200,
    b"/v1/models;x=y": 404,
    b"/V1/MODELS": 404,
    b"/jobs/..%2f..%2fsecret": 404,
    b"/api/blobs/sha256:../../x": 404,
    b"/docs/../../etc/passwd": 404,
    b"/openapi.json%00.html": 404,
    b"*": 404,
}


async def test_paths_lead_nowhere_but_where_they_say(world: Stage, engine: Engine) -> None:
    await world.awake(engine)
    async with good_client(world):
        for path, status in PATHS.items():
            answer = await said(world, b"GET %b HTTP/1.1\r\nhost: x\r\n%b\r\n" % (path, CLOSE))
            assert statuses(answer) == [status], path[:80]
            assert b"\r\nx-smuggled" not in answer
            assert b"root:" not in answer
            assert len(answer) < 3000, path[:80]
    assert bad(engine) == []


async def test_a_post_to_a_path_that_only_looks_like_a_call_is_none(world: Stage, engine: Engine) -> None:
    await world.awake(engine)
    for path in (b"//v1/chat/completions", b"/v1/chat/completions/", b"/v1/chat//completions", b"/V1/chat/completions"):
        answer = await said(world, sized(BODY, CLOSE, start=POST.replace(b"/v1/chat/completions", path)))
        assert statuses(answer) in ([404], [405]), path
    assert bad(engine) == []


async def test_a_flood_of_bad_bodies_costs_no_good_client_its_answer(world: Stage, engine: Engine) -> None:
    await world.awake(engine)
    deep, large = CONTENT % BAD["objects in an unknown field"], CONTENT % (b'"\xff' + b"x" * 2_000_000 + b'"', b"")
    async with good_client(world) as took:
        answers = await asyncio.gather(*(said(world, sized(body, CLOSE)) for body in (deep, large) * 10))
    assert [statuses(answer) for answer in answers] == [[400]] * 20
    assert len(took) >= 2
    assert bad(engine) == []


async def test_bodies_that_do_not_come_to_an_end_are_bounded_together(engine: Engine) -> None:
    """Each may be as large as a body may; all of them together would be more than a router has."""
    async with stage(arriving_bytes=900_000, max_body=500_000) as world:
        await world.awake(engine)
        begun = POST + b"content-length: 400000\r\n\r\n" + b" " * 300_000
        async with good_client(world), contextlib.AsyncExitStack() as stack:
            opened = [await stack.enter_async_context(raw(world)) for _ in range(8)]
            for _, writer in opened:
                writer.write(begun)
            refused = [asyncio.create_task(asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)) for reader, _ in opened]
            await until(lambda: sum(task.done() for task in refused) >= 5)
            assert 600_000 <= world.router._hot.arriving <= 900_000 + 100
            heads = [task.result() for task in refused if task.done()]
            assert {statuses(head)[0] for head in heads} == {503}
            assert all(b"retry-after: 1" in head for head in heads)
            assert statuses(await said(world, sized(BODY, CLOSE))) == [200]  # a small one always finds room
            for task in refused:
                task.cancel()
            await asyncio.gather(*refused, return_exceptions=True)
        await until(lambda: world.router._hot.arriving == 0)
        large = BODY.replace(b'"x"', b'"%b"' % (b"x" * 400_000))
        assert statuses(await said(world, sized(large, CLOSE))) == [200]
        assert world.router._hot.arriving == 0


async def test_a_body_of_crumbs_is_refused_and_one_in_small_chunks_is_not(world: Stage, engine: Engine) -> None:
    await world.awake(engine)
    crumbs = b"".join(chunk(b" ") for _ in range(40_000))
    async with good_client(world):
        assert statuses(await said(world, in_chunks(CLOSE, pieces=crumbs + chunk(BODY) + b"0\r\n\r\n"))) == [400]
        small = b"".join(chunk(BODY[at : at + 3]) for at in range(0, len(BODY), 3))
        assert statuses(await said(world, in_chunks(CLOSE, pieces=small + b"0\r\n\r\n"))) == [200]
    assert bad(engine) == [BODY]
