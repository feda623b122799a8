"""The image server over a painter that draws what it is told to."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from openai.types import ImageGenCompletedEvent

from dormouse_runtime.engines.drawing import Canvas, DrawingError, FlaggedError, LeftError, UnfitError, Wish
from dormouse_runtime.engines.openai.images import MAX_BODY, Gallery, create_app
from dormouse_runtime.engines.worker import Worker

DEADLINE = 20.0


class Sketcher:
    """Notes each wish and returns it as text. `gate`, where given, is waited for, a step at a time."""

    canvas = Canvas(64, 32, 8)

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.gate, self.wishes, self.left = gate, list[Wish](), 0
        self.drawing, self.fails_from = threading.Event(), 0

    def draw(self, wish: Wish, left: Callable[[], bool]) -> bytes:
        self.wishes.append(wish)
        self.drawing.set()
        while self.gate and not self.gate.wait(0.01):
            if left():
                self.left += 1
                raise LeftError("nobody waits")
        if len(self.wishes) == self.fails_from:
            raise FAULTS["broken"]
        if wish.prompt in FAULTS:
            raise FAULTS[wish.prompt]
        return repr(wish).encode()


FAULTS = {
    "unfit": UnfitError("guidance_scale: it has none: leave it out"),
    "flagged": FlaggedError("the safety checker kept it back"),
    "broken": DrawingError("out of memory: ask for a smaller size"),
}


def client_of(sketcher: Sketcher, most: int = 2) -> httpx.AsyncClient:
    app = create_app(Gallery("tiny", sketcher, Worker(most)))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x", timeout=DEADLINE)


@pytest.fixture
def sketcher() -> Sketcher:
    return Sketcher()


@pytest.fixture
async def client(sketcher: Sketcher) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(sketcher) as it:
        yield it


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": "tiny", "prompt": "a cat", **fields}


async def test_what_is_asked_for_is_what_is_drawn(client: httpx.AsyncClient, sketcher: Sketcher) -> None:
    more = {"seed": 7, "steps": 3, "guidance_scale": 2.5, "negative_prompt": "dogs", "size": "128x64", "n": 2}
    answer = await client.post("/v1/images/generations", json=ask(**more, quality="hd", user="u"))
    assert answer.status_code == 200, answer.text
    first = Wish("a cat", 128, 64, 7, "dogs", 3, 2.5)
    assert sketcher.wishes == [first, Wish("a cat", 128, 64, 8, "dogs", 3, 2.5)]
    body = answer.json()
    assert [base64.b64decode(item["b64_json"]) for item in body["data"]] == [repr(w).encode() for w in sketcher.wishes]
    assert [item["seed"] for item in body["data"]] == [7, 8]
    assert body["created"] > 1_700_000_000


async def test_what_is_left_out_is_the_pipelines_own(client: httpx.AsyncClient, sketcher: Sketcher) -> None:
    nulls = dict.fromkeys(("n", "size", "response_format", "seed", "steps", "negative_prompt", "stream"))
    seeds = set()
    for more in ({}, nulls, {"size": "auto", "num_inference_steps": 9}):
        answer = await client.post("/v1/images/generations", json=ask(**more))
        assert answer.status_code == 200, answer.text
        seeds.add(answer.json()["data"][0]["seed"])
    assert [(w.width, w.height, w.steps) for w in sketcher.wishes] == [(64, 32, None), (64, 32, None), (64, 32, 9)]
    assert len(seeds) == 3


@pytest.mark.parametrize(
    ("more", "status", "param", "words"),
    [
        ({"size": "500x500"}, 400, "size", "multiples of 8: ask for 496x496"),
        ({"size": "64"}, 400, "size", "write it as 64x32, or auto"),
        ({"size": "8x64"}, 400, "size", "16 to 4096"),
        ({"size": "4104x64"}, 400, "size", "16 to 4096"),
        ({"size": "2048x2048", "n": 4}, 400, "size", "ask for a smaller size or a smaller n"),
        ({"size": "x" * 5000}, 400, "size", "is no size"),
        ({"n": 0}, 400, "n", "greater than or equal to 1"),
        ({"n": 11}, 400, "n", "less than or equal to 10"),
        ({"steps": 501}, 400, "steps", "less than or equal to 500"),
        ({"num_inference_steps": 0}, 400, "num_inference_steps", "greater than or equal to 1"),
        ({"seed": -1}, 400, "seed", "greater than or equal to 0"),
        ({"seed": 2**63}, 400, "seed", "less than or equal to"),
        ({"guidance_scale": 101}, 400, "guidance_scale", "less than or equal to 100"),
        ({"prompt": ""}, 400, "prompt", "at least 1 character"),
        ({"prompt": 5}, 400, "prompt", "valid string"),
        ({"response_format": "url"}, 400, "response_format", "ask for b64_json"),
        ({"output_format": "jpeg"}, 400, "output_format", "ask for png"),
        ({"stream": True, "prompt": "flagged"}, 400, None, "safety checker"),
        ({"model": "other"}, 404, None, "does not exist"),
        ({"prompt": "unfit"}, 400, None, "leave it out"),
        ({"prompt": "flagged"}, 400, None, "safety checker"),
        ({"prompt": "broken"}, 500, None, "ask for a smaller size"),
    ],
)
async def test_what_cannot_be_drawn_says_the_fix(
    client: httpx.AsyncClient, more: dict[str, Any], status: int, param: str | None, words: str
) -> None:
    answer = await client.post("/v1/images/generations", json=ask(**more))
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert words in error["message"]
    again = await client.post("/v1/images/generations", json=ask())
    assert again.status_code == 200


async def test_a_stream_has_an_event_for_each_picture(client: httpx.AsyncClient, sketcher: Sketcher) -> None:
    more = {"stream": True, "partial_images": 2, "n": 2, "seed": 4}
    answer = await client.post("/v1/images/generations", json=ask(**more))
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for event in answer.text.split("\n\n")[:-1]:
        name, data = event.split("\n")
        assert name == "event: image_generation.completed"
        found.append(json.loads(data.removeprefix("data: ")))
    assert [base64.b64decode(event["b64_json"]) for event in found] == [repr(w).encode() for w in sketcher.wishes]
    for event in found:
        assert ImageGenCompletedEvent.model_validate(event).size == "64x32"
    assert [(event["type"], event["seed"]) for event in found] == [
        ("image_generation.completed", seed) for seed in (4, 5)
    ]
    assert (await client.get("/load")).json() == {"server_load": 0}


async def test_a_stream_that_fails_says_so_in_its_last_event(client: httpx.AsyncClient, sketcher: Sketcher) -> None:
    sketcher.fails_from = 2
    answer = await client.post("/v1/images/generations", json=ask(stream=True, n=3))
    first, last = answer.text.split("\n\n")[:-1]
    assert first.startswith("event: image_generation.completed")
    assert "ask for a smaller size" in json.loads(last.removeprefix("data: "))["error"]["message"]
    assert (await client.get("/load")).json() == {"server_load": 0}


@pytest.mark.parametrize(("body", "status"), [(b"{", 400), (b"[]", 400), (b"x" * (MAX_BODY + 1), 413)])
async def test_a_body_that_is_none_is_refused(client: httpx.AsyncClient, body: bytes, status: int) -> None:
    answer = await client.post("/v1/images/generations", content=body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


async def test_one_picture_at_a_time_and_a_bounded_line() -> None:
    gate = threading.Event()
    sketcher = Sketcher(gate)
    async with client_of(sketcher) as client:
        first = asyncio.create_task(client.post("/v1/images/generations", json=ask(prompt="one")))
        await asyncio.to_thread(sketcher.drawing.wait, DEADLINE)
        second = asyncio.create_task(client.post("/v1/images/generations", json=ask(prompt="two")))
        while (await client.get("/load")).json() != {"server_load": 2}:  # noqa: ASYNC110 - the server sets no event
            await asyncio.sleep(0)
        third = await client.post("/v1/images/generations", json=ask())
        assert (third.status_code, third.json()["error"]["code"]) == (429, "queue_full")
        assert third.headers["retry-after"] == "1"
        told = (await client.get("/metrics")).text
        assert "vllm:num_requests_running 1\n" in told
        assert "vllm:num_requests_waiting 1\n" in told
        assert [wish.prompt for wish in sketcher.wishes] == ["one"]
        gate.set()
        assert [(await answer).status_code for answer in (first, second)] == [200, 200]
        assert (await client.get("/load")).json() == {"server_load": 0}


async def test_a_client_that_leaves_ends_its_drawing_at_the_next_step_and_the_next_is_drawn() -> None:
    gate = threading.Event()
    sketcher = Sketcher(gate)
    app = create_app(Gallery("tiny", sketcher, Worker(4)))
    gone = asyncio.Event()
    sent: list[dict[str, Any]] = []
    parts = [{"type": "http.request", "body": b'{"prompt": "mine", "n": 3}', "more_body": False}]

    async def receive() -> Any:
        if parts:
            return parts.pop(0)
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/images/generations", "headers": [], "query_string": b""}
    call = asyncio.create_task(app({**scope, "http_version": "1.1", "raw_path": b""}, receive, send))
    await asyncio.to_thread(sketcher.drawing.wait, DEADLINE)
    gone.set()
    await asyncio.wait_for(call, DEADLINE)
    assert (sketcher.left, len(sketcher.wishes)) == (1, 1)
    gate.set()
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        assert (await client.get("/load")).json() == {"server_load": 0}
        assert (await client.post("/v1/images/generations", json=ask())).status_code == 200
