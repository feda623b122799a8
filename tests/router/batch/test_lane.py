"""One model's lines: who stays away, and until when."""

import asyncio

from dormouse_router.batch.lifecycle import Batch
from dormouse_router.batch.outcome import Answer as Said
from dormouse_router.batching import Answer, Chunk, Line
from dormouse_router.worker.client import Client, Told
from dormouse_router.worker.hand import Hand, Todo
from dormouse_router.worker.lane import Lane
from tests.router.fakes import until

STAY_AWAY = Told(Said(503, b"", "model_loading", 300.0))
FINE = Told(Said(200, b"{}"))


class Router(Client):
    """Says what it is told to."""

    def __init__(self, *says: Told) -> None:
        self.says = list(says)
        self.holds: list[float] = []

    async def ask(self, common: str, body: bytes, request_id: str, hold: float) -> Told:
        self.holds.append(hold)
        await asyncio.sleep(0)
        return self.says.pop(0)


class Desk:
    def __init__(self) -> None:
        self.answers: list[Answer] = []

    def answered(self, todo: Todo, answer: Answer) -> None:
        self.answers.append(answer)

    def dropped(self, todo: Todo) -> None: ...

    def landed(self, hand: Hand) -> None: ...

    def close(self, hand: Hand) -> None: ...


def todos(count: int) -> list[Todo]:
    batch = Batch("batch_1", "ann", "/v1/chat/completions", "file-1", 0)
    chunk = Chunk(batch, 0, "tiny", tuple(Line(number, number + 1, 0, 9) for number in range(count)), "h", 1)
    hand = Hand(chunk, "", count)
    return [Todo(hand, line, f"r-{line.place}", b'"r"', b"{}") for line in chunk.lines]


async def test_a_line_told_to_stay_away_goes_as_soon_as_its_model_is_heard_to_be_awake() -> None:
    desk, router = Desk(), Router(STAY_AWAY, FINE, FINE)
    lane = Lane("tiny", desk, router, 8, 60.0)
    lane.add(todos(2))
    await until(lambda: lane.paused_until > 0.0 and lane.flying == 0)
    assert router.holds == [60.0], "one alone, which may wake it"
    lane.woken()
    await until(lambda: len(desk.answers) == 2)
    assert router.holds == [60.0, 60.0, 0.0], "one first, then the others"
    lane.close()


async def test_hearing_that_it_is_awake_changes_nothing_for_who_knows_it() -> None:
    desk, router = Desk(), Router(FINE, Told(Said(429, b"", "", 300.0)))
    lane = Lane("tiny", desk, router, 8, 60.0)
    lane.add(todos(2))
    await until(lambda: len(router.holds) == 2 and lane.flying == 0)
    before = lane.paused_until
    lane.woken()
    assert lane.paused_until == before, "it is awake, and has no room"
    lane.close()
