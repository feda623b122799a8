"""Where a request ends, and where the next begins: what two readers could take differently is refused, and closed.

Each row goes over a socket of its own while a good client calls; nothing of a refused row reaches an engine.
"""

import asyncio
import contextlib
import logging

import pytest

from tests.router.conftest import MakeEngine
from tests.router.fakes import Engine, Stage, in_two, stage
from tests.router.wire import (
    BODY,
    CHUNKED,
    CLOSE,
    LIST,
    POST,
    bad,
    chunk,
    good_client,
    in_chunks,
    in_pieces,
    raw,
    rest,
    said,
    sized,
    statuses,
)

LENGTH = b"content-length: %d\r\n" % len(BODY)
END = b"\r\n"
LAST = b"0\r\n\r\n"
GET = b"GET /v1/models HTTP/1.1\r\n"


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="uvicorn.error")


REFUSED: dict[str, bytes] = {
    "two lengths": POST + LENGTH + b"content-length: 5\r\n\r\n" + BODY,
    "the same length twice": POST + LENGTH + LENGTH + END + BODY,
    "a list of lengths": POST + b"content-length: %d, %d\r\n\r\n" % (len(BODY), len(BODY)) + BODY,
    "a length with a sign": POST + b"content-length: +%d\r\n\r\n" % len(BODY) + BODY,
    "a negative length": POST + b"content-length: -1\r\n\r\n",
    "a hexadecimal length": POST + b"content-length: 0x10\r\n\r\n",
    "an empty length": POST + b"content-length: \r\n\r\n" + BODY,
    "a length of 24 digits": POST + b"content-length: " + b"9" * 24 + b"\r\n\r\n",
    "length, then chunked": POST + LENGTH + CHUNKED + END + chunk(BODY) + LAST,
    "chunked, then length": POST + CHUNKED + LENGTH + END + chunk(BODY) + LAST,
    "xchunked": POST + b"transfer-encoding: xchunked\r\n\r\n" + chunk(BODY) + LAST,
    "quoted chunked": POST + b'transfer-encoding: "chunked"\r\n\r\n' + chunk(BODY) + LAST,
    "chunked behind a control character": POST + b"transfer-encoding: \x0bchunked\r\n\r\n" + chunk(BODY) + LAST,
    "chunked, identity": POST + b"transfer-encoding: chunked, identity\r\n\r\n" + LAST,
    "chunked, chunked": POST + b"transfer-encoding: chunked, chunked\r\n\r\n" + chunk(BODY) + LAST,
    "chunked twice": POST + CHUNKED + CHUNKED + END + chunk(BODY) + LAST,
    "gzip, chunked": POST + b"transfer-encoding: gzip, chunked\r\n\r\n" + chunk(BODY) + LAST,
    "identity and a length": POST + LENGTH + b"transfer-encoding: identity\r\n\r\n" + BODY,
    "folded transfer-encoding": POST + b"transfer-encoding:\r\n chunked\r\n\r\n" + chunk(BODY) + LAST,
    "a folded header": POST + LENGTH + b"x: a\r\n b\r\n\r\n" + BODY,
    "a fold before any header": GET + b" folded: x\r\n\r\n",
    "white space before a colon": POST + b"content-length : %d\r\n\r\n" % len(BODY) + BODY,
    "a name with a space": POST + b"x y: z\r\n\r\n",
    "a name that is empty": POST + b": z\r\n\r\n",
    "a line without a colon": POST + b"nothing\r\n\r\n",
    "bare LF everywhere": (POST + LENGTH + END).replace(b"\r\n", b"\n") + BODY,
    "bare LF once": POST + b"x: y\n" + LENGTH + END + BODY,
    "bare LF before the body": POST + LENGTH + b"\n" + BODY,
    "bare CR": POST + b"x: y\r" + LENGTH + END + BODY,
    "bare CR in a value": POST + b"x: a\rb\r\n\r\n",
    "NUL in a value": POST + b"x: a\0b\r\n\r\n",
    "NUL in a name": POST + b"x\0y: z\r\n\r\n",
    "a control character in a value": POST + b"x: a\x01b\r\n\r\n",
    "a control character in a name": POST + b"x\x01: z\r\n\r\n",
    "DEL in a value": POST + b"x: a\x7fb\r\n\r\n",
    "a chunk that is no number": in_chunks(pieces=b"zz\r\n"),
    "a negative chunk": in_chunks(pieces=b"-1\r\nx"),
    "a chunk with a sign": in_chunks(pieces=b"+5\r\nhello\r\n" + LAST),
    "a chunk of 0x5": in_chunks(pieces=b"0x5\r\nhello\r\n" + LAST),
    "a chunk of 2^64": in_chunks(pieces=b"10000000000000000\r\nx"),
    "a chunk with a space": in_chunks(pieces=chunk(BODY, b" ") + LAST),
    "chunks with bare LF": in_chunks(pieces=chunk(BODY).replace(b"\r\n", b"\n") + b"0\n\n"),
    "a chunk longer than it said": in_chunks(pieces=b"%x\r\n%bXX" % (len(BODY), BODY) + LAST),
    "a control character in an extension": in_chunks(pieces=chunk(BODY, b";a=\x01\n") + LAST),
    "a length in the trailer": in_chunks(pieces=chunk(BODY) + b"0\r\ncontent-length: 5\r\n\r\n"),
    "HTTP/1.0 in chunks": in_chunks(start=POST.replace(b"1.1", b"1.0")),
    "HTTP/0.9": b"GET /v1/models\r\n\r\n",
    "HTTP/0.9 with a body": b"POST /v1/chat/completions\r\n\r\n" + BODY,
    "HTTP/2.0": LIST.replace(b"1.1", b"2.0"),
    "HTTP/9.9": LIST.replace(b"1.1", b"9.9"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http in small letters": LIST.replace(b"HTTP", b"http"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "words": b"hello\r\n\r\n",
    "a method in small letters": LIST.replace(b"GET", b"get"),
    "a method nobody knows": LIST.replace(b"GET", b"FROB"),
    "a space in the path": LIST.replace(b"models", b"mo dels"),
    "a byte beyond ASCII in the path": LIST.replace(b"models", b"models/\xff"),
    "UTF-8 in the path": LIST.replace(b"models", "models/é".encode()),
    "a byte beyond ASCII in the query": LIST.replace(b"models", b"models?\xff"),
    "authority form": LIST.replace(b"/v1/models", b"x:80"),
    "CONNECT": b"CONNECT x:80 HTTP/1.1\r\nhost: x:80\r\n\r\n",
    "no host": GET + END,
    "two hosts": GET + b"host: x\r\nhost: y\r\n\r\n",
}


@pytest.mark.parametrize("row", REFUSED)
async def test_what_could_be_read_in_two_ways_is_a_400_and_the_end(world: Stage, engine: Engine, row: str) -> None:
    await world.awake(engine)
    async with good_client(world):
        answer = await said(world, REFUSED[row] + LIST)
    assert statuses(answer) == [400]
    assert bad(engine) == []


@pytest.mark.parametrize("row", ["two lengths", "length, then chunked", "bare CR", "gzip, chunked", "no host"])
async def test_it_is_refused_as_well_when_it_comes_byte_by_byte(world: Stage, engine: Engine, row: str) -> None:
    await world.awake(engine)
    async with good_client(world), raw(world) as (reader, writer):
        for byte in in_pieces(REFUSED[row], 1):
            writer.write(byte)
            await writer.drain()
        assert statuses(await rest(reader)) == [400]
    assert bad(engine) == []


TAKEN: dict[str, tuple[bytes, int]] = {
    "chunked in capitals": (in_chunks(CLOSE).replace(b"chunked", b"Chunked"), 200),
    "a tab before chunked": (in_chunks(CLOSE).replace(b": chunked", b":\tchunked"), 200),
    "extensions of chunks": (in_chunks(CLOSE, pieces=chunk(BODY, b';a=b;c="d"') + LAST), 200),
    "trailers": (in_chunks(CLOSE, pieces=chunk(BODY) + b"0\r\nx-more: y\r\n\r\n"), 200),
    "bytes beyond ASCII in a value": (sized(BODY, CLOSE, b"x: \xff\xfe\r\n"), 200),
    "empty lines before a request": (b"\r\n\r\n" + sized(BODY, CLOSE), 200),
    "absolute form": (sized(BODY, CLOSE, start=POST.replace(b" /", b" http://x/")), 200),
    "HTTP/1.0": (sized(BODY, start=POST.replace(b"1.1", b"1.0")), 200),
    "HTTP/1.0 without a host": (sized(BODY, start=b"POST /v1/chat/completions HTTP/1.0\r\n"), 200),
    "HTTP/1.0 that would stay": (sized(BODY, b"connection: keep-alive\r\n", start=POST.replace(b"1.1", b"1.0")), 200),
    "an expectation nobody knows": (sized(BODY, CLOSE, b"expect: 200-maybe\r\n"), 200),
    "no body at all": (POST + CLOSE + b"\r\n", 400),
}


@pytest.mark.parametrize("row", TAKEN)
async def test_what_is_only_odd_is_served(world: Stage, engine: Engine, row: str) -> None:
    await world.awake(engine)
    data, status = TAKEN[row]
    async with good_client(world):
        answer = await said(world, data)
    assert statuses(answer) == [status]
    assert bad(engine) == ([BODY] if status == 200 else [])


async def test_a_trailer_is_no_header(world: Stage, engine: Engine) -> None:
    """A header that came behind the body has passed by everything that looked at the headers."""
    await world.awake(engine)
    trailers = b"x-request-id: smuggled\r\ncontent-encoding: gzip\r\n"
    answer = await said(world, in_chunks(CLOSE, pieces=chunk(BODY) + b"0\r\n" + trailers + END))
    assert statuses(answer) == [200]
    assert b"x-request-id: req-" in answer


@pytest.mark.parametrize("piece", [b"x-more: %b\r\n" % (b"y" * 1000), b"y" * 1000], ids=["many", "one"])
async def test_endless_trailers_are_cut(world: Stage, engine: Engine, piece: bytes) -> None:
    await world.awake(engine)
    async with good_client(world), raw(world) as (reader, writer):
        writer.write(in_chunks(pieces=chunk(BODY) + b"0\r\nx-first: "))
        assert await _taken(writer, piece) < 4_000_000
        assert statuses(await rest(reader)) in ([400], [])
    assert bad(engine) == []


async def test_endless_extensions_of_a_chunk_are_cut(world: Stage, engine: Engine) -> None:
    await world.awake(engine)
    async with good_client(world), raw(world) as (reader, writer):
        writer.write(in_chunks(pieces=b"5;x="))
        assert await _taken(writer, b"y" * 1000) < 4_000_000
        assert statuses(await rest(reader)) in ([400], [])
    assert bad(engine) == []


async def _taken(writer: asyncio.StreamWriter, piece: bytes) -> int:
    """How many bytes the router took before it closed; at most ten million are offered."""
    written = 0
    with contextlib.suppress(ConnectionError):
        while written < 10_000_000:
            writer.write(piece)
            await writer.drain()
            written += len(piece)
            await asyncio.sleep(0)
    return written


async def test_a_good_request_behind_a_good_one_is_served_and_behind_a_bad_one_is_not(
    world: Stage, engine: Engine
) -> None:
    await world.awake(engine)
    other = BODY.replace(b'"x"', b'"yy"')
    assert statuses(await said(world, sized(BODY) + sized(b"{") + sized(other, CLOSE))) == [200, 400, 200]
    assert bad(engine) == [BODY, other]
    assert statuses(await said(world, sized(BODY) + REFUSED["two lengths"] + sized(other, CLOSE))) == [200, 400]
    assert bad(engine) == [BODY, other, BODY]
    unfinished = sized(BODY) + in_chunks(pieces=b"zz\r\n") + sized(other, CLOSE)
    assert statuses(await said(world, unfinished)) == [200, 400]


async def test_a_bad_request_behind_a_stream_lets_it_end(world: Stage, make_engine: MakeEngine) -> None:
    go_on = asyncio.Event()

    await world.awake(await make_engine(in_two(go_on)))
    streamed = BODY.replace(b"{", b'{"stream": true, ', 1)
    async with raw(world) as (reader, writer):
        writer.write(sized(streamed) + REFUSED["bare CR"])
        answer = await reader.readuntil(b"Par")
        go_on.set()
        answer += await rest(reader)
    assert statuses(answer) == [200, 400]
    assert answer.index(b"[DONE]") < answer.index(b"HTTP/1.1 400 ")


async def test_a_hundred_requests_at_once_on_one_connection(world: Stage, engine: Engine) -> None:
    await world.awake(engine)
    async with good_client(world):
        answer = await said(world, sized(BODY) * 99 + sized(BODY, CLOSE))
    assert statuses(answer) == [200] * 100
    assert len(bad(engine)) == 100


async def test_what_follows_a_refused_body_is_not_read_as_a_request(engine: Engine) -> None:
    """A body that is too large is refused before it came: what comes then is still that body."""
    async with stage(max_body=1000) as world:
        await world.awake(engine)
        answer = await said(world, POST + b"content-length: 5000\r\n\r\n" + LIST)
        assert statuses(answer) == [413]
        assert b"connection: close" in answer.lower()


async def test_a_client_that_asks_first_is_told_to_go_on_or_not_to(engine: Engine) -> None:
    expect = b"expect: 100-continue\r\n"
    async with stage(max_body=1000) as world:
        await world.awake(engine)
        async with raw(world) as (reader, writer):
            writer.write(POST + CLOSE + LENGTH + expect + END)
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(BODY)
            assert statuses(await rest(reader)) == [200]
        assert statuses(await said(world, POST + b"content-length: 5000\r\n" + expect + END)) == [413]


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "in pieces"])
async def test_a_head_has_a_size_whatever_it_is_made_of(world: Stage, engine: Engine, at_once: bool) -> None:
    await world.awake(engine)
    heads = {
        "one large header": (b"x: " + b"y" * 70_000 + END, 431),
        "many headers": (b"x: y\r\n" * 20_000, 431),
        "nearly too large": (b"x: " + b"y" * 50_000 + END, 200),
        "a hundred headers": (b"x: y\r\n" * 100, 200),
        "three hundred headers": (b"x: y\r\n" * 300, 431),
    }
    async with good_client(world):
        for name, (lines, status) in heads.items():
            data = sized(BODY, CLOSE, lines)
            async with raw(world) as (reader, writer):
                for piece in [data] if at_once else in_pieces(data, 3001):
                    writer.write(piece)
                    await asyncio.sleep(0)
                assert statuses(await rest(reader)) in ([status], [] if status == 431 else [status]), name
    assert bad(engine) == [BODY] * 2


async def test_a_large_body_in_one_piece_with_its_head_is_no_large_head(world: Stage, engine: Engine) -> None:
    await world.awake(engine)
    body = BODY.replace(b'"x"', b'"%b"' % (b"x" * 400_000))
    assert statuses(await said(world, sized(body) + sized(body, CLOSE))) == [200, 200]
    assert bad(engine) == [body, body]
