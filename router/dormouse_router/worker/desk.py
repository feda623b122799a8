"""The chunks that this worker has in hand: loaded, their answers flushed, given back, or forgotten when they are lost.

Owns that what is flushed is flushed once, and that no more bytes are in memory than may be.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import structlog

from dormouse_router.batch import answers as texts
from dormouse_router.batching import Answer, Chunk, ChunkKey, Duty, Line, Work
from dormouse_router.request import Refusal
from dormouse_router.worker import reading
from dormouse_router.worker.client import Client
from dormouse_router.worker.hand import Hand, Todo
from dormouse_router.worker.lane import Lane

log = structlog.get_logger()
LEASE_SECONDS = 60.0
FLUSH_SECONDS = 5.0
"""Answers that a chunk has are kept after this long, also while others of it are still awaited."""
FLUSH_BYTES = 4 * 1024 * 1024
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Between tries to keep answers while the store is away."""
UNREADABLE_PAUSE = 30.0


class Desk:
    """`lane` gives the lane of a model."""

    def __init__(self, work: Work, holder: str, client: Client, lane: Callable[[str], Lane], most_bytes: int) -> None:
        self._work, self._holder, self._client, self._lane = work, holder, client, lane
        self._most, self.bytes = most_bytes, 0
        self.hands: dict[ChunkKey, Hand] = {}
        self.lost = 0
        self.changed = asyncio.Event()
        self._eased = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._clock, self._wall = asyncio.get_running_loop().time, time.time

    @property
    def full(self) -> bool:
        """No more bytes may be taken in hand."""
        return self.bytes >= self._most

    def take(self, chunk: Chunk) -> None:
        """Have its lines asked."""
        common = self._client.on_behalf(chunk.batch.endpoint, chunk.batch.owner, chunk.batch.rights.teams)
        self.hands[chunk.key] = hand = Hand(chunk, common, len(chunk.lines))
        self._spawn(self._load(hand))

    async def renew(self, duties: list[Duty]) -> frozenset[str]:
        """Say that we live and go on with all that is in hand; the batches of whose duties we were relieved."""
        renewed = await self._work.renew(self._holder, list(self.hands), duties, LEASE_SECONDS)
        for key in renewed.lost:
            if (hand := self.hands.get(key)) is not None:
                self.lost += 1
                log.info("a chunk is another worker's now", batch=key.batch_id, chunk=key.number)
                self._forget(hand)
        for hand in list(self.hands.values()):
            if hand.chunk.batch.id in renewed.cancelling:
                self.close(hand)
        return renewed.lost_duties

    def tick(self) -> None:
        """Once a second: answers that have waited long enough are flushed; of late batches nothing more is asked."""
        before, now = self._clock() - FLUSH_SECONDS, self._wall()
        for hand in list(self.hands.values()):
            if hand.chunk.batch.expires_at <= now:
                self.close(hand)
            if hand.answers and hand.since <= before:
                self._flush(hand)

    def close(self, hand: Hand) -> None:
        """Ask nothing more of it, and give it back once what flies has landed."""
        if hand.closing or hand.gone:
            return
        hand.closing = True
        self._drop(hand)
        self._eased.set()
        self.landed(hand)

    def cut(self) -> None:
        """End the calls that are under way for chunks that are closing: whoever has them next asks again."""
        for hand in self.hands.values():
            if hand.closing:
                for task in list(hand.tasks):
                    task.cancel()

    async def empty(self) -> None:
        """Until nothing is in hand, and all that was is kept or given back."""
        while self.hands or self._tasks:
            self.changed.clear()
            await self.changed.wait()

    async def stop(self) -> None:
        for task in [*self._tasks, *(task for hand in self.hands.values() for task in hand.tasks)]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ------------------------------------------------------------------ what lanes tell

    def answered(self, todo: Todo, answer: Answer) -> None:
        hand = todo.hand
        if not hand.answers:
            hand.since = self._clock()
        hand.answers.append(answer)
        hand.ready += len(answer.text)
        hand.open -= 1
        self._count(hand, len(answer.text) - len(todo.body))
        if not hand.open or hand.ready > FLUSH_BYTES:
            self._flush(hand)

    def dropped(self, todo: Todo) -> None:
        self._count(todo.hand, -len(todo.body))

    def landed(self, hand: Hand) -> None:
        if hand.gone or hand.flushing:
            return
        if hand.answers and (hand.closing and not hand.flying):
            self._flush(hand)
        elif hand.closing and not hand.flying and not hand.answers:
            self._remove(hand)
            self._spawn(self._release(hand.chunk, 0.0))

    # ------------------------------------------------------------------ inside

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self.changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a chunk was given up", error=repr(error))

    def _count(self, hand: Hand, size: int) -> None:
        hand.held += size
        self.bytes += size
        self._eased.set()

    def _drop(self, hand: Hand) -> None:
        for todo in self._lane(hand.chunk.model).drop(hand):
            self._count(hand, -len(todo.body))

    def _remove(self, hand: Hand) -> None:
        hand.gone = True
        self.hands.pop(hand.chunk.key, None)
        self._count(hand, -hand.held)
        self.changed.set()

    def _forget(self, hand: Hand) -> None:
        """It is not ours any more."""
        self._remove(hand)
        self._drop(hand)
        for task in list(hand.tasks):
            task.cancel()

    # ------------------------------------------------------------------ loading

    async def _load(self, hand: Hand) -> None:
        chunk = hand.chunk
        try:
            for group in reading.groups(chunk.lines):
                size = sum(line.length for line in group)
                while self.bytes and self.bytes + size > self._most:
                    self._eased.clear()
                    await self._eased.wait()
                if hand.closing or hand.gone:
                    return
                self._hand_over(hand, group, await reading.texts(self._work, chunk, group))
        except (Refusal, msgspec.DecodeError) as error:
            log.warning("lines could not be read", batch=chunk.batch.id, chunk=chunk.number, error=str(error))
            if not hand.gone:
                self._forget(hand)
                await self._release(chunk, UNREADABLE_PAUSE)

    def _hand_over(self, hand: Hand, group: list[Line], read: dict[int, bytes]) -> None:
        if hand.closing or hand.gone:
            return
        todos: list[Todo] = []
        batch = hand.chunk.batch.id
        for line in group:
            asked = texts.asked(read[line.place])
            ident = texts.request_id(batch, line.number)
            # copies: a Raw keeps the whole line alive
            todos.append(Todo(hand, line, ident, bytes(asked.custom_id), bytes(asked.body)))
        self._count(hand, sum(len(todo.body) for todo in todos))
        self._lane(hand.chunk.model).add(todos)

    # ------------------------------------------------------------------ flushing

    def _flush(self, hand: Hand) -> None:
        if not hand.flushing and not hand.gone:
            hand.flushing = True
            self._spawn(self._flushed(hand))

    async def _flushed(self, hand: Hand) -> None:
        """Keep what there is, and what has come meanwhile where nothing more will."""
        try:
            while hand.answers and not hand.gone:
                answers, hand.answers = hand.answers, []
                size, hand.ready = hand.ready, 0
                waited, hand.waited = hand.waited, 0.0
                if not await self._kept(hand, answers, waited):
                    if not hand.gone:
                        self._forget(hand)
                        await self._release(hand.chunk, 0.0)
                    return
                if not hand.gone:
                    self._count(hand, -size)
                if hand.open and not (hand.closing and not hand.flying):
                    break
        finally:
            hand.flushing = False
        if not hand.open and not hand.gone:
            self._remove(hand)
        self.landed(hand)

    async def _kept(self, hand: Hand, answers: list[Answer], waited: float) -> bool:
        """Whether they are kept. The store may be away for as long as it likes."""
        pause = FIRST_PAUSE
        while not hand.gone:
            try:
                return await self._work.flush(hand.chunk, answers, waited)
            except Refusal as refusal:
                log.warning("answers could not be kept yet", batch=hand.chunk.batch.id, error=str(refusal))
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
        return False

    async def _release(self, chunk: Chunk, pause: float) -> None:
        try:
            await self._work.release(chunk, pause)
        except Refusal:  # its lease ends by itself
            log.info("a chunk could not be given back", batch=chunk.batch.id, chunk=chunk.number)
