"""Files: whole or not there, nobody else's, within their quota, and gone with all they had; on every kind of store."""

import hashlib
import os
from dataclasses import replace

import pytest

from dormouse_router.filing import Draft, FileRecord
from dormouse_router.request import Refusal
from tests.router.files.conftest import NOW, QUOTA, Store

ANN = Draft("ann", "questions.jsonl", "batch")
BIG = os.urandom(12_345_678)
MOST = 30_000_000


async def put(store: Store, content: bytes = b"hello", draft: Draft = ANN) -> FileRecord:
    async with store.files.writing(draft.owner, MOST) as writer:
        for at in range(0, len(content), 70_000):
            await writer.write(content[at : at + 70_000])
        assert writer.size == len(content)
        return await writer.commit(draft)


async def test_what_is_written_is_read_whole_and_by_range(store: Store) -> None:
    record = await put(store, BIG)
    assert record == replace(record, owner="ann", filename="questions.jsonl", purpose="batch", created_at=NOW)
    assert (record.bytes, record.sha256) == (len(BIG), hashlib.sha256(BIG).hexdigest())
    assert record.expires_at is None
    assert await store.files.get(record.id, "ann") == record
    assert await store.content(record) == BIG
    assert await store.content(record, 5_000_000, 5_000_100) == BIG[5_000_000:5_000_100]
    assert await store.content(record, len(BIG) - 10, len(BIG) + 10) == BIG[-10:]
    assert await store.content(record, len(BIG)) == b""


async def test_an_empty_file_is_a_file(store: Store) -> None:
    record = await put(store, b"")
    assert record.bytes == 0
    assert await store.content(record) == b""
    assert await store.names() == {record.id}


async def test_nothing_is_seen_before_its_end_and_nothing_stays_without_one(store: Store) -> None:
    async with store.files.writing("ann", MOST) as writer:
        await writer.write(BIG)
        assert await store.files.page("ann", None, None, 10, newest_first=True) == []
        assert await store.names() == set()
    assert await store.names() == set()
    assert await store.sweeper.orphans() == 0


async def test_a_file_beyond_its_limit_is_refused_and_leaves_nothing(store: Store) -> None:
    async with store.files.writing("ann", 3_000_000) as writer:
        for _ in range(30):
            await writer.write(bytes(100_000))
        with pytest.raises(Refusal) as refused:
            await writer.write(b"1")
    assert refused.value.status == 413
    assert await store.names() == set()


async def test_nobody_elses_can_be_read_listed_deleted_or_pinned(store: Store) -> None:
    record = await put(store)
    assert await store.files.get(record.id, "bob") is None
    assert await store.files.page("bob", None, None, 10, newest_first=True) == []
    assert await store.files.page("bob", None, record.id, 10, newest_first=True) is None
    assert not await store.files.delete(record.id, "bob")
    assert await store.files.pin(record.id, "bob", "batch_1") is None
    assert await store.content(record) == b"hello"


async def test_pages_follow_each_other_both_ways(store: Store) -> None:
    made = []
    for number in range(4):
        store.clock.now += number % 2  # two of one moment
        made.append((await put(store, draft=replace(ANN, purpose="ab"[number % 2]))).id)
    oldest_first = sorted(made, key=lambda ident: made.index(ident))

    async def page(after: str | None, limit: int = 10, purpose: str | None = None, *, newest: bool = True) -> list[str]:
        found = await store.files.page("ann", purpose, after, limit, newest_first=newest)
        assert found is not None
        return [record.id for record in found]

    every = await page(None, newest=False)
    assert sorted(every) == sorted(oldest_first)
    assert await page(None) == every[::-1]
    assert await page(every[1], newest=False) == every[2:]
    assert await page(every[2]) == every[1::-1]
    assert await page(every[2], 1) == every[1:2]
    assert sorted(await page(None, purpose="b")) == sorted((made[1], made[3]))
    assert await store.files.page("ann", None, "file-none", 10, newest_first=True) is None
    assert await store.files.page("ann", None, "\0", 10, newest_first=True) is None


async def test_a_deleted_file_goes_with_its_bytes(store: Store) -> None:
    record = await put(store)
    assert await store.files.delete(record.id, "ann")
    assert await store.files.get(record.id, "ann") is None
    assert not await store.files.delete(record.id, "ann")
    assert await store.names() == set()
    with pytest.raises(Refusal) as refused:
        await store.content(record)
    assert refused.value.status == 404


async def test_an_expired_file_is_not_there_and_then_gone(store: Store) -> None:
    record = await put(store, draft=replace(ANN, lives=3600.0))
    assert record.expires_at == NOW + 3600
    store.clock.now += 3600
    assert await store.files.get(record.id, "ann") is None
    assert not await store.files.delete(record.id, "ann")
    assert await store.sweeper.expired() == 1
    assert await store.names() == set()
    assert await store.sweeper.expired() == 0


async def test_what_is_pinned_is_read_after_its_end(store: Store) -> None:
    first, second = await put(store), await put(store, draft=replace(ANN, lives=3600.0))
    for record in (first, second):
        assert await store.files.pin(record.id, "ann", "batch_1") == record
        assert await store.files.pin(record.id, "ann", "batch_1") == record
    assert await store.files.pin(first.id, "ann", "batch_2") == first
    assert await store.files.delete(first.id, "ann")
    store.clock.now += 3600
    assert await store.sweeper.expired() == 0
    assert await store.content(first) == await store.content(second) == b"hello"
    await store.files.unpin("batch_1")
    assert await store.names() == {first.id}
    await store.files.unpin("batch_2")
    assert await store.names() == set()
    assert await store.files.pin(first.id, "ann", "batch_3") is None


async def test_an_owner_has_so_many_files_and_so_many_bytes(store: Store) -> None:
    await put(store, bytes(20_000_000))
    with pytest.raises(Refusal) as refused:
        await put(store, bytes(20_000_001))
    assert (refused.value.status, refused.value.code) == (403, "file_quota_exceeded")
    for _ in range(QUOTA.owner_files - 1):
        await put(store)
    with pytest.raises(Refusal) as refused:
        await put(store)
    assert refused.value.status == 403
    assert len(await store.names()) == QUOTA.owner_files


async def test_all_owners_together_have_so_much_room_also_while_they_write(store: Store) -> None:
    await put(store, bytes(30_000_000), replace(ANN, owner="bob"))
    async with store.files.writing("ann", MOST) as writer:
        await writer.write(bytes(25_000_000))
        with pytest.raises(Refusal) as refused:
            await put(store, bytes(6_000_000), replace(ANN, owner="eve"))
        assert refused.value.status == 507
        await writer.commit(ANN)
    await put(store, bytes(4_000_000), replace(ANN, owner="eve"))
