"""What holds of batches in a database: no line twice, none lost, whoever dies when."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from dormouse_router.batch.forecast import Unended
from dormouse_router.batch.lifecycle import WINDOW_SECONDS, Counts, Rights, Status, TransitionError, Usage
from dormouse_router.batching import (
    CANCEL_GRACE,
    MOST_CHUNK,
    WINDOW_GRACE,
    Answer,
    BatchDraft,
    ChunkKey,
    Task,
)
from dormouse_router.request import Refusal
from dormouse_router.store.tables import webhook_events
from tests.router.batch.conftest import LIMITS, NOW, World, world_of
from tests.router.batch.inputs import CHAT, OWNER, line, lines

BAD = b'{"custom_id": "x"}\n'


async def test_a_whole_life(world: World) -> None:
    batch = await world.create(lines(300), metadata={"a": "b"}, output_seconds=7200)
    assert (batch.status, batch.counts, batch.metadata) == (Status.VALIDATING, Counts(), {"a": "b"})
    await world.perform(await world.duty(Task.VALIDATE))
    begun = await world.see(batch)
    assert (begun.status, begun.counts, begun.model) == (Status.IN_PROGRESS, Counts(300), "tiny")
    for status in (200, 429, 200):
        assert await world.flush(await world.claim(), status=status)
    assert await world.work.claim("h", 30.0) is None
    assert (await world.see(batch)).counts == Counts(300, 300 - MOST_CHUNK, MOST_CHUNK)
    await world.finished()
    done = await world.see(batch)
    assert done.status is Status.COMPLETED
    good, bad = await world.content(done.output_file_id), await world.content(done.error_file_id)
    ids = [each["custom_id"] for each in good + bad]
    assert sorted(ids) == sorted(f"r-{number}" for number in range(300))
    assert (len(good), len(bad)) == (done.counts.completed, done.counts.failed)
    assert {each["response"]["status_code"] for each in bad} == {429}
    assert all(each["error"] is None for each in good + bad)
    assert len({each["id"] for each in good + bad}) == 300
    output = await world.files.get(done.output_file_id or "", OWNER)
    assert output is not None
    assert (output.purpose, output.expires_at) == ("batch_output", NOW + 7200)
    assert await world.names() == {done.input_file_id, done.output_file_id, done.error_file_id}
    assert await world.work.take("h", 30.0) is None


async def test_a_refused_input_fails_and_lets_its_file_go(world: World) -> None:
    batch = await world.create(BAD * 3)
    await world.files.delete(batch.input_file_id, OWNER)
    assert await world.names() == {batch.input_file_id}  # pinned
    await world.perform(await world.duty(Task.VALIDATE))
    failed = await world.see(batch)
    assert (failed.status, failed.failed_at) == (Status.FAILED, int(NOW))
    assert [(error.code, error.line, error.param) for error in failed.errors] == [
        ("missing_required_parameter", number, "method") for number in (1, 2, 3)
    ]
    assert await world.names() == set()
    assert await world.work.take("h", 30.0) is None


async def test_a_file_that_is_not_there_fails_at_once_and_another_kind_is_refused(world: World) -> None:
    batch = await world.batches.create(BatchDraft(OWNER, CHAT, "file-none"))
    assert batch.status is Status.FAILED
    assert [(error.code, error.param) for error in batch.errors] == [("invalid_request", "file_id")]
    foreign = await world.upload(lines(1), owner="bob")
    assert (await world.batches.create(BatchDraft(OWNER, CHAT, foreign.id))).status is Status.FAILED
    for ident in ("\x00", "file-\ud800", "../../etc/passwd"):
        assert (await world.batches.create(BatchDraft(OWNER, CHAT, ident))).status is Status.FAILED
    other = await world.upload(lines(1), purpose="user_data")
    with pytest.raises(Refusal, match="purpose 'user_data'") as refused:
        await world.batches.create(BatchDraft(OWNER, CHAT, other.id))
    assert (refused.value.status, refused.value.param) == (400, "input_file_id")


async def test_lines_are_claimed_once_and_come_back_when_their_holder_dies(world: World) -> None:
    await world.validated(lines(MOST_CHUNK + 1))
    first, second = await world.claim("a"), await world.claim("b")
    assert await world.work.claim("c", 30.0) is None
    assert sorted(each.number for chunk in (first, second) for each in chunk.lines) == list(range(1, MOST_CHUNK + 2))
    world.clock.now += 20
    renewed = await world.work.renew("a", [first.key], [], 30.0)
    assert not renewed.lost
    world.clock.now += 15
    again = await world.claim("c")
    assert (again.number, again.token) == (second.number, second.token + 1)
    assert (await world.work.renew("b", [second.key], [], 30.0)).lost == {second.key}
    assert not await world.flush(second)
    assert await world.flush(again)


async def test_what_was_flushed_is_not_asked_again(world: World) -> None:
    batch = await world.validated(lines(10))
    chunk = await world.claim("a")
    assert await world.flush(chunk, most=4)
    assert not await world.flush(chunk, most=5)  # four of them are done
    world.clock.now += 31
    rest = await world.claim("b")
    assert [each.place for each in rest.lines] == [4, 5, 6, 7, 8, 9]
    assert await world.flush(rest)
    assert not await world.flush(rest)
    await world.finished()
    done = await world.see(batch)
    assert done.counts == Counts(10, 10, 0)
    assert len(await world.content(done.output_file_id)) == 10
    assert done.error_file_id is None


async def test_a_chunk_given_back_rests(world: World) -> None:
    await world.validated(lines(3))
    chunk = await world.claim()
    await world.work.release(chunk, 10.0)
    assert await world.work.claim("h", 30.0) is None
    assert not await world.flush(chunk)
    world.clock.now += 10
    assert (await world.claim()).number == chunk.number


async def test_the_awake_model_comes_first_then_the_oldest_batch(world: World) -> None:
    old = await world.validated(line(0, "tiny") + b"\n" + line(1, "large"))
    world.clock.now += 1
    new = await world.validated(line(0, "large") + b"\n" + line(1, "other"))
    assert await world.work.claim("h", 30.0, avoid=["tiny", "large", "other"]) is None
    order = [await world.claim(prefer=["large"]) for _ in range(4)]
    found = [(chunk.batch.id, chunk.model) for chunk in order]
    assert found == [(old.id, "large"), (new.id, "large"), (old.id, "tiny"), (new.id, "other")]
    assert (await world.see(old)).model is None
    progress = await world.batches.progress(old)
    assert [(each.model, each.total, each.open, each.held) for each in progress.models] == [
        ("tiny", 1, 1, 1),
        ("large", 1, 1, 1),
    ]


async def test_usage_and_waiting_add_up(world: World) -> None:
    batch = await world.validated(lines(2))
    chunk = await world.claim()
    for each in chunk.lines:
        answer = replace(await world.answer(chunk, each), usage=Usage(5, 1, 7, 2))
        assert await world.work.flush(chunk, [answer], waited=1.5)
    assert (await world.see(batch)).usage == Usage(10, 2, 14, 4)
    assert (await world.batches.progress(batch)).waited == 3.0


async def test_a_cancelled_batch_keeps_what_was_answered(world: World) -> None:
    batch = await world.validated(lines(6))
    chunk = await world.claim()
    await world.flush(chunk, most=2)
    cancelled = await world.batches.cancel(batch.id, OWNER)
    assert cancelled is not None
    assert cancelled.status is Status.CANCELLING
    assert (await world.work.renew("h", [chunk.key], [], 30.0)).cancelling == {batch.id}
    assert await world.work.take("w", 30.0) is None  # lines are under way
    rest = replace(chunk, lines=chunk.lines[2:])
    assert await world.flush(rest, most=1)
    await world.work.release(chunk)
    assert await world.work.claim("h", 30.0) is None
    await world.finished()
    done = await world.see(batch)
    assert (done.status, done.counts) == (Status.CANCELLED, Counts(6, 3, 0))
    assert len(await world.content(done.output_file_id)) == 3
    bad = await world.content(done.error_file_id)
    assert [(each["custom_id"], each["response"], each["error"]["code"]) for each in bad] == [
        (f"r-{number}", None, "batch_cancelled") for number in (3, 4, 5)
    ]
    assert await world.batches.cancel(batch.id, OWNER) == done


async def test_a_cancel_is_not_held_up_by_a_holder_that_is_silent(world: World) -> None:
    batch = await world.validated(lines(2))
    chunk = await world.claim()
    await world.batches.cancel(batch.id, OWNER)
    world.clock.now += CANCEL_GRACE
    await world.work.renew("h", [chunk.key], [], 30.0)
    await world.finished()
    assert (await world.see(batch)).status is Status.CANCELLED
    assert not await world.flush(chunk)


async def test_cancelled_while_validating_nothing_was_ever_asked(world: World) -> None:
    batch = await world.create(lines(2))
    duty = await world.duty(Task.VALIDATE)
    await world.batches.cancel(batch.id, OWNER)
    await world.perform(duty)
    await world.finished()
    done = await world.see(batch)
    assert (done.status, done.counts, done.output_file_id, done.error_file_id) == (
        Status.CANCELLED,
        Counts(),
        None,
        None,
    )


@pytest.mark.parametrize("end", [Status.COMPLETED, Status.FAILED])
async def test_what_has_ended_is_not_cancelled(world: World, end: Status) -> None:
    batch = await world.create(lines(1) if end is Status.COMPLETED else BAD)
    await world.perform(await world.duty(Task.VALIDATE))
    if end is Status.COMPLETED:
        await world.flush(await world.claim())
        await world.finished()
    with pytest.raises(TransitionError, match=f"Cannot cancel a batch with status '{end}'."):
        await world.batches.cancel(batch.id, OWNER)
    assert await world.batches.cancel(batch.id, "bob") is None


async def test_a_window_that_passes_ends_it_with_what_there_is(world: World) -> None:
    batch = await world.validated(lines(5))
    chunk = await world.claim()
    assert await world.flush(chunk, most=1)
    world.clock.now = batch.expires_at
    await world.work.renew("h", [chunk.key], [], 30.0)
    assert await world.work.claim("c", 30.0) is None
    assert await world.work.take("w", 30.0) is None
    assert await world.flush(replace(chunk, lines=chunk.lines[1:]), most=1)
    world.clock.now += WINDOW_GRACE
    await world.work.renew("h", [chunk.key], [], 30.0)
    await world.finished()
    done = await world.see(batch)
    assert (done.status, done.counts, done.expired_at) == (Status.EXPIRED, Counts(5, 2, 0), int(world.clock.now))
    assert {each["error"]["code"] for each in await world.content(done.error_file_id)} == {"batch_expired"}
    assert batch.expires_at == NOW + WINDOW_SECONDS


async def test_files_are_the_same_whoever_writes_them_how_often(world: World) -> None:
    batch = await world.validated(lines(4))
    chunk = await world.claim()
    await world.flush(chunk, most=2)
    world.clock.now = batch.expires_at + WINDOW_GRACE
    slow = await world.duty(Task.FINISH, "slow")
    world.clock.now += 31
    quick = await world.duty(Task.FINISH, "quick")
    assert (quick.output_id, quick.token) == (slow.output_id, slow.token + 1)
    assert (await world.work.renew("slow", [], [slow], 30.0)).lost_duties == {batch.id}
    await world.batches.cancel(batch.id, OWNER)
    await world.work.finish(quick)
    done = await world.see(batch)
    assert done.status is Status.CANCELLED
    before = [await world.content(ident) for ident in (done.output_file_id, done.error_file_id)]
    await world.work.finish(slow)
    assert await world.see(batch) == done
    assert [await world.content(ident) for ident in (done.output_file_id, done.error_file_id)] == before
    assert {each["error"]["code"] for each in before[1]} == {"batch_expired"}


async def test_a_duty_that_fails_is_another_s(world: World) -> None:
    batch = await world.create(lines(1))
    duty = await world.duty(Task.VALIDATE, "a")
    assert await world.work.take("b", 30.0) is None
    await world.work.drop(duty, 10.0)
    assert await world.work.take("b", 30.0) is None
    world.clock.now += 10
    again = await world.duty(Task.VALIDATE, "b")
    await world.perform(duty)  # too late: it is b's
    assert (await world.see(batch)).status is Status.VALIDATING
    await world.perform(again)
    assert (await world.see(batch)).status is Status.IN_PROGRESS


async def test_an_owner_s_limits(world: World) -> None:
    few = world_of(world.database, world.blobs._folder, replace(LIMITS, creates=2, tokens=200))  # type: ignore[arg-type]
    first = await few.validated(lines(2))
    assert first.status is Status.IN_PROGRESS
    second = await few.create(lines(5))
    await few.perform(await few.duty(Task.VALIDATE))
    failed = await few.see(second)
    assert [(error.code, error.line) for error in failed.errors] == [("token_limit_exceeded", None)]
    with pytest.raises(Refusal) as refused:
        await few.create(lines(1))
    assert (refused.value.status, refused.value.code) == (429, "rate_limit_exceeded")
    assert refused.value.retry_after == pytest.approx(3600)
    assert (await few.create(lines(1), owner="bob")).status is Status.VALIDATING
    few.clock.now += 3600
    assert (await few.create(lines(1))).status is Status.VALIDATING


async def test_what_a_key_may_have_enqueued_is_given_back_as_lines_are_answered(world: World) -> None:
    rights = Rights(enqueued=200)
    first = await world.validated(lines(2), rights=rights)
    assert (first.status, first.rights) == (Status.IN_PROGRESS, rights)
    second = await world.create(lines(5), rights=rights)
    await world.perform(await world.duty(Task.VALIDATE))
    [error] = (await world.see(second)).errors
    assert (error.code, error.line, error.param) == ("token_limit_exceeded", None, None)
    assert "Enqueued token limit reached for tiny" in error.message
    assert await world.flush(await world.claim())
    await world.work.finish(await world.duty(Task.FINISH))
    third = await world.validated(lines(2), rights=rights)
    assert third.status is Status.IN_PROGRESS
    assert (await world.validated(lines(5))).status is Status.IN_PROGRESS, "others of the owner's have no such limit"


async def test_pages_are_the_owner_s_newest_first(world: World) -> None:
    made = []
    for _ in range(5):
        made.append((await world.create(lines(1))).id)
        world.clock.now += 0.1
    await world.create(lines(1), owner="bob")
    first = await world.batches.page(OWNER, None, 3)
    assert first is not None
    assert [batch.id for batch in first] == made[:1:-1]
    rest = await world.batches.page(OWNER, first[-1].id, 3)
    assert rest is not None
    assert [batch.id for batch in rest] == made[1::-1]
    assert await world.batches.page(OWNER, "batch_none", 3) is None
    assert await world.batches.page("bob", made[0], 3) is None


async def test_models_with_open_lines_and_who_else_has_some(world: World) -> None:
    assert await world.work.open_models("h") == []
    assert await world.work.unended() == []
    batch = await world.validated(lines(2) + line(9, "other"))
    assert await world.work.open_models("h") == [("other", False, 1), ("tiny", False, 2)]
    chunk = await world.claim(prefer=["tiny"])
    assert await world.work.open_models("h") == [("other", False, 1), ("tiny", False, 2)]
    assert await world.work.open_models("g") == [("other", False, 1), ("tiny", True, 2)]
    await world.work.release(chunk)
    assert await world.work.open_models("g") == [("other", False, 1), ("tiny", False, 2)]
    assert await world.flush(await world.claim(prefer=["tiny"]))
    assert await world.work.open_models("g") == [("other", False, 1)]
    assert await world.work.unended() == [Unended(batch.id, Status.IN_PROGRESS, batch.expires_at, 1, 2)]
    assert await world.flush(await world.claim())
    await world.finished()
    assert await world.work.unended() == []


async def test_a_worker_is_known_while_it_lives(world: World) -> None:
    assert not await world.batches.attended()
    assert not (await world.work.renew("h", [], [], 30.0)).lost
    assert await world.batches.attended()
    assert await world.batches.attended("h")
    assert not await world.batches.attended("nobody")
    world.clock.now += 61
    assert not await world.batches.attended()
    gone = ChunkKey("batch_none", 0, 1)
    assert (await world.work.renew("h", [gone], [], 30.0)).lost == {gone}


async def test_many_hands_claim_each_chunk_once(world: World) -> None:
    batch = await world.validated(lines(20 * MOST_CHUNK))

    async def hand(name: str) -> int:
        count = 0
        while (chunk := await world.work.claim(name, 30.0)) is not None:
            answers = [Answer(each.place, b"%d" % each.number) for each in chunk.lines]
            assert await world.work.flush(chunk, answers)
            count += 1
        return count

    counts = await asyncio.gather(*(hand(f"h{number}") for number in range(4)))
    assert sum(counts) == 20
    await world.finished()
    done = await world.see(batch)
    record = await world.files.get(done.output_file_id or "", OWNER)
    assert record is not None
    text = b"".join([piece async for piece in world.files.read(record)])
    assert sorted(map(int, text.split())) == list(range(1, 20 * MOST_CHUNK + 1))


async def test_the_sweep_keeps_what_batches_need(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dormouse_router.files.sweep.OLD", -60.0)
    batch = await world.validated(lines(4))
    chunk = await world.claim()
    assert await world.flush(chunk, most=2)
    before = await world.names()
    for _ in range(3):
        await world.sweeper.orphans()
    assert await world.names() == before
    assert len(before) == 2
    assert await world.flush(replace(chunk, lines=chunk.lines[2:]))
    lost = await world.blobs.open("seg_" + "0" * 32)
    await lost.write(b"of a worker that was killed")
    await lost.close()
    await world.finished()
    for _ in range(3):
        await world.sweeper.orphans()
    assert await world.names() == {batch.input_file_id, (await world.see(batch)).output_file_id}


async def test_each_end_is_announced_once(world: World) -> None:
    done = await world.validated(lines(1))
    await world.flush(await world.claim())
    await world.finished()
    failed = await world.create(BAD)
    await world.perform(await world.duty(Task.VALIDATE))
    missing = await world.batches.create(BatchDraft(OWNER, CHAT, "file-none"))
    stopped = await world.create(lines(1))
    await world.batches.cancel(stopped.id, OWNER)
    await world.finished()
    late = await world.validated(lines(1))
    world.clock.now = late.expires_at
    await world.finished()
    async with world.database.reading() as connection:
        rows = await connection.execute(select(webhook_events.c.kind, webhook_events.c.subject))
        told = sorted((row.kind, row.subject) for row in rows)
    ends = {"completed": [done], "failed": [failed, missing], "cancelled": [stopped], "expired": [late]}
    assert told == sorted((f"batch.{end}", batch.id) for end, batches in ends.items() for batch in batches)


async def test_answers_that_the_store_has_lost_are_not_passed_over(world: World, tmp_path: Path) -> None:
    batch = await world.validated(lines(2))
    assert await world.flush(await world.claim())
    [segment] = [name for name in await world.names() if name.startswith("seg_")]
    blob, away = tmp_path / "files" / segment, tmp_path / "away"
    blob.rename(away)
    duty = await world.duty(Task.FINISH)
    with pytest.raises(Refusal, match=f"Bytes of the batch {batch.id} are missing"):
        await world.work.finish(duty)
    world.clock.now += 31
    await world.perform(await world.duty(Task.FINISH))
    assert (await world.see(batch)).status is Status.FINALIZING
    away.rename(blob)
    world.clock.now += 5
    await world.perform(await world.duty(Task.FINISH))
    assert (await world.see(batch)).status is Status.COMPLETED
