"""OpenAI's Python SDK, strict, and Parasail's `openai-batch`: a file of requests up, its answers down."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types import Batch
from openai_batch import Batch as ParasailBatch
from openai_batch.providers import Provider

from tests.clients.world import CHAT, EMBED, World

pytestmark = pytest.mark.asyncio(loop_scope="module")
ENDED = ("completed", "failed", "expired", "cancelled")
ENDPOINT: Any = "/v1/chat/completions"
HOUR: Any = {"anchor": "created_at", "seconds": 3600}


def line(number: int, **more: Any) -> bytes:
    body = {"model": CHAT, "messages": [{"role": "user", "content": f"question {number}"}]}
    base = {"custom_id": f"q-{number}", "method": "POST", "url": ENDPOINT, "body": body} | more
    return json.dumps(base).encode() + b"\n"


async def created(sdk: openai.AsyncOpenAI, content: bytes, **more: Any) -> Batch:
    file = await sdk.files.create(file=("questions.jsonl", content), purpose="batch")
    return await sdk.batches.create(input_file_id=file.id, **{"endpoint": ENDPOINT, "completion_window": "24h"} | more)


async def ended(sdk: openai.AsyncOpenAI, batch: Batch) -> Batch:
    async with asyncio.timeout(240):
        while batch.status not in ENDED:
            await asyncio.sleep(0.02)
            batch = await sdk.batches.retrieve(batch.id)
    return batch


async def answers(sdk: openai.AsyncOpenAI, ident: str | None) -> list[Any]:
    assert ident is not None
    return [json.loads(each) for each in (await sdk.files.content(ident)).content.splitlines()]


async def test_from_upload_to_output(sdk: openai.AsyncOpenAI) -> None:
    batch = await created(sdk, b"".join(map(line, range(20))), metadata={"team": "a"}, output_expires_after=HOUR)
    assert (batch.status, batch.object, batch.metadata) == ("validating", "batch", {"team": "a"})
    assert batch.expires_at == batch.created_at + 86400
    done = await ended(sdk, batch)
    assert (done.status, done.error_file_id, done.errors, done.model) == ("completed", None, None, CHAT)
    assert done.request_counts is not None
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (20, 20, 0)
    assert done.in_progress_at is not None
    assert done.finalizing_at is not None
    assert done.completed_at is not None
    assert done.created_at <= done.in_progress_at <= done.finalizing_at <= done.completed_at
    assert done.usage is not None
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens > 0
    found = await answers(sdk, done.output_file_id)
    assert sorted(each["custom_id"] for each in found) == sorted(f"q-{number}" for number in range(20))
    for each in found:
        assert openai.types.chat.ChatCompletion.model_validate(each["response"]["body"]).choices[0].message.content
    file = await sdk.files.retrieve(done.output_file_id or "")
    assert (file.purpose, file.expires_at) == ("batch_output", file.created_at + 3600)
    assert (await sdk.files.delete(file.id)).deleted
    assert (await sdk.batches.retrieve(done.id)).output_file_id == file.id
    with pytest.raises(openai.NotFoundError):
        await sdk.files.content(file.id)


async def test_every_line_that_fails_is_in_the_error_file(sdk: openai.AsyncOpenAI) -> None:
    bad = line(1, body={"model": CHAT, "messages": []})
    done = await ended(sdk, await created(sdk, line(0) + bad))
    assert done.status == "completed"
    assert done.request_counts is not None
    assert (done.request_counts.completed, done.request_counts.failed) == (1, 1)
    [failed] = await answers(sdk, done.error_file_id)
    assert (failed["custom_id"], failed["error"], failed["response"]["status_code"]) == ("q-1", None, 400)
    assert set(failed["response"]["body"]["error"]) == {"message", "type", "param", "code"}
    alone = await ended(sdk, await created(sdk, bad))
    assert (alone.status, alone.output_file_id) == ("completed", None)
    assert alone.error_file_id is not None


async def test_an_input_that_is_refused(sdk: openai.AsyncOpenAI) -> None:
    failed = await ended(sdk, await created(sdk, line(0) + line(0) + b"{\n"))
    assert (failed.status, failed.output_file_id, failed.error_file_id) == ("failed", None, None)
    assert failed.errors is not None
    assert failed.errors.data is not None
    assert [(error.code, error.line, error.param) for error in failed.errors.data] == [
        ("duplicate_custom_id", 2, "custom_id"),
        ("invalid_json_line", 3, None),
    ]
    gone = await sdk.batches.create(input_file_id="file-none", endpoint=ENDPOINT, completion_window="24h")
    assert (gone.status, gone.errors and gone.errors.data and gone.errors.data[0].code) == ("failed", "invalid_request")


async def test_a_request_that_is_refused_is_the_sdks_own_error(sdk: openai.AsyncOpenAI) -> None:
    wrong: dict[str, Any] = {"completion_window": "5m"}
    with pytest.raises(openai.BadRequestError, match=r"Invalid value: '5m'. Supported values are: '24h'.") as refused:
        await created(sdk, line(0), **wrong)
    assert (refused.value.code, refused.value.param) == ("invalid_value", "completion_window")
    with pytest.raises(openai.BadRequestError, match=r"'metadata.x'"):
        await created(sdk, line(0), metadata={"x": 7})
    with pytest.raises(openai.NotFoundError, match="No batch found with id 'batch_none'"):
        await sdk.batches.retrieve("batch_none")
    with pytest.raises(openai.NotFoundError, match="No batch found"):
        await sdk.batches.cancel("batch_none")


async def test_cancelled(router: World, sdk: openai.AsyncOpenAI) -> None:
    with router.no_hands():
        batch = await created(sdk, b"".join(map(line, range(5))))
        router.validate()
        assert (await sdk.batches.retrieve(batch.id)).status == "in_progress"
        cancelling = await sdk.batches.cancel(batch.id)
        assert (cancelling.status, cancelling.cancelled_at) == ("cancelling", None)
        assert (await sdk.batches.cancel(batch.id)).cancelling_at == cancelling.cancelling_at
    done = await ended(sdk, cancelling)
    assert (done.status, done.output_file_id) == ("cancelled", None)
    told = await answers(sdk, done.error_file_id)
    assert {(each["response"], each["error"]["code"]) for each in told} == {(None, "batch_cancelled")}
    assert len(told) == 5
    assert (await sdk.batches.cancel(batch.id)).status == "cancelled"
    complete = await ended(sdk, await created(sdk, line(0)))
    with pytest.raises(openai.ConflictError, match=r"Cannot cancel a batch with status 'completed'\."):
        await sdk.batches.cancel(complete.id)


async def test_expired(router: World, sdk: openai.AsyncOpenAI) -> None:
    with router.no_hands():
        batch = await created(sdk, b"".join(map(line, range(3))))
        router.validate()
        router.ages(batch.id, 2 * 86400)
    done = await ended(sdk, batch)
    assert done.status == "expired"
    assert done.expired_at is not None
    assert done.request_counts is not None
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (3, 0, 0)
    assert {each["error"]["code"] for each in await answers(sdk, done.error_file_id)} == {"batch_expired"}


async def test_pages_are_followed(sdk: openai.AsyncOpenAI) -> None:
    file = await sdk.files.create(file=("questions.jsonl", line(0)), purpose="batch")
    made = [
        (await sdk.batches.create(input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h")).id
        for _ in range(5)
    ]
    found: list[str] = []
    after: Any = openai.omit
    while len(found) < 5:
        page = await sdk.batches.list(limit=2, after=after)
        found += [batch.id for batch in page.data]
        after = found[-1]
    assert found[:5] == made[::-1]


async def test_embeddings_and_the_other_endpoints(sdk: openai.AsyncOpenAI) -> None:
    bodies: list[tuple[Any, dict[str, Any]]] = [
        ("/v1/embeddings", {"model": EMBED, "input": ["a", "b"]}),
        ("/v1/completions", {"model": CHAT, "prompt": "Once"}),
        ("/v1/responses", {"model": CHAT, "input": "hi"}),
    ]
    for endpoint, body in bodies:
        batch = await created(sdk, line(0, url=endpoint, body=body), endpoint=endpoint)
        done = await ended(sdk, batch)
        assert done.status == "completed"
        [told] = await answers(sdk, done.output_file_id)
        assert told["response"]["status_code"] == 200, endpoint


# ---------------------------------------------------------------------- Parasail's client


class Written(os.PathLike[str]):
    """A file that openai-batch writes lines to and uploads by its name.

    As released (0.3.4) it closes a file of its own before it reads it, so its callers bring one like this.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, text: str) -> None:
        with self._path.open("a") as file:
            file.write(text)

    def __fspath__(self) -> str:
        return str(self._path)


