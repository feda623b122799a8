"""The custom engine's server over a class that does everything."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dormouse_runtime.engines.custom import app as server
from dormouse_runtime.engines.custom.app import Offered, create_app
from dormouse_runtime.engines.custom.loading import Loaded, find, loaded
from dormouse_runtime.engines.worker import Worker
from tests.runtime.custom.models import SCHEMA, Everything

PATH = "tests.runtime.custom.models:Everything"
DEADLINE = 20.0


class House:
    """A loaded class behind its server."""

    def __init__(self, folder: Path, most: int = 3) -> None:
        self.worker = Worker(most)
        self.served: Loaded = self.worker.at_once(lambda: loaded(PATH, find(PATH), str(folder), {"colour": "red"}))
        self.model: Everything = self.served.model
        self.app = create_app(Offered("mine", self.served, self.worker))
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://x", timeout=DEADLINE)

    async def ask(self, stream: bool = False, **given: Any) -> httpx.Response:
        return await self.http.post("/predict", json={"input": given, "stream": stream})

    async def load(self) -> int:
        return int((await self.http.get("/load")).json()["server_load"])


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    yield made
    made.model.gate.set()
    await made.http.aclose()


def events(answer: httpx.Response) -> list[Any]:
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]


async def test_a_prediction_whole(house: House, tmp_path: Path) -> None:
    answer = await house.ask(do="say")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["model"], body["output"]) == ("mine", f"{tmp_path} {{'colour': 'red'}}")
    assert 0 <= body["seconds"] < DEADLINE
    assert (await house.ask(do="count", times=3)).json()["output"] == [0, 1, 2]
    assert (await house.ask(do="count", times=1)).json()["output"] == [0]
    assert (await house.ask(do="count", times=0)).json()["output"] == []


async def test_a_prediction_streamed(house: House) -> None:
    answer = await house.ask(stream=True, do="count", times=3)
    assert answer.headers["content-type"].startswith("text/event-stream")
    *pieces, last = events(answer)
    assert pieces == [{"output": 0}, {"output": 1}, {"output": 2}]
    assert (last["done"], last["list"]) == (True, True)
    assert events(await house.ask(stream=True, do="say"))[0]["output"].endswith("{'colour': 'red'}")
    assert [event.get("done") for event in events(await house.ask(stream=True, do="count", times=0))] == [True]
    for wish, listed in ({"do": "count", "times": 1}, True), ({"do": "say"}, False):
        assert events(await house.ask(stream=True, **wish))[-1]["list"] is listed


async def test_files_travel_as_data_urls(house: House) -> None:
    sent = f"data:image/png;base64,{base64.b64encode(b'abc').decode()}"
    answer = (await house.ask(do="file", file=sent)).json()
    assert answer["output"] == f"data:image/png;base64,{base64.b64encode(b'cba').decode()}"
    assert (await house.ask(do="bytes")).json()["output"] == "data:application/octet-stream;base64,AAE="
    for wrong in ("abc", "data:image/png,abc", "data:image/png;base64,a"):
        refused = await house.ask(do="file", file=wrong)
        assert refused.status_code == 422
        assert "base64" in refused.json()["error"]


async def test_the_schema_is_told(house: House) -> None:
    assert (await house.http.get("/schema")).json() == {"input": SCHEMA, "output": Everything.output_schema}


@pytest.mark.parametrize(
    ("body", "status", "words", "param"),
    [
        (b"{", 400, "not JSON", None),
        (b"[]", 400, 'say what to predict from: {"input": {...}}', "input"),
        (b'{"do": "say"}', 400, "say what to predict from", "input"),
        (b'{"input": {"do": "say"}, "stream": 1}', 400, "stream must be true or false", "stream"),
        (b'{"input": 5}', 422, "input: 5 is not of type 'object'", "input"),
        (b'{"input": {}}', 422, "input: 'do' is a required property", "input"),
        (b'{"input": {"do": "count", "times": 101}}', 422, "input.times: 101 is greater than", "input.times"),
        (b'{"input": {"do": "count", "more": [{"size": 1}, {"size": "x"}]}}', 422, "'x' is not", "input.more.1.size"),
        (b'{"input": {"do": "say", "colour": 1}}', 422, "'colour' was unexpected", "input"),
        (b'{"input": {"do": "refuse"}}', 422, "an odd number is wanted", "input"),
        (b'{"input": {"do": "fail"}}', 500, f"{PATH}.predict raised KeyError: 'no such colour'", None),
        (b'{"input": {"do": "half"}}', 500, "ValueError: the second piece broke", None),
        (b'{"input": {"do": "nan"}}', 500, "returned what is not JSON", None),
        (b'{"input": {"do": "object"}}', 500, "a value of type object; return plain values", None),
        (b'{"input": {"do": "fail"}, "stream": true}', 500, "no such colour", None),
    ],
)
async def test_what_goes_wrong_is_said(house: House, body: bytes, status: int, words: str, param: str | None) -> None:
    answer = await house.http.post("/predict", content=body)
    assert (answer.status_code, answer.json().get("param")) == (status, param)
    assert words in answer.json()["error"]
    assert await house.load() == 0
    assert (await house.ask(do="say")).status_code == 200


async def test_all_that_is_wrong_with_an_input_is_listed(house: House) -> None:
    answer = await house.ask(do="paint", times=-1)
    assert {fault["path"] for fault in answer.json()["errors"]} == {"input.do", "input.times"}


async def test_an_error_in_a_stream_is_its_last_event(house: House) -> None:
    first, last = events(await house.ask(stream=True, do="half"))
    assert first == {"output": 1}
    assert last["status"] == 500
    assert "the second piece broke" in last["error"]
    assert await house.load() == 0


async def test_a_body_beyond_the_bound_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_BODY", 100)
    answer = await house.http.post("/predict", content=b"x" * 101)
    assert (answer.status_code, answer.json()["error"]) == (413, "the body is larger than 100 bytes")


async def test_an_output_beyond_the_bound_is_an_error(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dormouse_runtime.engines.custom.predicting.MAX_OUTPUT", 5)
    assert (await house.ask(do="count", times=5)).status_code == 200
    answer = await house.ask(do="count", times=6)
    assert answer.status_code == 500
    assert "larger than 5 bytes" in answer.json()["error"]


async def test_one_thread_one_call_at_a_time_and_a_bounded_line(house: House) -> None:
    first = asyncio.create_task(house.ask(do="wait"))
    await asyncio.to_thread(house.model.begun.wait, DEADLINE)
    others = [asyncio.create_task(house.ask(do="say")) for _ in range(2)]
    while await house.load() < 3:  # noqa: ASYNC110 - the server sets no event
        await asyncio.sleep(0)
    fourth = await house.ask(do="say")
    assert (fourth.status_code, fourth.headers["retry-after"]) == (429, "1")
    assert "vllm:num_requests_waiting 2" in (await house.http.get("/metrics")).text
    assert not any(task.done() for task in (first, *others))
    house.model.gate.set()
    assert [(await task).status_code for task in (first, *others)] == [200] * 3
    assert len(house.model.threads) == 1
    assert threading.get_ident() not in house.model.threads
    assert await house.load() == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_closes_the_iterator(house: House, stream: bool) -> None:
    gone = asyncio.Event()
    parts = [{"type": "http.request", "body": json.dumps({"input": {"do": "many"}, "stream": stream}).encode()}]

    async def receive() -> Any:
        if parts:
            return parts.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        await asyncio.sleep(0)

    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [], "query_string": b"", "raw_path": b""}
    call = asyncio.create_task(house.app({**scope, "http_version": "1.1"}, receive, send))
    await asyncio.to_thread(house.model.begun.wait, DEADLINE)
    assert await house.load() == 1
    gone.set()
    await asyncio.wait_for(call, DEADLINE)
    assert (house.model.closed, await house.load()) == (1, 0)
    assert (await house.ask(do="say")).status_code == 200
