"""Watches over a real connection: what is asked for, what comes, and what the end of one means."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from dormouse_operator import wire
from dormouse_operator.errors import Gone, Retry, Silence, Terminal
from dormouse_operator.kube import Kube
from tests.operator.apiserver import in_its_place

Object = dict[str, Any]
POD: Object = {"type": "MODIFIED", "object": {"metadata": {"name": "p", "resourceVersion": "7"}}}


class Server:
    """Answers every watch with `status` and `lines`, then ends it as `end` says."""

    def __init__(self) -> None:
        self.status, self.lines, self.end = 200, [POD], "done"
        self.empty = False
        """Whether a list is null, as the API server writes that of no object's metadata."""
        self.asked: list[web.Request] = []
        self.over = asyncio.Event()
        """Set when the test has seen enough: until then a silent watch stays silent."""

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if request.query.get("limit", "1") != "1":
            more = {} if "continue" in request.query else {"continue": "page2"}
            items = [{"metadata": {"name": request.query.get("continue")}}]
            return web.json_response(
                {"metadata": {}, "items": None} if self.empty else {"metadata": more, "items": items}
            )
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "41"}, "items": [{"metadata": {}}]})
        response = web.StreamResponse(status=self.status)
        await response.prepare(request)
        for line in self.lines:
            await response.write(json.dumps(line).encode() + b"\n")
        if self.end == "silent":
            await self.over.wait()
        if self.end == "broken" and request.transport is not None:
            request.transport.abort()
        return response


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    made = Server()
    async with in_its_place(made.take, tmp_path, monkeypatch):
        yield made
        made.over.set()


async def heard(whole: bool = False) -> list[Object]:
    async with Kube() as kube, asyncio.timeout(60):
        return [event async for event in kube.watch("Pod", "ns", "a=b", "41", whole=whole)]


async def test_a_watch_asks_for_metadata_from_a_version_on_and_for_bookmarks(server: Server) -> None:
    assert await heard() == [POD]
    asked = server.asked[0]
    assert asked.path == "/api/v1/namespaces/ns/pods"
    assert "as=PartialObjectMetadata;" in asked.headers["Accept"]
    assert asked.headers["User-Agent"] == wire.WATCHER
    assert {key: asked.query[key] for key in ("watch", "allowWatchBookmarks", "labelSelector", "resourceVersion")} == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "labelSelector": "a=b",
        "resourceVersion": "41",
    }
    await heard(whole=True)
    assert server.asked[1].headers["Accept"] == "application/json"


async def test_a_position_is_that_of_a_list_of_one(server: Server) -> None:
    async with Kube() as kube:
        assert await kube.position("Pod", None, "a=b") == "41"
    assert (server.asked[0].path, server.asked[0].query["limit"]) == ("/api/v1/pods", "1")


async def test_a_long_list_comes_page_by_page_as_metadata(server: Server) -> None:
    async with Kube() as kube:
        assert [item["metadata"]["name"] async for item in kube.each("Pod", "ns")] == [None, "page2"]
    assert {"as=PartialObjectMetadataList;" in asked.headers["Accept"] for asked in server.asked} == {True}
    assert "labelSelector" not in server.asked[0].query


async def test_a_list_without_an_object_is_null_on_the_wire(server: Server) -> None:
    server.empty = True
    async with Kube() as kube:
        assert [item async for item in kube.each("Pod", "ns")] == []
        assert await kube.list("Pod") == await kube.notices("ns", "uid") == []


@pytest.mark.parametrize(
    ("status", "line", "meaning"),
    [
        (200, {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}, Gone),
        (200, {"type": "ERROR", "object": {"code": 500, "message": "etcd"}}, Retry),
        (410, {"message": "too old"}, Gone),
        (403, {"message": 'cannot watch resource "pods"'}, Retry),
        (404, {"message": "no such kind"}, Retry),
        (400, {"message": "bad"}, Terminal),
    ],
)
async def test_what_a_watch_is_refused_with_is_told(
    server: Server, status: int, line: Object, meaning: type[Exception]
) -> None:
    server.status, server.lines = status, [line]
    with pytest.raises(meaning):
        await heard()


@pytest.mark.parametrize("end", ["broken", "silent"])
async def test_one_that_breaks_off_or_says_nothing_for_long_is_silence(
    server: Server, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "STREAMING", aiohttp.ClientTimeout(total=None, sock_read=0.2))
    server.end = end
    with pytest.raises(Silence):
        await heard()
