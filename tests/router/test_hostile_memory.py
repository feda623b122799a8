"""What clients that send without end, or never begin, cost a router process: bounded memory, and nobody kept out."""

import asyncio
import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.routing.processes import Process, free_port, python, running
from tests.router.wire import CHUNKED, LIST, POST, statuses

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
IDLE_CONNECTIONS = min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1_000)
IDLE_BYTES = 20_000
"""Per idle connection of the router's own process: parser, transport, protocol, and what waits for its head."""
FLOODS: dict[str, tuple[bytes, bytes, int, int]] = {
    "a header without end": (POST + b"x: ", b"y" * 65_536, 100, 20),
    "headers without end": (POST, b"x: y\r\n" * 10_000, 100, 20),
    "a path without end": (b"GET /", b"a" * 65_536, 100, 20),
    "trailers without end": (POST + CHUNKED + b"\r\n2\r\n{}\r\n0\r\n", b"x: y\r\n" * 10_000, 100, 20),
    "an extension without end": (POST + CHUNKED + b"\r\n2;x=", b"y" * 65_536, 100, 20),
    "chunks of one byte": (POST + CHUNKED + b"\r\n", b"1\r\n \r\n" * 10_000, 50, 120),
    "large bodies that never end": (POST + b"content-length: 60000000\r\n\r\n", b" " * 65_536, 40, 400),
}
"""How a request begins, what it goes on with, how many connections, and the most MiB that all of them may cost."""
PIECES = 200
"""Of what each connection goes on with, as far as the router takes it: 13 MB."""
FLOOD_SECONDS = 1.0
ANSWERED = 8.0
"""Seconds until a client of a flooded router is answered, on a machine that has two cores for both and other work."""


@contextmanager
def router_process() -> Iterator[tuple[int, Process]]:
    """The port of a router in a process of its own, and the process."""
    engine_port, port = free_port(), free_port()
    with (
        running(python("bench.routing.engine", engine_port), 0, engine_port),
        running(python("bench.routing.proxy", port, engine_port), 0, port) as router,
    ):
        _listed(port)
        yield port, router


async def _flood(port: int, begin: bytes, piece: bytes, stop: asyncio.Event) -> None:
    """Send until the router closes or all is sent; then stay."""
    with contextlib.suppress(ConnectionError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(begin)
            for _ in range(PIECES):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            await stop.wait()
        finally:
            writer.transport.abort()


def test_floods_are_bounded_and_keep_nobody_out() -> None:
    """One after the other at one router, the smallest first."""
    with router_process() as (port, router):
        for row in FLOODS:
            grown, waited = asyncio.run(_flooded(port, router, row))
            assert grown < FLOODS[row][3] * MIB, row
            assert waited < ANSWERED, row


async def _flooded(port: int, router: Process, row: str) -> tuple[int, float]:
    """By how many bytes the router grew, and how long a client waited for an answer meanwhile."""
    begin, piece, connections, _ = FLOODS[row]
    before = peak = router.pss
    stop = asyncio.Event()
    floods = [asyncio.create_task(_flood(port, begin, piece, stop)) for _ in range(connections)]
    began = time.monotonic()
    while time.monotonic() - began < FLOOD_SECONDS:
        await asyncio.sleep(0.1)
        peak = max(peak, router.pss)
    asked = time.monotonic()
    await asyncio.to_thread(_listed, port)
    waited = time.monotonic() - asked
    peak = max(peak, router.pss)
    stop.set()
    await asyncio.gather(*floods)
    return peak - before, waited


def test_thousands_of_idle_connections_cost_little_and_keep_nobody_out() -> None:
    """A router process of its own: what it grows by for each connection that is opened and says nothing."""
    with router_process() as (port, router):
        before = router.pss
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(IDLE_CONNECTIONS)]
        try:
            for one in idle[::2]:
                one.sendall(POST)  # half of them have begun
            began = time.monotonic()
            _listed(port)
            assert time.monotonic() - began < ANSWERED
            assert (router.pss - before) / IDLE_CONNECTIONS < IDLE_BYTES
        finally:
            for one in idle:
                one.close()
        _listed(port)


def _listed(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(LIST)
        answer = b""
        while part := client.recv(65536):
            answer += part
    assert statuses(answer) == [200]
