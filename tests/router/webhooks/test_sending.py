"""One try over real sockets: what it connects to, what it says, and what it refuses however the name turns."""

import asyncio
import datetime
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dormouse_router.webhooks import sending
from dormouse_router.webhooks.receivers import Receiver, Receivers
from dormouse_router.webhooks.sending import Sender
from tests.router.conftest import MakeEngine
from tests.router.fakes import Exchange

BODY = b'{"id":"p1"}'
LOOPBACK = Receivers(["127.0.0.0/8", "::1/128"])
NAME = "hooks.example"


def named(port: int, host: str = NAME, scheme: str = "http") -> Receiver:
    return Receiver(scheme, host, port, "/a%20b", "c=d")


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    made = Sender(LOOPBACK)
    yield made
    await made.close()


@pytest.fixture
async def strict() -> AsyncIterator[Sender]:
    """The rules as they are where nothing is allowed."""
    made = Sender(Receivers())
    yield made
    await made.close()


Resolve = Callable[..., list[str]]


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the name is, each time that somebody asks; the last is said for ever. Appended: who was asked for."""
    answers: list[list[str]] = []

    def answer(host: str, port: int, family: int, kind: int) -> list[tuple[Any, ...]]:
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        family_of = {4: socket.AF_INET, 6: socket.AF_INET6}
        return [(family_of[ip_address(each).version], kind, 6, "", (each, port)) for each in found]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return answers


async def taken(exchange: Exchange) -> None:
    await exchange.answer({})


async def test_the_receiver_gets_the_body_and_the_headers(
    sender: Sender, make_engine: MakeEngine, resolve: list[list[str]]
) -> None:
    receiver = await make_engine(taken)
    resolve.append(["127.0.0.1"])
    outcome = await sender.send(named(receiver.port), {"webhook-id": "msg_1"}, BODY)
    assert outcome.ok, outcome.why
    [seen] = receiver.seen
    assert seen.head.startswith(b"POST /a%20b?c=d HTTP/1.1\r\n")
    head = seen.head.lower()
    for line in (
        b"host: hooks.example:%d\r\n" % receiver.port,
        b"webhook-id: msg_1",
        b"content-type: application/json",
    ):
        assert line in head
    assert b"accept-encoding: gzip" not in head
    assert seen.body == BODY


async def test_a_name_that_turns_into_the_router_itself_is_not_connected_to(
    strict: Sender, make_engine: MakeEngine, resolve: list[list[str]]
) -> None:
    receiver = await make_engine(taken)
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "10.0.0.1", "0.0.0.0"):
        resolve[:] = [[address]]
        outcome = await strict.send(named(receiver.port), {}, BODY)
        assert not outcome.ok
        assert outcome.why.startswith(f"{NAME} is an address") or "private" in outcome.why, outcome.why
    assert receiver.connections == 0


async def test_one_bad_address_among_good_ones_is_refused(
    strict: Sender, make_engine: MakeEngine, resolve: list[list[str]]
) -> None:
    receiver = await make_engine(taken)
    resolve.append(["93.184.216.34", "127.0.0.1"])
    outcome = await strict.send(named(receiver.port), {}, BODY)
    assert "the router itself" in outcome.why
    assert receiver.connections == 0


async def test_the_name_is_resolved_once_and_that_address_connected_to(
    make_engine: MakeEngine, resolve: list[list[str]]
) -> None:
    """DNS rebinding: what the name means at a second look would be refused, and is never looked at."""
    receiver = await make_engine(taken)
    resolve += [["127.0.0.1"], ["169.254.169.254"]]
    sender = Sender(Receivers(["127.0.0.1/32"]))
    outcome = await sender.send(named(receiver.port), {}, BODY)
    await sender.close()
    assert outcome.ok, outcome.why
    assert resolve == [["169.254.169.254"]]


async def test_an_address_is_judged_although_nobody_resolves_it(strict: Sender, make_engine: MakeEngine) -> None:
    receiver = await make_engine(taken)
    there = replace(named(receiver.port, "127.0.0.1"), address=ip_address("127.0.0.1"))
    outcome = await strict.send(there, {}, BODY)
    assert "the router itself" in outcome.why
    # and so is one that slipped through unread, by whatever form a resolver understands
    for host in ("2130706433", "127.1", "0x7f000001", "localhost"):
        outcome = await strict.send(named(receiver.port, host), {}, BODY)
        assert not outcome.ok
    assert receiver.connections == 0


async def test_a_redirect_is_not_followed(sender: Sender, make_engine: MakeEngine, resolve: list[list[str]]) -> None:
    inner = await make_engine(taken)

    async def elsewhere(exchange: Exchange) -> None:
        await exchange.answer({}, 307, headers=f"location: http://127.0.0.1:{inner.port}/\r\n")

    outer = await make_engine(elsewhere)
    resolve.append(["127.0.0.1"])
    outcome = await sender.send(named(outer.port), {}, BODY)
    assert (outcome.ok, outcome.status, outcome.why) == (False, 307, "it redirects, which is not followed")
    assert inner.connections == 0


@pytest.mark.parametrize("status", [400, 404, 410, 500, 503])
async def test_what_is_no_success_is_told(
    sender: Sender, make_engine: MakeEngine, resolve: list[list[str]], status: int
) -> None:
    async def fails(exchange: Exchange) -> None:
        await exchange.answer({}, status, headers="retry-after: 7\r\n")

    receiver = await make_engine(fails)
    resolve.append(["127.0.0.1"])
    outcome = await sender.send(named(receiver.port), {}, BODY)
    assert (outcome.ok, outcome.status, outcome.retry_after, outcome.gone) == (False, status, 7.0, status == 410)


async def test_an_answer_without_an_end_is_read_a_little(
    sender: Sender, make_engine: MakeEngine, resolve: list[list[str]]
) -> None:
    left = asyncio.Event()

    async def pours(exchange: Exchange) -> None:
        await exchange.stream_head()
        try:
            while True:
                await exchange.chunk(bytes(65536))
        except ConnectionError:
            left.set()

    receiver = await make_engine(pours)
    resolve.append(["127.0.0.1"])
    outcome = await sender.send(named(receiver.port), {}, BODY)
    assert outcome.ok
    async with asyncio.timeout(20):
        await left.wait()


async def test_who_never_answers_is_given_up(
    sender: Sender, make_engine: MakeEngine, resolve: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(exchange: Exchange) -> None:
        await exchange.closed()

    receiver = await make_engine(silent)
    resolve.append(["127.0.0.1"])
    monkeypatch.setattr(sending, "TRY_SECONDS", 0.2)
    outcome = await sender.send(named(receiver.port), {}, BODY)
    assert outcome.why.startswith("no answer within")


async def test_nobody_there_is_told(sender: Sender, resolve: list[list[str]]) -> None:
    resolve.append(["127.0.0.1"])
    with socket.socket() as taken_port:
        taken_port.bind(("127.0.0.1", 0))
        outcome = await sender.send(named(taken_port.getsockname()[1]), {}, BODY)
    assert not outcome.ok
    assert outcome.why


def certified(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server that is `NAME`, and who believes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - datetime.timedelta(1))
    builder = builder.not_valid_after(now + datetime.timedelta(1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    signed = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "one.pem").write_bytes(private + signed)
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cadata=signed.decode())
    server.load_cert_chain(folder / "one.pem")
    return server, client


async def test_over_tls_the_name_is_asked_for_and_checked(tmp_path: Path, resolve: list[list[str]]) -> None:
    resolve.append(["127.0.0.1"])
    server, client = certified(tmp_path)
    asked: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: asked.append(name)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server)
    port = listening.sockets[0].getsockname()[1]
    sender = Sender(LOOPBACK, client)
    good = await sender.send(named(port, scheme="https"), {}, BODY)
    bad = await sender.send(named(port, "other.example", "https"), {}, BODY)
    await sender.close()
    listening.close()
    await listening.wait_closed()
    assert good.ok, good.why
    assert asked == [NAME, "other.example"]
    assert not bad.ok
    assert "certificate" in bad.why.lower()
