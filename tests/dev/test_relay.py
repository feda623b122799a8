"""The relay joins connections faithfully: bytes, ends, breaks and back pressure."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from dev.cluster.forward import bind_loopback, connect
from dev.cluster.relay import Accepted

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def relayed(handler: Handler) -> AsyncIterator[Callable[[], Awaitable[Pair]]]:
    """A server behind a relay; yields how to connect to it through the relay."""
    loop = asyncio.get_running_loop()
    served: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        served.add(task)
        with contextlib.suppress(ConnectionError):
            await handler(reader, writer)

    upstream = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = upstream.sockets[0].getsockname()
    open_sides: set[Accepted] = set()
    listener = bind_loopback(0)
    front = await loop.create_server(lambda: Accepted(lambda: connect(address), open_sides), sock=listener)
    port = listener.getsockname()[1]
    clients: list[asyncio.StreamWriter] = []

    async def client() -> Pair:
        pair = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        clients.append(pair[1])
        return pair

    try:
        yield client
    finally:
        for writer in clients:
            writer.transport.abort()
        front.close()
        upstream.close()
        await asyncio.sleep(0)  # the loop closes a listening socket one turn later
        async with asyncio.timeout(60):
            await asyncio.gather(*served, return_exceptions=True)
            while open_sides:  # noqa: ASYNC110 - the relay tells nobody of an end
                await asyncio.sleep(0.01)


def stop_hard(writer: asyncio.StreamWriter) -> None:
    """Closes with a reset, as a killed process with unread data does."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(1 << 16):
        writer.write(chunk)
        await writer.drain()
    writer.close()


async def test_bytes_go_both_ways_at_once_and_arrive_unchanged() -> None:
    sent = bytes(range(256)) * 4096 * 8  # 8 MiB, many times every buffer on the way
    async with relayed(echo) as client:
        reader, writer = await client()

        async def send() -> None:
            writer.write(sent)
            await writer.drain()
            writer.write_eof()

        _, received = await asyncio.gather(send(), reader.read())
        assert hashlib.sha256(received).digest() == hashlib.sha256(sent).digest()


async def test_a_piece_is_passed_on_at_once() -> None:
    async with relayed(echo) as client:
        reader, writer = await client()
        for token in (b"one", b"two", b"three"):
            writer.write(token)
            async with asyncio.timeout(60):
                assert await reader.readexactly(len(token)) == token


async def test_the_clients_end_reaches_the_server_and_its_answer_still_comes() -> None:
    async def answer_after_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.read()
        writer.write(b"got " + request)
        writer.close()

    async with relayed(answer_after_the_end) as client:
        reader, writer = await client()
        writer.write(b"everything")
        writer.write_eof()
        async with asyncio.timeout(60):
            assert await reader.read() == b"got everything"


async def test_the_servers_end_leaves_the_clients_way_open() -> None:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def end_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write_eof()
        heard.set_result(await reader.read())
        writer.close()

    async with relayed(end_first) as client:
        reader, writer = await client()
        async with asyncio.timeout(60):
            assert await reader.read() == b""
            writer.write(b"still here")
            writer.write_eof()
            assert await heard == b"still here"


async def test_a_broken_server_breaks_the_client_instead_of_ending_cleanly() -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"half an ans")
        await writer.drain()
        await reader.readexactly(1)  # so that the half has arrived
        stop_hard(writer)

    async with relayed(break_off) as client:
        reader, writer = await client()
        async with asyncio.timeout(60):
            assert await reader.readexactly(11) == b"half an ans"
            writer.write(b"x")
            with pytest.raises(ConnectionResetError):
                await reader.read()


async def test_a_client_that_breaks_off_breaks_the_server() -> None:
    outcome: asyncio.Future[BaseException | bytes] = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        try:
            outcome.set_result(await reader.read())
        except ConnectionError as error:
            outcome.set_result(error)
        writer.close()

    async with relayed(listen) as client:
        _, writer = await client()
        writer.write(b"x")
        await writer.drain()
        stop_hard(writer)
        async with asyncio.timeout(60):
            assert isinstance(await outcome, ConnectionError)


async def test_nobody_upstream_is_a_reset() -> None:
    closed = bind_loopback(0)
    address = closed.getsockname()
    closed.close()
    listener = bind_loopback(0)
    loop = asyncio.get_running_loop()
    front = await loop.create_server(lambda: Accepted(lambda: connect(address), set()), sock=listener)
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
    async with asyncio.timeout(60):
        with pytest.raises(ConnectionResetError):
            await reader.read()
    writer.close()
    front.close()
    await asyncio.sleep(0)  # the loop closes a listening socket one turn later


async def test_what_a_client_says_before_its_partner_is_there_is_kept() -> None:
    """Fails without its remedy on Python 3.11.2, which begins to read whatever `connection_made` says."""
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set_result(await reader.read())
        writer.close()

    upstream = await asyncio.start_server(hear, "127.0.0.1", 0)
    address = upstream.sockets[0].getsockname()
    asked, go = asyncio.Event(), asyncio.Event()

    async def dial() -> socket.socket:
        asked.set()
        await go.wait()
        return await connect(address)

    listener = bind_loopback(0)
    loop = asyncio.get_running_loop()
    front = await loop.create_server(lambda: Accepted(dial, set()), sock=listener)
    with socket.create_connection(listener.getsockname()) as client:
        client.sendall(b"early")
        client.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(60):
            await asked.wait()
            for _ in range(5):  # turns of the loop in which it could read
                await asyncio.sleep(0)
            go.set()
            assert await heard == b"early"
    front.close()
    upstream.close()


async def test_a_slow_reader_holds_back_the_writer_and_loses_nothing() -> None:
    go_on = asyncio.Event()
    received = 0

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await go_on.wait()
        while chunk := await reader.read(1 << 16):
            received += len(chunk)
        writer.close()

    async with relayed(slow) as client:
        reader, writer = await client()
        sent = await send_until_stuck(writer, bytes(1 << 20), most=256 << 20)
        assert sent < 64 << 20  # the relay keeps half a MiB, the kernel's buffers a few
        go_on.set()
        writer.write_eof()
        async with asyncio.timeout(60):
            assert await reader.read() == b""
        assert received == sent


async def send_until_stuck(writer: asyncio.StreamWriter, chunk: bytes, most: int) -> int:
    """Sends until nothing has moved for a while; the number of bytes handed over."""
    sent = 0
    while sent < most:
        writer.write(chunk)
        sent += len(chunk)
        try:
            async with asyncio.timeout(0.4):
                await writer.drain()
        except TimeoutError:
            break
    return sent


async def test_hundreds_of_connections_share_the_relay() -> None:
    async with relayed(echo) as client:
        pairs = await asyncio.gather(*(client() for _ in range(400)))
        for number, (_, writer) in enumerate(pairs):
            writer.write(f"{number:08d}".encode())
        async with asyncio.timeout(60):
            answers = await asyncio.gather(*(reader.readexactly(8) for reader, _ in pairs))
        assert [int(answer) for answer in answers] == list(range(400))