async def test_openai_batch_from_its_first_line_to_its_files(router: World, tmp_path: Path) -> None:
    provider = Provider("dormouse", base_url=router.openai, api_key="parasail", requires_consistency=False)

    def work() -> tuple[Batch, str | None, str | None]:
        output, error = str(tmp_path / "out.jsonl"), str(tmp_path / "err.jsonl")
        with ParasailBatch(Written(tmp_path / "in.jsonl"), output, error, provider=provider) as batch:
            for number in range(6):
                asked = [{"role": "user", "content": f"{number}"}]
                batch.add_to_batch(model="both" if number % 2 else CHAT, messages=asked)
            found: tuple[Batch, str | None, str | None] = batch.submit_wait_download(interval=0.05)
            return found

    done, output, error = await asyncio.to_thread(work)
    assert (done.status, error) == ("completed", None)
    assert output is not None
    told = [json.loads(each) for each in Path(output).read_text().splitlines()]  # noqa: ASYNC240
    assert sorted(each["custom_id"] for each in told) == [f"line-{number}" for number in range(1, 7)]


async def test_openai_batch_s_own_command(router: World, tmp_path: Path) -> None:
    """It uploads bytes without a name, as `upload`."""
    source = tmp_path / "in.jsonl"
    source.write_bytes(line(0) + line(1))
    command = ("-m", "openai_batch.run", "--base-url", router.openai, "--api-key", "none", "--create", str(source))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    assert b"batch_" in out
