"""One model's lines at this worker: asked within its window, one first where it sleeps, again where they failed.

Owns the order of lines and when they are sent. What an answer means is `batch.outcome`'s, how many may fly
`batch.window`'s, and what becomes of final answers the desk's.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

import structlog

from dormouse_router.batch import answers, outcome
from dormouse_router.batch.lifecycle import Usage
from dormouse_router.batch.outcome import Kind
from dormouse_router.batch.window import Window
from dormouse_router.batching import Answer
from dormouse_router.worker.client import Client, Told
from dormouse_router.worker.hand import Hand, Todo
from dormouse_router.worker.metrics import ModelNumbers

log = structlog.get_logger()
MOST_LOST_IN_A_ROW = 3
"""Lines in a row that are lost before the model is asked with one alone again."""
AHEAD = 2
"""Lines in hand for each that may fly, so that a claim's time is nobody's wait."""
LEAST_AHEAD = 128


class Desk(Protocol):
    """Who takes final answers."""

    def answered(self, todo: Todo, answer: Answer) -> None: ...

    def dropped(self, todo: Todo) -> None:
        """It came to nothing, and nothing more of its chunk is asked."""
        ...

    def landed(self, hand: Hand) -> None:
        """A line of it flies no more, whatever became of it."""
        ...

    def close(self, hand: Hand) -> None:
        """Ask nothing more of it."""
        ...


class Lane:
    """The lines of one model. `pump` sends what may be sent; it is called whenever that may have changed."""

    def __init__(self, model: str, desk: Desk, client: Client, most: int, hold: float) -> None:
        """`most` lines fly at once; a line that waits for its model does so for `hold` seconds."""
        self.model = model
        self._desk, self._client, self._hold = desk, client, hold
        loop = asyncio.get_running_loop()
        self._clock: Callable[[], float] = loop.time
        self._later = loop.call_later
        self.window = Window(most=most)
        self.queue: deque[Todo] = deque()
        self.flying = 0
        self.awake = False
        """Its last line was answered, as far as anybody knows."""
        self.barred = False
        """Another model has its devices: nothing may wake it now."""
        self.since = self.last = self._clock()
        """When it was taken up, and when it last had a line in hand."""
        self.paused_until = 0.0
        self._failures = 0
        self.numbers = ModelNumbers()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        return bool(self.queue or self.flying)

    @property
    def room(self) -> bool:
        """Whether more lines are wanted."""
        if self.paused_until > self._clock() or self.barred:
            return False
        ahead = max(LEAST_AHEAD, AHEAD * self.window.size) if self.awake else 1
        return len(self.queue) + self.flying < ahead

    def touch(self, linger: float) -> None:
        """A chunk of it was claimed: a new stay begins where the one before is over."""
        now = self._clock()
        if not self.busy and now - self.last > linger:
            self.since = now
        self.last = now

    def add(self, todos: list[Todo]) -> None:
        self.queue.extend(todos)
        self.pump()

    def drop(self, hand: Hand) -> list[Todo]:
        """Take out what waits of it."""
        dropped = [todo for todo in self.queue if todo.hand is hand]
        self.queue = deque(todo for todo in self.queue if todo.hand is not hand)
        return dropped

    def pump(self) -> None:
        """Send what may be sent now."""
        now = self._clock()
        if self.paused_until > now:
            if self._timer is None:
                self._timer = self._later(self.paused_until - now, self._resume)
            return
        if self.awake:
            while self.queue and self.flying < self.window.size:
                self._send(self.queue.popleft(), 0.0)
        elif self.queue and not self.flying and not self.barred:
            self._send(self.queue.popleft(), self._hold)

    def woken(self) -> None:
        """A router says that the model has just woken: a line that was to stay away until then may go."""
        if not self.awake and self._timer is not None:
            self._timer.cancel()
            self.paused_until = self._clock()
            self._resume()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    # ------------------------------------------------------------------ inside

    def _resume(self) -> None:
        self._timer = None
        self.pump()

    def _send(self, todo: Todo, hold: float) -> None:
        self.flying += 1
        hand = todo.hand
        hand.flying += 1
        task = asyncio.get_running_loop().create_task(self._ask(todo, hold))
        hand.tasks.add(task)
        task.add_done_callback(hand.tasks.discard)

    async def _ask(self, todo: Todo, hold: float) -> None:
        sent = self._clock()
        told: Told | None = None
        try:
            told = await self._client.ask(todo.hand.common, todo.body, todo.id, hold)
        finally:
            now = self.last = self._clock()
            self.flying -= 1
            todo.hand.flying -= 1
            self._back(todo, told, sent, now)

    def _back(self, todo: Todo, told: Told | None, sent: float, now: float) -> None:
        """A line flies no more; `told` is None where it was given up."""
        try:
            if told is not None and not todo.hand.gone:
                self._judge(todo, told, sent, now)
        except Exception:  # a fault of ours: others may do better with its chunk, and nobody waits for it here
            log.exception("an answer could not be read", model=self.model, line=todo.id)
            self._desk.close(todo.hand)
        self._desk.landed(todo.hand)
        self.pump()

    def _judge(self, todo: Todo, told: Told, sent: float, now: float) -> None:
        answer = told.answer
        usage = answers.usage(answer.body) if answer.status == 200 else None
        if answer.status == 200 and usage is None:
            answer = outcome.Answer(500, b"The engine's answer is no JSON object: " + answer.body[:200])
        kind = outcome.judge(answer, todo.tries)
        if kind is Kind.ANSWERED:
            self._answered(told, usage or Usage(), now)
            todo.hand.waited += told.held
        if kind in (Kind.ANSWERED, Kind.FAILED):
            self._final(todo, answer, usage or Usage())
        else:
            self._again(todo, kind, answer, sent, now)

    def _answered(self, told: Told, usage: Usage, now: float) -> None:
        self._failures = 0
        self.awake, self.barred = True, False
        if told.held:
            self.numbers.waited += told.held
        self.numbers.tokens(usage)
        self.window.answered(now, usage.input + usage.output)
        if told.pace is not None:
            self.window.others(now, told.pace)

    def _final(self, todo: Todo, answer: outcome.Answer, usage: Usage) -> None:
        failed = answer.status != 200
        body = answers.refusal(answer.status, answer.body) if failed else answer.body
        text = answers.answered(todo.id, todo.custom_id, answer.status or 502, todo.id, body)
        self.numbers.lines["failed" if failed else "completed"] += 1
        self._desk.answered(todo, Answer(todo.line.place, text, failed, usage))

    def _again(self, todo: Todo, kind: Kind, answer: outcome.Answer, sent: float, now: float) -> None:
        """It is asked later, and the others with it where it is not its own fault."""
        self.numbers.again[kind.value] = self.numbers.again.get(kind.value, 0) + 1
        if todo.hand.closing:
            self._desk.dropped(todo)
            return
        if kind is Kind.FAULT:
            self.queue.append(todo)
            return
        self.queue.appendleft(todo)
        if kind is not Kind.STRANGER:
            self.window.pushed_back(now, sent)
        if sent < self.paused_until:
            return  # it was under way when the pause began, and says nothing new
        self._failures += 1
        if kind is Kind.ASLEEP or (kind is Kind.LOST and self._failures >= MOST_LOST_IN_A_ROW):
            self.awake = False
        pause = outcome.pause(answer, self._failures)
        self.paused_until = now + pause
        why = answer.body[:200].decode(errors="replace")
        log.info("a model is asked later", model=self.model, why=kind.value, seconds=round(pause, 1), said=why)
