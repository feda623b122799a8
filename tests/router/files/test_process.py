"""A router process with files: what a large upload costs it, and that a kill loses nothing that was answered."""

import asyncio
import contextlib
import hashlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from bench.routing.processes import Process, free_port, python, running

pytestmark = pytest.mark.slow
MIB = 1024 * 1024
KILLS = int(os.environ.get("DORMOUSE_KILLS", "8"))
LARGE = 300 * MIB


@contextlib.contextmanager
def router(folder: Path) -> Iterator[tuple[httpx.Client, Process]]:
    port = free_port()
    with (
        running(python("tests.router.files.process", port, folder), 0, port, seconds=60) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        yield client, process


async def form(size: int) -> AsyncIterator[bytes]:
    """A form whose file has `size` bytes, without a length."""
    yield b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="large"\r\n\r\n'
    piece = os.urandom(256 * 1024)
    for _ in range(size // len(piece)):
        yield piece
    yield b"\r\n--b--\r\n"


FORM = {"content-type": "multipart/form-data; boundary=b"}


def test_a_large_file_costs_no_memory_going_up_or_down(tmp_path: Path) -> None:
    with router(tmp_path) as (client, process):
        small = client.post("/v1/files", files={"file": ("a", b"x" * MIB)}, data={"purpose": "vision"}).json()
        assert len(client.get(f"/v1/files/{small['id']}/content").content) == MIB
        before = process.private
        peak, answer = asyncio.run(_watched(process, client.base_url, LARGE))
        assert answer.status_code == 200, answer.text
        assert answer.json()["bytes"] == LARGE
        size = 0
        with client.stream("GET", f"/v1/files/{answer.json()['id']}/content") as content:
            for number, piece in enumerate(content.iter_raw(MIB)):
                size += len(piece)
                peak = max(peak, process.private) if number % 10 == 0 else peak
        assert size == LARGE
        print(f"grew by {(peak - before) / MIB:.1f} MiB")  # noqa: T201 - a figure for whoever runs this with -s
        assert peak - before < 30 * MIB


async def _watched(process: Process, url: httpx.URL, size: int) -> tuple[int, httpx.Response]:
    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        going_up = asyncio.create_task(client.post("/v1/files", content=form(size), headers=FORM))
        peak = 0
        while not going_up.done():
            peak = max(peak, process.private)
            await asyncio.sleep(0.05)
        return peak, await going_up


@dataclass
class Uploader:
    """One client that uploads until its router dies, and remembers what it was promised."""

    promised: dict[str, str] = field(default_factory=dict)

    async def run(self, url: httpx.URL) -> None:
        async with httpx.AsyncClient(base_url=url, timeout=30, verify=False) as client:  # noqa: S501
            while True:
                content = os.urandom(random.choice((10, 5_000, 900_000, 3_000_000)))  # noqa: S311
                answer = await client.post("/v1/files", files={"file": ("a", content)}, data={"purpose": "user_data"})
                if answer.status_code == 200:
                    self.promised[answer.json()["id"]] = hashlib.sha256(content).hexdigest()


async def _killed(pid: int, url: httpx.URL, uploaders: list[Uploader]) -> None:
    before = sum(len(each.promised) for each in uploaders)
    tasks = [asyncio.create_task(each.run(url)) for each in uploaders]
    async with asyncio.timeout(60):
        while sum(len(each.promised) for each in uploaders) == before and not any(task.done() for task in tasks):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await asyncio.sleep(random.random() * 0.2)  # noqa: S311
    os.kill(pid, signal.SIGKILL)
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(ended, httpx.TransportError), ended


def _next(maker: "subprocess.Popen[str]", port: int) -> int:
    """The process id of another router, which listens."""
    assert maker.stdin is not None
    assert maker.stdout is not None
    maker.stdin.write("\n")
    maker.stdin.flush()
    pid = int(maker.stdout.readline())
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return pid
        time.sleep(0.01)
    raise TimeoutError("the router does not listen")


def test_a_killed_router_loses_no_file_that_it_answered_for_and_shows_no_part_of_one(tmp_path: Path) -> None:
    uploaders = [Uploader() for _ in range(3)]
    known: set[str] = set()
    port = free_port()
    url = httpx.URL(f"http://127.0.0.1:{port}")
    command = python("tests.router.files.process", port, tmp_path, "on demand")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as maker:
        for left in range(KILLS, -1, -1):
            pid = _next(maker, port)
            with httpx.Client(base_url=url, timeout=60) as client:
                _check(client, uploaders, known)
            if left:
                asyncio.run(_killed(pid, url, uploaders))
        os.kill(pid, signal.SIGKILL)
    staged = list((tmp_path / "files").glob("*#*"))
    print(f"{len(known)} files, {len(staged)} left to the sweep")  # noqa: T201
    assert len(known) > KILLS


def _check(client: httpx.Client, uploaders: list[Uploader], known: set[str]) -> None:
    """What is listed is whole, and all that was promised is listed."""
    listed: dict[str, int] = {}
    deadline = time.monotonic() + 20
    while (answer := client.get("/v1/files")).status_code == 503 and time.monotonic() < deadline:
        time.sleep(0.05)
    listed = {file["id"]: file["bytes"] for file in answer.json()["data"]}
    promised = {ident: digest for each in uploaders for ident, digest in each.promised.items()}
    assert promised.keys() <= listed.keys()
    for ident in listed.keys() - known:
        content = client.get(f"/v1/files/{ident}/content")
        assert len(content.content) == listed[ident]
        assert content.headers["etag"] == f'"{hashlib.sha256(content.content).hexdigest()}"'
        assert promised.get(ident, content.headers["etag"][1:-1]) == content.headers["etag"][1:-1]
    known.update(listed)
