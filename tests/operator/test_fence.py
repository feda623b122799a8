"""No write leaves a process whose fence is closed, whatever it waited for between the question and the wire."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from dormouse_operator.errors import NotLeading, Retry
from dormouse_operator.fence import Fence, steady
from dormouse_operator.kube import Kube
from tests.operator.apiserver import in_its_place

Object = dict[str, Any]
JOB: Object = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "ns"}}


class Server:
    """Counts what arrives, by method."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def take(self, request: web.Request) -> web.Response:
        self.seen.append(request.method)
        await request.read()
        return web.json_response({"kind": "Job", "metadata": {"name": "j"}})


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    made = Server()
    async with in_its_place(made.take, tmp_path, monkeypatch):
        yield made


def test_it_is_closed_until_it_is_opened_and_closes_by_itself() -> None:
    now = [100.0]
    fence = Fence(lambda: now[0])
    with pytest.raises(NotLeading):
        fence.check()
    fence.open_until(110.0)
    now[0] = 109.0
    fence.check()
    assert fence.left == 1.0
    now[0] = 110.0
    with pytest.raises(NotLeading):
        fence.check()
    fence.open_until(120.0)
    fence.check()
    fence.close()
    assert fence.left == 0.0


def test_its_clock_goes_on() -> None:
    assert steady() <= steady()


async def test_reads_pass_and_writes_do_not(server: Server) -> None:
    fence = Fence()
    async with Kube(fence=fence) as kube:
        assert await kube.get("Job", "ns", "j")
        with pytest.raises(NotLeading):
            await kube.apply(JOB)
        with pytest.raises(NotLeading):
            await kube.apply_status(JOB)
        with pytest.raises(NotLeading):
            await kube.delete("Job", "ns", "j", "u")
        with pytest.raises(NotLeading):
            await kube.create_event(JOB)
        with pytest.raises(NotLeading):
            await kube.merge_event("ns", "e", {})
        fence.open_until(steady() + 60)
        await kube.apply(JOB)
    assert server.seen == ["GET", "PATCH"]


async def test_a_write_that_waited_in_line_finds_the_fence_closed(server: Server) -> None:
    """The question before the queue for a connection was answered with yes, the one behind it is not."""
    fence = Fence()
    async with Kube(fence=fence) as kube:
        for known in (False, True):  # over a new connection, and over a kept one
            if known:
                await kube.get("Job", "ns", "j")
            fence.open_until(steady() + 60)
            for _ in range(16):
                await kube._gate.acquire()
            writing = asyncio.create_task(kube.apply(JOB))
            await asyncio.sleep(0)
            fence.close()
            for _ in range(16):
                kube._gate.release()
            with pytest.raises(NotLeading):
                await writing
    assert server.seen == ["GET"]


async def test_without_an_election_there_is_no_fence(server: Server) -> None:
    async with Kube() as kube:
        await kube.apply(JOB)
        assert await kube.once("GET", "/apis/x", None, 5) == (200, {"kind": "Job", "metadata": {"name": "j"}})
    async with Kube() as kube:
        kube._wire._api.configuration.host = "http://127.0.0.1:9"
        with pytest.raises(Retry, match="no answer"):
            await kube.once("GET", "/apis/x", None, 5)
