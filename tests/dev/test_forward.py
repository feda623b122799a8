"""The forwarder's table of rules and the addresses behind them."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.error
from collections.abc import AsyncIterator, Callable
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.forward import API_TARGET, Forwarder, bind_loopback, check_target
from dev.cluster.resolve import Resolver, UnresolvedError, cluster_address

SERVICE = {
    "spec": {"clusterIP": "10.96.1.2", "ports": [{"name": "http", "port": 80}, {"port": 9090, "name": "metrics"}]}
}


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Make = Callable[[], Forwarder]


def refuse(path: str) -> Any:
    raise AssertionError(f"asked the API server for {path}")


async def speaker(word: bytes) -> tuple[asyncio.Server, str]:
    """A server that says one word and then echoes."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(word)
        while chunk := await reader.read(100):
            writer.write(chunk)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    return server, f"{host}:{port}"


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Makes forwarders that share one saved table, as one process after the other does."""
    made: list[Forwarder] = []

    def forwarder() -> Forwarder:
        made.append(Forwarder(bind_loopback, Resolver(refuse), tmp_path / "forwards.json"))
        return made[-1]

    yield forwarder
    for each in made:
        each.close()
    await asyncio.sleep(0)  # the loop closes a listening socket one turn later


@pytest.fixture
async def two() -> AsyncIterator[tuple[str, str]]:
    """Addresses of two servers that say `one` and `two`."""
    first, one = await speaker(b"one")
    second, other = await speaker(b"two")
    yield one, other
    first.close()
    second.close()


async def hear(port: int) -> tuple[bytes, Pair]:
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        return await reader.readexactly(3), (reader, writer)


async def finish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write_eof()
    async with asyncio.timeout(60):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_redirecting_a_rule_leaves_open_connections_alone(make: Make, two: tuple[str, str]) -> None:
    forwarder = make()
    port = await forwarder.set(0, two[0])
    word, old = await hear(port)
    assert word == b"one"
    assert await forwarder.set(port, two[1]) == port
    word, new = await hear(port)
    assert word == b"two"
    old[1].write(b"still")
    async with asyncio.timeout(60):
        assert await old[0].readexactly(5) == b"still"
    assert [row["open"] for row in forwarder.table()] == [2]
    await finish(*old)
    await finish(*new)
    await forwarder.remove(port)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_rules_come_back_after_a_restart(tmp_path: Path, make: Make, two: tuple[str, str]) -> None:
    first = make()
    port = await first.set(0, two[0])
    first.close()
    second = make()
    await second.restore(wanted_api_port=0)
    word, pair = await hear(port)
    assert word == b"one"
    await finish(*pair)
    assert API_TARGET in {row["target"] for row in second.table()}
    assert json.loads((tmp_path / "forwards.json").read_text())[str(port)] == two[0]


async def test_the_api_server_gets_another_port_when_its_own_is_taken(make: Make) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        forwarder = make()
        await forwarder.restore(wanted_api_port=taken)
    (row,) = forwarder.table()
    assert row["target"] == API_TARGET
    assert row["port"] != taken
    forwarder.close()
    again = make()
    await again.restore(wanted_api_port=taken)
    assert [r["port"] for r in again.table()] == [row["port"]]  # kubeconfigs handed out before stay right


async def test_a_saved_rule_whose_port_is_taken_is_shown_as_such(tmp_path: Path, make: Make) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        (tmp_path / "forwards.json").write_text(json.dumps({str(taken): "a/b:80"}))
        forwarder = make()
        await forwarder.restore(wanted_api_port=0)
    assert {row["port"]: row["listening"] for row in forwarder.table()}[taken] is False
    await forwarder.set(taken, "a/b:80")  # the other has gone meanwhile
    assert {row["port"]: row["listening"] for row in forwarder.table()}[taken] is True
    await forwarder.remove(taken)


async def test_the_api_servers_rule_cannot_be_lost(make: Make) -> None:
    forwarder = make()
    await forwarder.restore(wanted_api_port=0)
    port = forwarder.table()[0]["port"]
    with pytest.raises(ValueError, match="choose another port"):
        await forwarder.set(port, "a/b:80")
    with pytest.raises(ValueError, match="choose another port"):
        await forwarder.remove(port)


@pytest.mark.parametrize("good", ["dormouse-system/dormouse-router:80", "a/b:http", "127.0.0.1:6443"])
def test_targets(good: str) -> None:
    assert check_target(good) == good


@pytest.mark.parametrize("bad", ["", "a", "a:80", "a/b", "a/b:", "/b:80", "a/b/c:80", "1.2.3.4:99999", "1.2.3.4:x"])
def test_no_targets(bad: str) -> None:
    with pytest.raises(ValueError, match="namespace/service:port"):
        check_target(bad)


@pytest.mark.parametrize(("port", "expected"), [("80", 80), ("http", 80), ("metrics", 9090)])
def test_a_port_is_found_by_number_and_by_name(port: str, expected: int) -> None:
    assert cluster_address(SERVICE, "a/b", port) == ("10.96.1.2", expected)


@pytest.mark.parametrize(
    ("service", "port", "said"),
    [
        (SERVICE, "81", "has no port 81; it has: 80, 9090, http, metrics"),
        ({"spec": {"clusterIP": "None", "ports": []}}, "80", "headless"),
        ({"spec": {}}, "80", "headless"),
    ],
)
def test_what_cannot_be_dialled_says_why(service: dict[str, Any], port: str, said: str) -> None:
    with pytest.raises(UnresolvedError, match=said):
        cluster_address(service, "a/b", port)


class Server:
    """An API server of one Service that counts the questions."""

    def __init__(self) -> None:
        self.address = "10.96.0.7"
        self.asked = 0
        self.fault: OSError | None = None

    def __call__(self, path: str) -> Any:
        assert path == "/api/v1/namespaces/ns/services/web"
        self.asked += 1
        if self.fault:
            raise self.fault
        return {"spec": {"clusterIP": self.address, "ports": [{"port": 80}]}}


async def settled(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the renewal tells nobody, which is its point
            await asyncio.sleep(0.005)


async def test_a_known_address_is_used_at_once_and_renewed_when_old() -> None:
    server, now = Server(), [0.0]
    resolver = Resolver(server, clock=lambda: now[0])
    assert await resolver.address("ns/web:80") == ("10.96.0.7", 80)
    server.address = "10.96.0.8"
    now[0] = 1.0
    assert await resolver.address("ns/web:80") == ("10.96.0.7", 80)
    assert server.asked == 1
    now[0] = 10.0
    assert await resolver.address("ns/web:80") == ("10.96.0.7", 80)  # nobody waits for the renewal
    await settled(lambda: resolver.known("ns/web:80") == "10.96.0.8:80")
    assert server.asked == 2


async def test_callers_at_the_same_time_share_one_question() -> None:
    server = Server()
    resolver = Resolver(server)
    found = await asyncio.gather(*(resolver.address("ns/web:80") for _ in range(50)))
    assert set(found) == {("10.96.0.7", 80)}
    assert server.asked == 1


async def test_a_silent_api_server_costs_no_known_address() -> None:
    server, now = Server(), [0.0]
    resolver = Resolver(server, clock=lambda: now[0])
    await resolver.address("ns/web:80")
    server.fault = ConnectionRefusedError("refused")
    now[0] = 100.0
    assert await resolver.address("ns/web:80") == ("10.96.0.7", 80)
    await settled(lambda: server.asked == 2)
    assert await resolver.address("ns/web:80") == ("10.96.0.7", 80)
    with pytest.raises(UnresolvedError, match="does not answer"):
        await resolver.renew("ns/web:80")


async def test_a_missing_service_is_named() -> None:
    server = Server()
    server.fault = urllib.error.HTTPError("http://x", 404, "Not Found", Message(), None)
    with pytest.raises(UnresolvedError, match="service ns/web: the API server says 404 Not Found"):
        await Resolver(server).address("ns/web:80")


async def test_an_address_needs_no_question() -> None:
    resolver = Resolver(refuse)
    assert await resolver.address("127.0.0.1:6443") == ("127.0.0.1", 6443)
    assert await resolver.renew("127.0.0.1:6443") == ("127.0.0.1", 6443)
    assert resolver.known("127.0.0.1:6443") == "127.0.0.1:6443"
