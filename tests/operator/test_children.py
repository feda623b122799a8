"""Watches of children: nothing is heard twice, nothing is missed without a word, and refusals end the process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from dormouse_operator import children
from dormouse_operator.children import CHILDREN, Children
from dormouse_operator.errors import Gone, Retry, Silence, Terminal

Object = dict[str, Any]
Answer = list[Object | Exception]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "AGAIN_SECONDS", 0)
    monkeypatch.setattr(children, "PAUSES", (0.0,) * 3)


def event(version: int, kind: str = "MODIFIED") -> Object:
    return {"type": kind, "object": {"metadata": {"resourceVersion": str(version)}}}


class Server:
    """Answers watches of Leases as scripted, then says nothing more; other kinds never have news."""

    def __init__(self, script: list[Answer], positions: list[str | Exception] | None = None) -> None:
        self.script, self.positions = script, positions or []
        self.watched_since: list[str] = []
        self.over = asyncio.Event()

    async def position(self, kind: str, namespace: str | None, selector: str) -> str:
        found = self.positions.pop(0) if kind == "Lease" and self.positions else "1"
        if isinstance(found, Exception):
            raise found
        return found

    async def watch(
        self, kind: str, namespace: str | None, selector: str, since: str, *, whole: bool
    ) -> AsyncIterator[Object]:
        if kind != "Lease" or not self.script:
            if kind == "Lease":
                self.over.set()
            await asyncio.Event().wait()
        self.watched_since.append(since)
        for what in self.script.pop(0):
            if isinstance(what, Exception):
                raise what
            yield what


Heard = list[tuple[str, str, str]]


class Run:
    """The watches over a scripted server."""

    def __init__(self, server: Server) -> None:
        self.server, self.heard, self.missed = server, Heard(), 0
        self.watched = Children(server, (), self._hear, self._miss)

    def _hear(self, plural: str, kind: str, body: Object) -> None:
        self.heard.append((plural, kind, body["metadata"]["resourceVersion"]))

    def _miss(self) -> None:
        self.missed += 1

    async def until(self, what: Callable[[], Any]) -> None:
        task = asyncio.create_task(self.watched.run())
        waiting = asyncio.create_task(what())
        async with asyncio.timeout(60):
            await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        ended = task.done()
        for each in (task, waiting):
            each.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        if ended:
            task.result()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_watch_goes_on_where_the_last_one_ended_however_it_ended() -> None:
    run = Run(Server([[event(5)], [event(6, "DELETED"), Silence("broken off")], [event(7, "BOOKMARK")], []]))
    await run.until(run.server.over.wait)
    assert run.heard == [("leases", "MODIFIED", "5"), ("leases", "DELETED", "6")]
    assert run.server.watched_since == ["1", "5", "6", "7"]
    assert run.missed == 0


async def test_what_is_too_old_to_be_told_of_is_said_to_be_missed() -> None:
    run = Run(Server([[event(5), Gone("too old")], [event(90)]], ["1", "80"]))
    await run.until(run.server.over.wait)
    assert run.server.watched_since == ["1", "80"]
    assert run.missed == 1
    assert [version for _, _, version in run.heard] == ["5", "90"]


async def test_it_has_begun_when_it_knows_where_every_watch_begins() -> None:
    run = Run(Server([], [Retry("starting"), Silence("away"), "1"]))
    assert not run.watched.begun.is_set()
    await run.until(run.watched.begun.wait)
    assert run.watched.begun.is_set()


@pytest.mark.parametrize("error", [Terminal("forbidden"), Retry("500")])
async def test_refusals_in_a_row_end_it(error: Exception) -> None:
    run = Run(Server([[error], [error], [event(5), error], [error], [error], [error]]))
    with pytest.raises(type(error), match=str(error)):
        await run.until(run.server.over.wait)
    assert run.server.script == [], "an event between them means that it works"


async def test_silence_never_ends_it() -> None:
    run = Run(Server([[Silence("away")] for _ in range(20)]))
    await run.until(run.server.over.wait)
    assert run.server.script == []


def test_only_where_metadata_do_not_tell_are_objects_asked_for_whole() -> None:
    assert [child.kind for child in CHILDREN if child.whole] == ["Deployment"]
