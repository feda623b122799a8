"""Uploads in parts: made of exactly what was announced, ended once, and gone with all their parts; on every store."""

import hashlib
import os
from dataclasses import replace

import pytest

from dormouse_router.filing import CANCELLED, EXPIRED, Draft, PartRecord, UploadRecord
from dormouse_router.request import Refusal
from tests.router.files.conftest import Store

ANN = Draft("ann", "large.jsonl", "batch", lives=7200.0)
HALVES = os.urandom(1_500_000), os.urandom(1_500_001)
WHOLE = b"".join(HALVES)


async def put(store: Store, upload: UploadRecord, content: bytes) -> PartRecord:
    async with store.uploads.writing(upload, 2_000_000) as writer:
        await writer.write(content)
        return await writer.commit()


async def refused(store: Store, upload: UploadRecord, parts: list[str], md5: str | None = None) -> Refusal:
    with pytest.raises(Refusal) as found:
        await store.uploads.complete(upload, parts, md5)
    return found.value


async def test_a_file_is_made_of_its_parts_in_the_order_that_is_asked_for(store: Store) -> None:
    upload = await store.uploads.create(ANN, len(WHOLE), "text/plain")
    second, first = await put(store, upload, HALVES[1]), await put(store, upload, HALVES[0])
    order = [first.id, second.id]
    assert (await refused(store, upload, order[:1])).param == "part_ids"
    assert (await refused(store, upload, [*order, "part_none"])).param == "part_ids"
    assert (await refused(store, upload, [first.id, first.id])).param == "part_ids"
    assert (await refused(store, upload, order, "0" * 32)).param == "md5"
    md5 = hashlib.md5(WHOLE, usedforsecurity=False).hexdigest()
    ended, file = await store.uploads.complete(upload, order, md5.upper())
    assert (ended.file_id, file.sha256) == (file.id, hashlib.sha256(WHOLE).hexdigest())
    assert file.expires_at == store.clock.now + 7200
    assert await store.files.get(file.id, "ann") == file
    assert await store.content(file) == WHOLE
    assert await store.names() == {file.id}
    assert await store.uploads.get(upload.id, "ann") == ended


async def test_who_comes_second_does_not_end_it_again(store: Store) -> None:
    upload = await store.uploads.create(ANN, 10, "")
    part = await put(store, upload, bytes(10))
    assert (await store.uploads.cancel(upload)).status == CANCELLED
    assert (await refused(store, upload, [part.id])).status == 400  # its parts are gone
    with pytest.raises(Refusal) as late:
        await store.uploads.cancel(upload)
    assert late.value.status == 409
    with pytest.raises(Refusal):
        await put(store, upload, b"1")
    assert await store.names() == set()


async def test_more_than_was_announced_is_refused(store: Store) -> None:
    upload = await store.uploads.create(ANN, 10, "")
    await put(store, upload, bytes(6))
    with pytest.raises(Refusal) as found:
        await put(store, upload, bytes(5))
    assert found.value.status == 400
    assert len(await store.names()) == 1


async def test_what_was_announced_counts_as_used(store: Store) -> None:
    upload = await store.uploads.create(ANN, 39_000_000, "")
    with pytest.raises(Refusal) as found:
        await store.uploads.create(ANN, 2_000_000, "")
    assert found.value.status == 403
    await store.uploads.cancel(upload)
    await store.uploads.create(ANN, 2_000_000, "")


async def test_after_an_hour_it_takes_nothing_and_after_a_day_it_is_gone(store: Store) -> None:
    upload = await store.uploads.create(ANN, 10, "")
    await put(store, upload, bytes(5))
    assert await store.uploads.get(upload.id, "bob") is None
    store.clock.now += 3600
    assert await store.uploads.get(upload.id, "ann") == replace(upload, status=EXPIRED)
    with pytest.raises(Refusal):
        await put(store, upload, bytes(5))
    store.clock.now += 86400
    assert await store.sweeper.expired() == 1
    assert await store.names() == set()
    assert await store.uploads.get(upload.id, "ann") is None
