"""OpenAI's Python SDK, strict: files up, listed, read and deleted; uploads in parts."""

import hashlib
import os
from typing import Any

import openai
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")
LINES = b'{"custom_id": "1"}\n{"custom_id": "2"}\n'
HOUR: Any = {"anchor": "created_at", "seconds": 3600}


async def test_a_file_from_its_upload_to_its_end(sdk: openai.AsyncOpenAI) -> None:
    file = await sdk.files.create(file=("questions.jsonl", LINES), purpose="batch", expires_after=HOUR)
    assert (file.bytes, file.filename, file.purpose, file.object) == (len(LINES), "questions.jsonl", "batch", "file")
    assert (file.status, file.expires_at) == ("processed", file.created_at + 3600)
    assert await sdk.files.retrieve(file.id) == file
    assert (await sdk.files.content(file.id)).content == LINES
    done = await sdk.files.delete(file.id)
    assert (done.id, done.deleted, done.object) == (file.id, True, "file")
    with pytest.raises(openai.NotFoundError, match=f"No such File object: {file.id}"):
        await sdk.files.retrieve(file.id)
    with pytest.raises(openai.NotFoundError):
        await sdk.files.content(file.id)


async def test_pages_are_followed_by_the_sdk(sdk: openai.AsyncOpenAI) -> None:
    made = [(await sdk.files.create(file=(f"{n}.txt", b"x"), purpose="user_data")).id for n in range(5)]
    found: list[str] = []
    after: Any = openai.omit
    while (listed := await sdk.files.list(purpose="user_data", limit=2, order="asc", after=after)).data:
        found += [file.id for file in listed.data]
        after = found[-1]
        assert listed.has_more == (len(found) < len(made))
    assert [ident for ident in found if ident in made] == made
    for ident in made:
        await sdk.files.delete(ident)


async def test_what_is_refused_is_the_sdks_own_error(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"Invalid file format for Batch API. Must be .jsonl") as refused:
        await sdk.files.create(file=("questions.txt", LINES), purpose="batch")
    assert (refused.value.param, refused.value.code) == (None, None)
    wrong: Any = "party"
    with pytest.raises(openai.BadRequestError, match="'party' is not one of") as refused:
        await sdk.files.create(file=("a.txt", LINES), purpose=wrong)
    assert refused.value.param == "purpose"


async def test_an_upload_in_parts(sdk: openai.AsyncOpenAI) -> None:
    content = os.urandom(3_000_000)
    upload = await sdk.uploads.create(
        bytes=len(content), filename="large.jsonl", mime_type="application/jsonl", purpose="batch"
    )
    assert (upload.status, upload.file, upload.expires_at) == ("pending", None, upload.created_at + 3600)
    cuts = [content[at : at + 1_000_000] for at in range(0, len(content), 1_000_000)]
    parts = [(await sdk.uploads.parts.create(upload.id, data=cut)).id for cut in reversed(cuts)][::-1]
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    with pytest.raises(openai.BadRequestError, match="MD5"):
        await sdk.uploads.complete(upload.id, part_ids=parts, md5="0" * 32)
    with pytest.raises(openai.BadRequestError, match="3000000 were announced"):
        await sdk.uploads.complete(upload.id, part_ids=parts[1:])
    done = await sdk.uploads.complete(upload.id, part_ids=parts, md5=md5)
    assert done.status == "completed"
    assert done.file is not None
    assert (await sdk.files.content(done.file.id)).content == content
    again = await sdk.uploads.complete(upload.id, part_ids=parts)  # as the SDK does itself when an answer is lost
    assert again == done
    await sdk.files.delete(done.file.id)
    with pytest.raises(openai.BadRequestError, match="completed"):
        await sdk.uploads.complete(upload.id, part_ids=parts)


async def test_an_upload_is_cancelled(sdk: openai.AsyncOpenAI) -> None:
    upload = await sdk.uploads.create(bytes=10, filename="a.txt", mime_type="text/plain", purpose="user_data")
    part = await sdk.uploads.parts.create(upload.id, data=b"12345")
    with pytest.raises(openai.BadRequestError, match="announced"):
        await sdk.uploads.parts.create(upload.id, data=b"678901")
    assert (await sdk.uploads.cancel(upload.id)).status == "cancelled"
    for call in (
        sdk.uploads.complete(upload.id, part_ids=[part.id]),
        sdk.uploads.cancel(upload.id),
        sdk.uploads.parts.create(upload.id, data=b"12345"),
    ):
        with pytest.raises(openai.BadRequestError, match="cancelled"):
            await call
    with pytest.raises(openai.NotFoundError, match="No such Upload object"):
        await sdk.uploads.cancel("upload_none")
