"""The Batch API over HTTP: what clients may ask, what they are told, each code of the levels 0 and 1."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from dormouse_router.batch.lifecycle import MOST_ERRORS
from dormouse_router.cluster import Resource
from dormouse_router.keeping import Keeping
from dormouse_router.settings import Settings
from dormouse_router.store import open_store
from tests.router.batch.inputs import CHAT, line, lines
from tests.router.batch.runner import Runner
from tests.router.dialects.records import known_status, model
from tests.router.fakes import SETTINGS, Engine, Stage, slice_of, stage, until

DAY = 86400
ENDED = ("completed", "failed", "expired", "cancelled")


@dataclass
class Site:
    """A router that keeps in SQLite, a client, and hands."""

    stage: Stage
    keeping: Keeping
    client: httpx.AsyncClient
    runner: Runner

    async def upload(self, content: bytes, name: str = "in.jsonl", **fields: str) -> str:
        data = {"purpose": "batch"} | fields
        answer = await self.client.post("/v1/files", files={"file": (name, content)}, data=data)
        assert answer.status_code == 200, answer.text
        ident: str = answer.json()["id"]
        return ident

    async def ask(self, **fields: Any) -> httpx.Response:
        return await self.client.post("/v1/batches", json=fields)

    async def create(self, content: bytes, **fields: Any) -> dict[str, Any]:
        said = {"input_file_id": await self.upload(content), "endpoint": CHAT, "completion_window": "24h"}
        answer = await self.ask(**said | fields)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def show(self, ident: str) -> dict[str, Any]:
        answer = await self.client.get(f"/v1/batches/{ident}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def worked(self, ident: str) -> dict[str, Any]:
        """The batch, once there is nothing to be done any more."""
        while await self.runner.step():
            pass
        return await self.show(ident)

    async def content(self, ident: str) -> list[dict[str, Any]]:
        text = (await self.client.get(f"/v1/files/{ident}/content")).content
        assert text.endswith(b"\n")
        return [json.loads(each) for each in text.splitlines()]


def placed(folder: Path, **more: Any) -> Settings:
    return replace(SETTINGS, database_url=f"sqlite:///{folder}/one.db", files=f"file://{folder}/files", **more)


@pytest.fixture
def more() -> dict[str, Any]:
    """Settings of the router."""
    return {}


@pytest.fixture
async def site(tmp_path: Path, engine: Engine, more: dict[str, Any]) -> AsyncIterator[Site]:
    settings = placed(tmp_path, **more)
    where = {"database_url": settings.database_url, "files": settings.files} | more
    async with (
        open_store(settings) as keeping,
        stage(keeping, **where) as running,
        httpx.AsyncClient(base_url=running.url, timeout=20) as client,
    ):
        for name in ("tiny", "large"):
            running.cluster.add_model(model(name, status=known_status()))
            running.cluster.put(Resource.SLICES, slice_of(name, engine.port))
        await until(lambda: running.endpoints("tiny") + running.endpoints("large") == 2)
        await until(lambda: keeping.trouble() is None, 60)
        assert keeping.work is not None
        yield Site(running, keeping, client, Runner(keeping.work, client, settings))


GOOD: dict[str, Any] = {"endpoint": CHAT, "completion_window": "24h"}
LISTED = (
    "'/v1/chat/completions', '/v1/completions', '/v1/embeddings', '/v1/responses', '/v1/images/generations', "
    "'/v1/score', and '/v1/rerank'"
)


@pytest.mark.parametrize(
    ("fields", "code", "param", "message"),
    [
        ({"input_file_id": None}, "missing_required_parameter", "input_file_id", "Missing required parameter: 'input_"),
        ({"input_file_id": ""}, "missing_required_parameter", "input_file_id", "Missing required parameter: 'input_"),
        ({"input_file_id": 7}, "invalid_type", "input_file_id", "expected a string, but got an integer instead."),
        ({"endpoint": None}, "missing_required_parameter", "endpoint", "Missing required parameter: 'endpoint'."),
        (
            {"endpoint": "/v1/videos"},
            "invalid_value",
            "endpoint",
            f"Invalid value: '/v1/videos'. Supported values are: {LISTED}.",
        ),
        ({"completion_window": None}, "missing_required_parameter", "completion_window", "'completion_window'."),
        (
            {"completion_window": "5m"},
            "invalid_value",
            "completion_window",
            "Invalid value: '5m'. Supported values are: '24h'.",
        ),
        ({"completion_window": 24}, "invalid_type", "completion_window", "expected a string, but got an integer"),
        ({"metadata": []}, "invalid_type", "metadata", "Invalid type for 'metadata': expected an object"),
        (
            {"metadata": {"x": 1}},
            "invalid_type",
            "metadata.x",
            "Invalid type for 'metadata.x': expected a string, but got an integer instead.",
        ),
        ({"metadata": {"x": None}}, "invalid_type", "metadata.x", "but got null instead."),
        ({"metadata": {"x": 1.5}}, "invalid_type", "metadata.x", "but got a decimal instead."),
        ({"metadata": {"x": True}}, "invalid_type", "metadata.x", "but got a boolean instead."),
        (
            {"metadata": {f"k{n}": "v" for n in range(17)}},
            "object_above_max_properties",
            "metadata",
            "at most 16 properties, but got an object with 17",
        ),
        ({"metadata": {"k" * 65: "v"}}, "string_above_max_length", "metadata", "more than 64 characters"),
        ({"metadata": {"k": "v" * 513}}, "string_above_max_length", "metadata.k", "maximum length 512"),
        ({"output_expires_after": 3600}, "invalid_type", "output_expires_after", "expected an object"),
        ({"output_expires_after": {"seconds": 3600}}, "missing_required_parameter", "output_expires_after.anchor", "'"),
        (
            {"output_expires_after": {"anchor": "created_at"}},
            "missing_required_parameter",
            "output_expires_after.seconds",
            "Missing required parameter",
        ),
        (
            {"output_expires_after": {"anchor": "now", "seconds": 3600}},
            "invalid_value",
            "output_expires_after.anchor",
            "Invalid value: 'now'. Supported values are: 'created_at'.",
        ),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 3599}},
            "integer_below_min_value",
            "output_expires_after.seconds",
            "Expected a value >= 3600, but got 3599 instead.",
        ),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 2592001}},
            "integer_above_max_value",
            "output_expires_after.seconds",
            "Expected a value <= 2592000",
        ),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": "3600"}},
            "invalid_type",
            "output_expires_after.seconds",
            "expected an integer, but got a string",
        ),
    ],
)
async def test_each_code_of_a_refused_request(
    site: Site, fields: dict[str, Any], code: str, param: str, message: str
) -> None:
    answer = await site.ask(**GOOD | {"input_file_id": "file-1"} | fields)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
    assert message in error["message"]
    assert (await site.client.get("/v1/batches")).json()["data"] == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000])
async def test_a_body_that_is_none_is_refused(site: Site, body: bytes) -> None:
    answer = await site.client.post("/v1/batches", content=body)
    assert answer.status_code == 400
    assert "JSON" in answer.json()["error"]["message"]
    large = await site.client.post("/v1/batches", content=b" " * (1 << 21))
    assert large.status_code == 413


async def test_a_file_for_something_else_is_refused_at_once(site: Site) -> None:
    ident = await site.upload(b"x", name="x.txt", purpose="user_data")
    answer = await site.ask(**GOOD | {"input_file_id": ident})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input_file_id"


def chat(**more: Any) -> dict[str, Any]:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]} | more
    return {"custom_id": "r", "method": "POST", "url": CHAT, "body": body}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in chat().items() if key != name}


UNPARSEABLE = "This line is not parseable as valid JSON."
MISMATCH = "The URL provided for this request does not match the batch endpoint."


@pytest.mark.parametrize(
    ("text", "code", "line_number", "param", "message"),
    [
        (b"", "empty_file", None, None, "no lines"),
        (b"{\n", "invalid_json_line", 1, None, UNPARSEABLE),
        (b"\xef\xbb\xbf" + line(0), "invalid_json_line", 1, None, "byte order mark"),
        (line(0) + b"\n\n" + line(1), "invalid_json_line", 2, None, UNPARSEABLE),
        (line(0) + b"\n\x00\x00\n", "invalid_json_line", 2, None, UNPARSEABLE),
        (without("custom_id"), "missing_required_parameter", 1, "custom_id", "parameter: 'custom_id'."),
        (without("method"), "missing_required_parameter", 1, "method", "Missing required parameter: 'method'."),
        (without("url"), "missing_required_parameter", 1, "url", "Missing required parameter: 'url'."),
        (without("body"), "missing_required_parameter", 1, "body", "Missing required parameter: 'body'."),
        (chat() | {"method": "GET"}, "invalid_method", 1, "method", "must be POST"),
        (chat() | {"url": "/v1/embeddings"}, "invalid_url", 1, "url", MISMATCH),
        (line(0) + b"\r\n" + line(0), "duplicate_custom_id", 2, "custom_id", "r-0"),
        (chat(model="gpt"), "model_not_found", 1, "body.model", "The provided model 'gpt' is not supported by the B"),
        (chat(model=None), "invalid_request", 1, "body.model", "Model parameter is required."),
        (chat(messages=None), "invalid_request", 1, "body.messages", "Messages parameter is required."),
        (chat(stream=True), "streaming_unsupported", 1, "body.stream", "Chat Completions: Streaming is not supported"),
    ],
)
async def test_each_code_of_a_refused_file(
    site: Site, text: bytes | dict[str, Any], code: str, line_number: int | None, param: str | None, message: str
) -> None:
    made = await site.create(text if isinstance(text, bytes) else json.dumps(text).encode())
    assert (made["status"], made["errors"]) == ("validating", None)
    failed = await site.worked(made["id"])
    assert failed["status"] == "failed"
    assert failed["failed_at"] >= failed["created_at"]
    assert failed["errors"]["object"] == "list"
    [error] = failed["errors"]["data"]
    assert (error["code"], error["line"], error["param"]) == (code, line_number, param)
    assert message in error["message"]
    assert failed["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    assert (failed["output_file_id"], failed["error_file_id"]) == (None, None)


@pytest.mark.parametrize("ident", ["file-unknown", "../../etc/passwd", "file-" + "0" * 32, "\u0000"])
async def test_a_file_that_nobody_has_fails_the_batch(site: Site, ident: str) -> None:
    answer = await site.ask(**GOOD | {"input_file_id": ident})
    assert answer.status_code == 200, answer.text
    failed = await site.show(answer.json()["id"])
    assert failed["status"] == "failed"
    [error] = failed["errors"]["data"]
    assert (error["code"], error["param"], error["line"]) == ("invalid_request", "file_id", None)
    assert error["message"].startswith("Cannot find file")


async def test_a_thousand_bad_lines_are_a_hundred_errors(site: Site) -> None:
    failed = await site.worked((await site.create(b"{\n" * 1000))["id"])
    assert [error["line"] for error in failed["errors"]["data"]] == list(range(1, MOST_ERRORS + 1))


@pytest.mark.parametrize("more", [{"batch_mixed": False, "batch_lines": 3, "batch_scores": False}])
async def test_settings_take_less(site: Site) -> None:
    two = line(0) + b"\n" + line(1, "large")
    failed = await site.worked((await site.create(two))["id"])
    [error] = failed["errors"]["data"]
    assert (error["code"], error["line"], error["param"]) == ("model_mismatch", 2, "body.model")
    failed = await site.worked((await site.create(lines(4)))["id"])
    [error] = failed["errors"]["data"]
    assert (error["code"], error["line"]) == ("too_many_tasks", None)
    answer = await site.ask(**GOOD | {"input_file_id": "file-1", "endpoint": "/v1/score"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "endpoint")


@pytest.mark.parametrize("more", [{"batch_tokens": 100, "batch_creates": 2}])
async def test_an_owner_has_limits(site: Site) -> None:
    failed = await site.worked((await site.create(lines(5)))["id"])
    [error] = failed["errors"]["data"]
    assert (error["code"], error["line"], error["param"]) == ("token_limit_exceeded", None, None)
    assert error["message"].startswith("Enqueued token limit reached for tiny")
    done = await site.worked((await site.create(lines(2)))["id"])
    assert done["status"] == "completed"
    answer = await site.ask(**GOOD | {"input_file_id": "file-1"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(answer.headers["retry-after"]) > 3000


def moments(batch: dict[str, Any]) -> set[str]:
    return {name for name in batch if name.endswith("_at")}


async def test_what_has_not_happened_is_left_out_and_not_null(site: Site) -> None:
    made = await site.create(lines(1))
    assert moments(made) == {"created_at", "expires_at"}
    done = await site.worked(made["id"])
    assert moments(done) == {"created_at", "expires_at", "in_progress_at", "finalizing_at", "completed_at"}
    failed = await site.worked((await site.create(b"{"))["id"])
    assert moments(failed) == {"created_at", "expires_at", "failed_at"}


async def test_mixed_models_and_engines_that_refuse(site: Site) -> None:
    two = line(0) + b"\n" + line(1, "large") + b"\n"
    made = await site.create(
        two, metadata={"team": "a"}, output_expires_after={"anchor": "created_at", "seconds": 3600}
    )
    done = await site.worked(made["id"])
    assert (done["status"], done["model"], done["metadata"]) == ("completed", None, {"team": "a"})
    assert done["request_counts"] == {"total": 2, "completed": 2, "failed": 0}
    assert done["expires_at"] == done["created_at"] + DAY
    assert (done["error_file_id"], done["errors"]) == (None, None)
    assert done["dormouse"]["models"] == [
        {"model": "tiny", "total": 1, "open": 0, "held": 0, "state": "Awake"},
        {"model": "large", "total": 1, "open": 0, "held": 0, "state": "Awake"},
    ]
    file = (await site.client.get(f"/v1/files/{done['output_file_id']}")).json()
    assert (file["purpose"], file["filename"]) == ("batch_output", f"{made['id']}_output.jsonl")
    assert file["expires_at"] == file["created_at"] + 3600
    answers = await site.content(done["output_file_id"])
    assert sorted(each["custom_id"] for each in answers) == ["r-0", "r-1"]
    for each in answers:
        assert each["id"].startswith("batch_req_")
        assert each["error"] is None
        assert each["response"]["status_code"] == 200
        assert each["response"]["request_id"]
        assert each["response"]["body"]["object"] == "chat.completion"


async def test_lines_that_fail_are_in_the_error_file_and_the_batch_completes(site: Site) -> None:
    made = await site.create(json.dumps(chat(messages=[])).encode())
    done = await site.worked(made["id"])
    assert (done["status"], done["output_file_id"]) == ("completed", None)
    assert done["request_counts"] == {"total": 1, "completed": 0, "failed": 1}
    [bad] = await site.content(done["error_file_id"])
    assert (bad["custom_id"], bad["error"], bad["response"]["status_code"]) == ("r", None, 400)
    assert set(bad["response"]["body"]["error"]) == {"message", "type", "param", "code"}


async def test_a_cancel_ends_it_and_a_second_one_changes_nothing(site: Site) -> None:
    made = await site.create(lines(3))
    assert await site.runner.step()  # it is validated
    answer = await site.client.post(f"/v1/batches/{made['id']}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelling")
    done = await site.worked(made["id"])
    assert done["status"] == "cancelled"
    assert done["cancelled_at"] >= done["cancelling_at"]
    assert done["request_counts"] == {"total": 3, "completed": 0, "failed": 0}
    bad = await site.content(done["error_file_id"])
    assert [(each["response"], each["error"]["code"]) for each in bad] == [(None, "batch_cancelled")] * 3
    again = await site.client.post(f"/v1/batches/{made['id']}/cancel")
    assert (again.status_code, again.json()["status"]) == (200, "cancelled")
    assert site.runner.asked == 0


async def test_what_has_ended_is_not_cancelled(site: Site) -> None:
    for text, status in ((lines(1), "completed"), (b"{", "failed")):
        done = await site.worked((await site.create(text))["id"])
        assert done["status"] == status
        answer = await site.client.post(f"/v1/batches/{done['id']}/cancel")
        error = answer.json()["error"]
        assert (answer.status_code, error["type"], error["code"]) == (409, "invalid_request_error", "conflict")
        assert error["message"] == f"Cannot cancel a batch with status '{status}'."
        assert answer.headers["x-should-retry"] == "false"


async def test_nobody_else_sees_it(site: Site) -> None:
    made = await site.create(lines(1))
    foreign = {"authorization": "Bearer another"}
    for answer in (
        await site.client.get(f"/v1/batches/{made['id']}", headers=foreign),
        await site.client.post(f"/v1/batches/{made['id']}/cancel", headers=foreign),
        await site.client.get("/v1/batches/batch_none"),
        await site.client.get("/v1/batches/%00"),
    ):
        assert answer.status_code == 404, answer.text
        assert answer.json()["error"]["message"].startswith("No batch found with id '")
    assert (await site.client.get("/v1/batches", headers=foreign)).json()["data"] == []
    ident = made["input_file_id"]
    stolen = await site.client.post("/v1/batches", json=GOOD | {"input_file_id": ident}, headers=foreign)
    assert stolen.json()["status"] == "failed"


async def test_pages(site: Site) -> None:
    file = await site.upload(lines(1))
    made = [(await site.ask(**GOOD | {"input_file_id": file})).json()["id"] for _ in range(5)]
    first = (await site.client.get("/v1/batches", params={"limit": 2})).json()
    assert [each["id"] for each in first["data"]] == [made[4], made[3]]
    assert (first["first_id"], first["last_id"], first["has_more"]) == (made[4], made[3], True)
    rest = (await site.client.get("/v1/batches", params={"limit": 100, "after": first["last_id"]})).json()
    assert [each["id"] for each in rest["data"]] == made[2::-1]
    assert rest["has_more"] is False
    for params in ({"limit": 0}, {"limit": 101}, {"limit": "x"}, {"after": "batch_none"}):
        answer = await site.client.get("/v1/batches", params=params)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value"), params
        assert answer.json()["error"]["param"]


async def test_sent_twice_with_one_key_it_is_made_once(site: Site) -> None:
    said = GOOD | {"input_file_id": await site.upload(lines(1))}
    answers = await asyncio.gather(
        *(site.client.post("/v1/batches", json=said, headers={"idempotency-key": "monday"}) for _ in range(5))
    )
    assert len({answer.json()["id"] for answer in answers}) == 1
    other = await site.client.post("/v1/batches", json=said, headers={"idempotency-key": "tuesday"})
    assert other.json()["id"] != answers[0].json()["id"]
    for changed in ({"input_file_id": await site.upload(lines(2))}, {"metadata": {"run": "2"}}):
        reused = await site.client.post("/v1/batches", json=said | changed, headers={"idempotency-key": "monday"})
        assert (reused.status_code, reused.json()["error"]["code"]) == (409, "idempotency_key_reused")
        assert reused.headers["x-should-retry"] == "false"
    foreign = {"idempotency-key": "monday", "authorization": "Bearer another"}
    assert (await site.client.post("/v1/batches", json=said, headers=foreign)).json()["status"] == "failed"


async def test_an_input_that_is_deleted_right_after_is_worked_on_all_the_same(site: Site) -> None:
    made = await site.create(lines(2))
    assert (await site.client.delete(f"/v1/files/{made['input_file_id']}")).json()["deleted"] is True
    done = await site.worked(made["id"])
    assert done["request_counts"] == {"total": 2, "completed": 2, "failed": 0}


async def test_without_a_worker_it_says_why_nothing_happens(site: Site) -> None:
    made = await site.create(lines(1))
    found = await site.show(made["id"])
    assert found["status"] == "validating"
    assert "No worker" in found["dormouse"]["note"]
    health = (await site.client.get("/health")).json()
    assert health["status"] == "degraded"
    assert any("worker" in reason for reason in health["reasons"])
    done = await site.worked(made["id"])
    assert (done["status"], done["dormouse"]["note"]) == ("completed", None)
    assert (await site.client.get("/health")).json()["status"] == "healthy"


async def test_a_router_that_keeps_nothing_takes_no_batches() -> None:
    async with stage() as running, httpx.AsyncClient(base_url=running.url) as client:
        answer = await client.post("/v1/batches", json=GOOD | {"input_file_id": "file-1"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "batches_unavailable")
        assert answer.headers["x-should-retry"] == "false"
        assert (await client.get("/v1/batches")).json()["data"] == []
        assert (await client.get("/v1/batches/batch_1")).status_code == 404
        assert (await client.post("/v1/batches/batch_1/cancel")).status_code == 404
