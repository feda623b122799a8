"""Clients that lie, stall or leave, and disks that are full: refused early, and nothing stays."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import obstore
import pytest
from obstore.exceptions import GenericError

from dormouse_router.dialects.openai.files import receiving
from dormouse_router.files import blobs
from dormouse_router.store import open_store
from tests.router.fakes import SETTINGS, Stage, stage, until

MIB = 1024 * 1024
HEAD = b"POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\n"
PARTS = b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
PARTS += b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
FULL = "Generic LocalFileSystem error: Unable to copy data to file: No space left on device (os error 28)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
async def world(folder: Path) -> AsyncIterator[Stage]:
    places: dict[str, Any] = {"database_url": f"sqlite:///{folder.parent}/one.db", "files": f"file://{folder}"}
    limits = places | {"file_bytes": 4 * MIB, "body_timeout": 4.0}
    async with open_store(replace(SETTINGS, **limits)) as keeping, stage(keeping, **limits) as running:
        yield running


@pytest.fixture
async def client(world: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=world.url, timeout=20) as made:
        yield made


def left(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


async def put(client: httpx.AsyncClient, content: bytes = b"hello") -> httpx.Response:
    return await client.post("/v1/files", files={"file": ("a", content)}, data={"purpose": "user_data"})


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def test_ten_gigabytes_are_refused_by_their_length_before_anything_is_read(world: Stage, folder: Path) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.router.port)
    writer.write(HEAD + b"content-length: 10000000000\r\nexpect: 100-continue\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 20)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer
    assert b'"code":"file_too_large"' in answer
    writer.close()
    assert left(folder) == []


async def test_a_liar_in_chunks_is_stopped_at_the_limit(world: Stage, folder: Path) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.router.port)
    writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunk(PARTS))
    sent = 0

    async def lie() -> None:
        nonlocal sent
        while True:
            writer.write(chunk(bytes(100_000)))
            await writer.drain()
            sent += 100_000

    lying = asyncio.create_task(lie())
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 413 ")
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(lying, 10)
    writer.close()
    await until(lambda: left(folder) == [])
    assert world.router.connections == 0


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(world: Stage, folder: Path) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", world.router.port)
    writer.write(HEAD + b"content-length: 3000000\r\n\r\n" + PARTS + bytes(2_500_000))
    await until(lambda: left(folder) != [])
    writer.transport.abort()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    await until(lambda: left(folder) == [])


async def test_a_body_that_stalls_ends_its_connection(world: Stage, folder: Path) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", world.router.port)
    writer.write(HEAD + b"content-length: 3000000\r\n\r\n" + PARTS + bytes(2_500_000))
    answer = await asyncio.wait_for(reader.read(), 15)
    assert answer.startswith(b"HTTP/1.1 408 ")
    writer.close()
    await until(lambda: left(folder) == [])


async def test_crumbs_are_refused(world: Stage, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "CRUMBS", 5)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.router.port)
    writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunk(PARTS))
    answer = asyncio.create_task(reader.readline())
    async with asyncio.timeout(20):
        while not answer.done():  # each piece alone, so that none of them arrive together
            writer.write(chunk(b"x"))
            await writer.drain()
            await asyncio.sleep(0.005)
    assert b" 400 " in await answer
    writer.close()
    assert left(folder) == []


class FullDisk:
    """An obstore file on a disk without room."""

    async def write(self, _: bytes) -> int:
        raise GenericError(FULL)

    async def close(self) -> None:
        raise GenericError(FULL)

    async def __aexit__(self, *_: object) -> None:
        """Nothing was written."""


async def test_a_full_disk_is_507_and_the_next_file_is_taken(
    client: httpx.AsyncClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(obstore, "open_writer_async", lambda *_, **__: FullDisk())
        for content in (b"small", bytes(3 * MIB)):
            answer = await put(client, content)
            assert answer.status_code == 507
            assert answer.headers["x-should-retry"] == "false"
            assert answer.json()["error"]["code"] == "file_store_full"
    with monkeypatch.context() as patched:
        patched.setattr(blobs, "RESERVE", 2**60)
        assert (await put(client)).status_code == 507
    assert left(folder) == []
    assert (await client.get("/v1/files")).json()["data"] == []
    assert (await put(client)).status_code == 200


async def test_a_disk_that_fails_is_503_and_said_in_the_health(
    world: Stage, client: httpx.AsyncClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise GenericError("Input/output error (os error 5)")

    with monkeypatch.context() as patched:
        patched.setattr(obstore, "open_writer_async", broken)
        answer = await put(client)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "files_unavailable")
    health = (await client.get("/health")).json()
    assert health["status"] == "degraded"
    assert (await put(client)).status_code == 200
    assert (await client.get("/health")).json()["status"] != "degraded"


async def test_a_disk_that_only_reads_stays_in_the_health_however_often_it_is_read(
    client: httpx.AsyncClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the sweep does in the background, which must not say that all is well where no file can be kept."""

    def broken(*_: object, **__: object) -> None:
        raise GenericError("Read-only file system (os error 30)")

    kept = (await put(client)).json()["id"]
    with monkeypatch.context() as patched:
        patched.setattr(obstore, "open_writer_async", broken)
        assert (await put(client)).status_code == 503
    assert (await client.get(f"/v1/files/{kept}/content")).content == b"hello"
    assert (await client.get("/health")).json()["status"] == "degraded"
    assert (await put(client)).status_code == 200
    assert (await client.get("/health")).json()["status"] != "degraded"


async def test_many_at_once_are_all_kept_and_too_many_are_told_to_come_again(
    client: httpx.AsyncClient, folder: Path
) -> None:
    contents = [os.urandom(200_000 + number) for number in range(20)]
    answers = await asyncio.gather(*(put(client, content) for content in contents))
    assert [answer.status_code for answer in answers] == [200] * 20
    for answer, content in zip(answers, contents, strict=True):
        assert (await client.get(f"/v1/files/{answer.json()['id']}/content")).content == content
    assert len(left(folder)) == 20


async def test_who_fills_every_place_keeps_no_chat_waiting(world: Stage, client: httpx.AsyncClient) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(receiving.MOST_AT_ONCE):
            _, writer = await asyncio.open_connection("127.0.0.1", world.router.port)
            stack.push_async_callback(writer.wait_closed)
            stack.callback(writer.close)
            writer.write(HEAD + b"content-length: 3000000\r\n\r\n" + PARTS)
        answers = [await put(client) for _ in range(3)]
        answer = answers[-1]  # the others may have come before all places were taken
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert (await client.get("/v1/models")).status_code == 200
    after = await put(client)
    async with asyncio.timeout(10):
        while after.status_code == 503:  # places are given back as each of those who left is noticed
            after = await put(client)
    assert after.status_code == 200
