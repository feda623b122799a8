"""Inputs that are meant to hurt: refused early, in little memory, with the documented code; and nothing stays."""

import json
import tracemalloc
import zipfile
from collections.abc import AsyncGenerator
from io import BytesIO

import pytest

from dormouse_router.batch import splitting
from dormouse_router.batch.lifecycle import Batch, Status
from dormouse_router.batching import Task
from dormouse_router.files.batches import WorkStore
from tests.router.batch.conftest import World
from tests.router.batch.inputs import CHAT, line, lines

pytestmark = pytest.mark.parametrize("world", ["sqlite"], indirect=True)
MIB = 1 << 20


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes of an input were read, piece by piece."""
    pieces: list[int] = []
    whole = WorkStore.read

    async def counting(self: WorkStore, batch: Batch, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        async for piece in whole(self, batch, start, stop):
            pieces.append(len(piece))
            yield piece

    monkeypatch.setattr(WorkStore, "read", counting)
    return pieces


async def refused(world: World, text: bytes, **taking: int) -> Batch:
    batch = await world.create(text)
    await world.perform(await world.duty(Task.VALIDATE), **taking)
    failed = await world.see(batch)
    assert failed.status is Status.FAILED
    assert await world.names() == {batch.input_file_id}
    return failed


async def test_of_too_many_lines_only_as_many_are_read_as_may_be(world: World, read: list[int]) -> None:
    text = lines(20_000)
    [error] = (await refused(world, text, most_lines=1000)).errors
    assert (error.code, error.line) == ("too_many_tasks", None)
    assert sum(read) < len(text) // 2


async def test_a_million_bad_lines_are_given_up_after_a_hundred(world: World, read: list[int]) -> None:
    failed = await refused(world, b"{}\n" * 1_000_000)
    assert [error.code for error in failed.errors] == ["missing_required_parameter"] * 100
    assert sum(read) < MIB


async def test_one_endless_line_is_given_up(world: World, read: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "MOST_LINE_BYTES", MIB)
    [error] = (await refused(world, b'{"x": "' + b"a" * (8 * MIB))).errors
    assert (error.code, error.line) == ("invalid_request", 1)
    assert sum(read) < 3 * MIB


async def test_a_large_file_takes_little_memory(world: World) -> None:
    batch = await world.create(b"".join(line(number, prompt="x" * 5000) + b"\n" for number in range(3000)))
    duty = await world.duty(Task.VALIDATE)
    tracemalloc.start()
    try:
        await world.perform(duty)
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()
    assert (await world.see(batch)).counts.total == 3000


def zipped() -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("in.jsonl", bytes(10 * MIB))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("text", "code", "at"),
    [
        (zipped(), "invalid_json_line", 1),
        (b"\xff\xfe" + line(0).decode().encode("utf-16-le"), "invalid_json_line", 1),
        (b"\xef\xbb\xbf" + lines(2), "invalid_json_line", 1),
        (bytes(1000), "invalid_json_line", 1),
        (lines(1) + b"\x00\n", "invalid_json_line", 2),
        (lines(1) + b"\n" + lines(1), "invalid_json_line", 2),
        (b"[" * 100_000, "invalid_json_line", 1),
        (b'{"body": ' * 100_000, "invalid_json_line", 1),
        (lines(1).replace(b"r-0", b"r-\\ud800"), "invalid_json_line", 1),
        (lines(1) * 2, "duplicate_custom_id", 2),
        (lines(1).replace(b"tiny", b"../../etc/passwd"), "model_not_found", 1),
        (lines(1).replace(CHAT.encode(), b"http://169.254.169.254/latest"), "invalid_url", 1),
        (lines(1).replace(CHAT.encode(), CHAT.encode() + b"/../../../api/delete"), "invalid_url", 1),
        (b"\n\n\n", "empty_file", None),
        (b"\xef\xbb\xbf", "invalid_json_line", 1),
    ],
)
async def test_each_kind_has_its_code(world: World, text: bytes, code: str, at: int | None) -> None:
    error = (await refused(world, text)).errors[0]
    assert (error.code, error.line) == (code, at)


async def test_line_ends_of_windows_are_taken(world: World) -> None:
    batch = await world.validated(lines(3).replace(b"\n", b"\r\n") + b"\r\n\r\n")
    assert (batch.status, batch.counts.total) == (Status.IN_PROGRESS, 3)
    chunk = await world.claim()
    assert [(await world.asked(chunk, each))["custom_id"] for each in chunk.lines] == ["r-0", "r-1", "r-2"]


async def test_ids_of_lines_are_text_and_nothing_else(world: World) -> None:
    names = ["../../etc/passwd", "a\nb", '"},{"custom_id":"x', "\u0000", "\u2028", "💤" * 100, "x" * 512]
    body = {"model": "tiny", "messages": []}
    asked = [{"custom_id": name, "method": "POST", "url": CHAT, "body": body} for name in names]
    batch = await world.validated(b"\n".join(json.dumps(each).encode() for each in asked))
    chunk = await world.claim()
    assert await world.flush(chunk, most=3)
    world.clock.now = batch.expires_at + 3600
    await world.finished()
    done = await world.see(batch)
    told = [*await world.content(done.output_file_id), *await world.content(done.error_file_id)]
    assert sorted(each["custom_id"] for each in told) == sorted(names)
