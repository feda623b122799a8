"""Kubernetes Events: posted once, counted when repeated, never in the way."""

import asyncio
from typing import Any

import pytest

from dormouse_operator import events
from dormouse_operator.errors import Retry
from dormouse_operator.happenings import Happening
from dormouse_operator.queue import Key
from tests.operator.builders import NOW, model

KEY = Key("ns", "tiny")
Object = dict[str, Any]


class Post:
    """Keeps what was posted; `kept=False` plays an API server that has dropped old events."""

    def __init__(self) -> None:
        self.made: list[Object] = []
        self.raised: list[tuple[str, Object]] = []
        self.kept = True

    async def create_event(self, body: Object) -> None:
        self.made.append(body)

    async def merge_event(self, namespace: str, name: str, body: Object) -> bool:
        self.raised.append((name, body))
        return self.kept


async def test_equal_events_are_counted_and_not_repeated() -> None:
    post = Post()
    recorder = events.Recorder(post, "pod-1")
    waking = Happening("Waking", "it wakes", "Wake")
    for seconds in (0, 1, 2):
        await recorder.post(model(), waking, NOW + seconds)
    (made,) = post.made
    assert (made["reason"], made["type"], made["regarding"]["name"]) == ("Waking", "Normal", "tiny")
    assert [body["series"]["count"] for _, body in post.raised] == [2, 3]
    assert {name for name, _ in post.raised} == {made["metadata"]["name"]}
    await recorder.post(model(), Happening("Waking", "other words", "Wake"), NOW)
    await recorder.post(model(), waking, NOW + 3 + events.SAME)
    assert len(post.made) == 3


async def test_an_event_the_api_server_has_dropped_is_made_again() -> None:
    post = Post()
    recorder = events.Recorder(post, "pod-1")
    await recorder.post(model(), Happening("Waking", "n", "Wake"), NOW)
    post.kept = False
    await recorder.post(model(), Happening("Waking", "n", "Wake"), NOW + 1)
    assert len(post.made) == 2


async def test_an_event_that_cannot_be_posted_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(Post):
        async def create_event(self, body: Object) -> None:
            if not self.raised:
                self.raised.append(("", {}))
                raise Retry("403")
            await super().create_event(body)
            posted.set()

    posted = asyncio.Event()
    recorder = events.Recorder(Refusing(), "pod-1", lambda: NOW)
    task = asyncio.create_task(recorder.run())
    recorder.record(model(), Happening("Waking", "first", "Wake"))
    recorder.record(model(), Happening("Waking", "second", "Wake"))
    async with asyncio.timeout(60):
        await posted.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert "403" in caplog.text


async def test_too_many_events_are_dropped_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    recorder = events.Recorder(Post(), "pod-1")
    for _ in range(events.QUEUED + 1):
        recorder.record(model(), Happening("Waking", "n", "Wake"))
    assert "dropped" in caplog.text
