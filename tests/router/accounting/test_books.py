"""The books: everything noted is written down once, what cannot be is counted, and a call waits for none of it."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from dormouse_router.accounting import audit, books
from dormouse_router.accounting.books import Books, Clocks
from dormouse_router.accounting.entries import Key, Total, Wanted
from dormouse_router.request import Refusal
from dormouse_router.store.memory_usage import MemoryUsage
from tests.router.accounting.test_entries import ALICE, NOON, call

EVER = Wanted("2000-01-01", "2099-12-31")


class Kept(MemoryUsage):
    """A store that can be away."""

    away = False
    writes = 0

    async def add(self, totals: Mapping[Key, Total]) -> None:
        if self.away:
            raise Refusal(503, "the database is away")
        self.writes += 1
        await super().add(totals)

    async def requests(self) -> int:
        return sum(total.requests for _, total in await self.read(EVER))


class Listening:
    """`audit.Lines`."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write, self.closed = write, False

    def write(self, lines: bytes) -> None:
        self._write(lines)

    def close(self) -> None:
        self.closed = True


class World:
    def __init__(self) -> None:
        self.kept, self.pieces, self.lost = Kept(), list[bytes](), Counter[str]()
        clocks = Clocks(steady=lambda: 10.0, wall=lambda: NOON)
        self.books = Books(self.kept, Listening(self.pieces.append), clocks, self._lose)

    def _lose(self, what: str, calls: int) -> None:
        self.lost[what] += calls

    @property
    def lines(self) -> list[bytes]:
        return b"".join(self.pieces).splitlines()


@pytest.fixture
def world() -> World:
    return World()


async def test_what_was_noted_is_written_once_all_at_once(world: World) -> None:
    for number in range(1000):
        world.books.note(call(request_id=f"req_{number}"))
    assert (world.kept.writes, world.lines) == (0, []), "nothing happens while calls go on"
    await world.books.flush()
    await world.books.flush()
    assert (await world.kept.requests(), world.kept.writes) == (1000, 1)
    said = [json.loads(line) for line in world.lines]
    assert [line["request_id"] for line in said] == [f"req_{number}" for number in range(1000)]
    assert {line["time"] for line in said} == {"2026-11-22T12:00:00.000+00:00"}
    assert not world.lost


async def test_totals_wait_for_a_store_that_is_away(world: World) -> None:
    world.kept.away = True
    for _ in range(3):
        world.books.note(call())
        await world.books.flush()
    assert await world.kept.requests() == 0
    world.kept.away = False
    await world.books.close()
    assert await world.kept.requests() == 3
    assert len(world.lines) == 3, "lines were written once, each with its own call"
    assert not world.lost


async def test_beyond_its_bounds_calls_are_lost_and_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "MOST_WAITING", 10)
    monkeypatch.setattr(books, "MOST_TOTALS", 4)
    for number in range(15):
        world.books.note(call(model=f"team/{number}"))
    world.kept.away = True
    await world.books.flush()
    assert world.lost == {"queue": 5, "totals": 6}
    world.kept.away = False
    await world.books.flush()
    assert await world.kept.requests() + sum(world.lost.values()) == 15


def books_of(kept: Kept, lines: audit.Lines | None, lost: Counter[str]) -> Books:
    return Books(kept, lines, Clocks(lambda: 10.0, lambda: NOON), lambda what, calls: lost.update({what: calls}))


async def test_a_line_that_cannot_be_written_is_counted_and_the_totals_are_not_touched(world: World) -> None:
    def full(lines: bytes) -> None:
        raise OSError(28, "No space left on device")

    broken = books_of(world.kept, Listening(full), world.lost)
    broken.note(call())
    broken.note(call())
    await broken.flush()
    assert (await world.kept.requests(), world.lost) == (2, {"audit": 2})


async def test_a_reader_of_lines_who_does_not_read_holds_up_no_call(world: World) -> None:
    go_on = threading.Event()
    lines = Listening(lambda lines: go_on.wait(20))
    stuck = books_of(world.kept, lines, world.lost)
    stuck.note(call())
    flushing = asyncio.create_task(stuck.flush())
    try:
        for _ in range(100):
            await asyncio.sleep(0)
            stuck.note(call())
        assert not flushing.done()
    finally:
        go_on.set()
    await flushing
    await stuck.close()
    assert (await world.kept.requests(), lines.closed) == (101, True)


async def test_books_that_are_closed_while_they_add_up_forget_no_call(world: World) -> None:
    for number in range(300):
        world.books.note(call(request_id=f"req_{number}"))
    flushing = asyncio.create_task(world.books.flush())
    for _ in range(3):
        await asyncio.sleep(0)
    flushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flushing
    assert not world.lines
    await world.books.close()
    assert (await world.kept.requests(), len(world.lines), world.lost) == (300, 300, {})


