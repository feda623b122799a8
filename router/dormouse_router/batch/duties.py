"""What a batch needs as a whole, done by the worker: its input validated, or its files written. No HTTP, no database.

The input is read piece by piece, and looked at in a thread: of a file of any size some pieces are in memory, and calls
under way go on meanwhile.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from dormouse_router.batch.chunking import planned
from dormouse_router.batch.endpoints import known
from dormouse_router.batch.lifecycle import Batch, LineError
from dormouse_router.batch.validate import MOST_LINES, Rules, Validation
from dormouse_router.batching import Duty, Task, Work
from dormouse_router.request import Refusal

log = structlog.get_logger()
PAUSE = 5.0
"""Seconds until a duty that could not be done is tried again."""
ASK_SECONDS = 60.0
"""Longest wait for the word whether a model is served."""
Serves = Callable[[Batch, str], Awaitable[bool]]
"""Whether lines of the batch may ask a model of that name. Refusal: nobody can say now."""


@dataclass(frozen=True, slots=True)
class Taking:
    """What of a file is taken."""

    serves: Serves
    mixed: bool = True
    scores: bool = False
    most_lines: int = MOST_LINES


async def perform(work: Work, duty: Duty, taking: Taking) -> None:
    """Do it, whatever it is; what fails is told in the log and can be taken again a little later.

    Leases go on only while the holder renews them: the caller names `duty` in its `renew` as long as this runs.
    """
    try:
        if duty.task is Task.VALIDATE:
            await _validate(work, duty, taking)
        else:
            await work.finish(duty)
    except (Refusal, TimeoutError) as error:
        log.warning("a batch could not be looked after now", batch=duty.batch.id, task=duty.task, error=repr(error))
        with contextlib.suppress(Refusal):
            await work.drop(duty, PAUSE)


async def _validate(work: Work, duty: Duty, taking: Taking) -> None:
    validation = Validation(_rules(duty, taking))
    try:
        async with contextlib.aclosing(work.read(duty.batch, 0, duty.input_bytes)) as pieces:
            async for piece in pieces:
                await asyncio.to_thread(validation.feed, piece)
                if validation.hopeless:
                    break
    except Refusal as refusal:
        if refusal.status != 404:
            raise
        missing = f"Cannot find file {duty.batch.input_file_id}."
        await work.refuse(duty, (LineError("invalid_request", missing, None, "file_id"),))
        return
    await asyncio.to_thread(validation.end)
    if validation.errors:
        await work.refuse(duty, tuple(validation.errors))
        return
    chunks = await asyncio.to_thread(planned, validation.index)
    if over := await work.accept(duty, chunks):
        await work.refuse(duty, tuple(_over(model) for model in over))


def _rules(duty: Duty, taking: Taking) -> Rules:
    loop = asyncio.get_running_loop()

    def serves(name: str) -> bool:
        """Asked in the thread that validates, answered by the loop."""

        async def ask() -> bool:
            return await taking.serves(duty.batch, name)

        return asyncio.run_coroutine_threadsafe(ask(), loop).result(ASK_SECONDS)

    endpoint = known(taking.scores)[duty.batch.endpoint]
    return Rules(endpoint, serves, taking.mixed, taking.most_lines)


def _over(model: str) -> LineError:
    message = (
        f"Enqueued token limit reached for {model}: wait until lines of your other batches are answered, or send fewer."
    )
    return LineError("token_limit_exceeded", message)
