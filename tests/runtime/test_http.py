"""The pod's own little HTTP: right answers, bounds, and a client that never raises."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from dormouse_runtime.supervisor import http
from dormouse_runtime.supervisor.http import Answer
from tests.runtime.scripted.pod import free_port


async def exchange(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


async def hello() -> Answer:
    return http.text(200, "hello")


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        (b"GET /hello HTTP/1.1", b"200 OK", b"hello\n"),
        (b"GET /hello?x=1 HTTP/1.1", b"200 OK", b"hello\n"),
        (b"HEAD /hello HTTP/1.1", b"200 OK", b""),
        (b"POST /hello HTTP/1.1", b"405 Method Not Allowed", b"only GET is answered here\n"),
        (b"GET /other HTTP/1.1", b"404 Not Found", b"unknown path; there are: /hello\n"),
        (b"", b"405 Method Not Allowed", b"only GET is answered here\n"),
    ],
)
async def test_answers(request_line: bytes, status: bytes, body: bytes) -> None:
    port = free_port()
    async with await http.serve("127.0.0.1", port, {"/hello": hello}):
        answer = await exchange(port, request_line + b"\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.partition(b"\r\n\r\n")[2] == body


async def test_a_head_without_end_is_dropped_and_the_next_caller_served() -> None:
    port = free_port()
    async with await http.serve("127.0.0.1", port, {"/hello": hello}):
        assert await exchange(port, b"GET /hello HTTP/1.1\r\nX: " + b"y" * (2 * http.MAX_HEAD)) == b""
        answer = await http.get(port, "/hello", 5)
    assert answer is not None
    assert (answer.status, answer.body) == (200, b"hello\n")


async def test_the_client_says_none_when_nobody_answers_in_time() -> None:
    assert await http.get(free_port(), "/", 1) is None

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    port = free_port()
    async with await asyncio.start_server(silent, "127.0.0.1", port):
        assert await http.get(port, "/", 0.05) is None


@pytest.mark.parametrize(("size", "whole"), [(300_000, True), (http.MAX_ANSWER, True), (http.MAX_ANSWER + 1, False)])
async def test_an_answer_that_comes_in_pieces_is_read_to_its_end(size: int, whole: bool) -> None:
    async def piecewise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * (size // 2))
        await writer.drain()
        await asyncio.sleep(0.02)  # the time between two packets
        writer.write(b"x" * (size - size // 2))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    port = free_port()
    async with await asyncio.start_server(piecewise, "127.0.0.1", port):
        answer = await http.get(port, "/", 30)
    assert answer == (Answer(200, b"x" * size) if whole else None)