async def test_most_calls_are_added_up_before_their_second_is_over(world: World) -> None:
    for _ in range(5):  # turns of the loop
        for _ in range(books.SLICE * 3):
            world.books.note(call())
        assert not world.pieces, "a call waits for nothing"
        await asyncio.sleep(0)
    for _ in range(15):
        await asyncio.sleep(0)
    world.books.note(call())
    flushing = asyncio.create_task(world.books.flush())
    for _ in range(3):
        await asyncio.sleep(0)
    assert world.kept.writes == 0, "the lines are written first"
    world.books.note(call())
    await flushing
    await world.books.close()
    assert (await world.kept.requests(), len(world.lines), world.lost) == (
        15 * books.SLICE + 2,
        15 * books.SLICE + 2,
        {},
    )


async def test_who_reads_no_lines_does_not_have_the_router_fill_its_memory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "MOST_WAITING", 10 * books.SLICE)
    monkeypatch.setattr(books, "MOST_AHEAD", 3)
    go_on = threading.Event()

    def late(lines: bytes) -> None:
        go_on.wait(20)
        world.pieces.append(lines)

    stuck = books_of(world.kept, Listening(late), world.lost)
    stuck.note(call())
    flushing = asyncio.create_task(stuck.flush())
    try:
        for _ in range(20 * books.SLICE):
            stuck.note(call())
            await asyncio.sleep(0)
        assert 6 * books.SLICE < world.lost["queue"] <= 7 * books.SLICE
    finally:
        go_on.set()
    await flushing
    await stuck.close()
    assert await world.kept.requests() == len(world.lines) == 20 * books.SLICE + 1 - world.lost.total()


async def test_what_ends_while_the_store_writes_is_added_the_next_time(world: World) -> None:
    write, asked, go_on = world.kept.add, asyncio.Event(), asyncio.Event()

    async def slow(totals: Mapping[Key, Total]) -> None:
        asked.set()
        await go_on.wait()
        await write(totals)

    world.kept.add = slow  # type: ignore[method-assign]
    world.books.note(call())
    flushing = asyncio.create_task(world.books.flush())
    await asyncio.wait_for(asked.wait(), 20)
    for _ in range(books.SLICE):
        world.books.note(call())
    await asyncio.sleep(0)
    go_on.set()
    await flushing
    assert await world.kept.requests() == 1
    world.kept.away = True
    await world.books.flush()
    world.kept.away = False
    await world.books.flush()
    assert await world.kept.requests() == 1 + books.SLICE


async def test_calls_go_on_while_many_are_added_up(world: World) -> None:
    for _ in range(1000):
        world.books.note(call())
    flushing = asyncio.create_task(world.books.flush())
    turns = 0
    while not world.pieces and not flushing.done():
        await asyncio.sleep(0)
        turns += 1
    await flushing
    assert turns >= 1000 // books.SLICE // 2


async def test_a_name_that_is_no_text_loses_its_lines_and_no_others(world: World) -> None:
    nobody = replace(ALICE, id="oidc:\ud800")
    for number in range(books.SLICE * 3):
        world.books.note(call(caller=nobody) if number == books.SLICE else call())
    await world.books.flush()
    assert len(world.lines) == 2 * books.SLICE
    assert (await world.kept.requests(), world.lost) == (books.SLICE * 3, {"audit": books.SLICE})


async def test_lines_go_to_a_file_that_is_replaced_before_it_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    monkeypatch.setattr(audit, "MOST_BYTES", 2000)
    written = books_of(world.kept, audit.opened(str(tmp_path / "audit.jsonl")), world.lost)
    for number in range(40):
        written.note(call(request_id=f"req_{number}"))
        await written.flush()
    await written.close()
    files = sorted(tmp_path.iterdir())  # noqa: ASYNC240 - nothing else runs
    assert len(files) == audit.FILES + 1
    assert all(file.stat().st_size <= 2000 for file in files)
    last = json.loads((tmp_path / "audit.jsonl").read_text().splitlines()[-1])
    assert (last["request_id"], world.lost) == ("req_39", {})


async def test_lines_that_a_full_disk_does_not_take_are_counted_and_the_end_is_one(world: World) -> None:
    told = books_of(world.kept, audit.opened("/dev/full"), world.lost)
    told.note(call())
    await told.close()
    assert (await world.kept.requests(), world.lost) == (1, {"audit": 1})


def test_off_is_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.opened(audit.OFF) is None
    out = audit.opened(audit.STDOUT)
    assert out is not None
    out.write(b'{"a":1}\n')
    out.close()
    assert capsys.readouterr().out == '{"a":1}\n'
