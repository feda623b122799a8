"""One prediction from its model's wake to its end. What becomes of it is told to nobody here: see `desk`."""

import asyncio
import time
from dataclasses import replace

from dormouse_router.caller import Caller, Role
from dormouse_router.catalog.record import Record
from dormouse_router.dialects.complaints import with_fix, words_of
from dormouse_router.dialects.replicate import inputs, schemas
from dormouse_router.dialects.replicate.answers import Pieces, Words, pictures
from dormouse_router.dialects.replicate.inputs import Plan
from dormouse_router.dialects.replicate.jobs import Job
from dormouse_router.dialects.replicate.outputs import Outputs
from dormouse_router.dialects.translating import AnswerError
from dormouse_router.filing import Files
from dormouse_router.gateway import Call, Gateway, Upstream, UpstreamCut, unknown
from dormouse_router.predicting import SUCCEEDED
from dormouse_router.request import Refusal
from dormouse_router.settings import Settings

DIALECT = "replicate"
STAGE_SECONDS = 1.0
LONGEST_PAUSE = 30.0
FULL = 429
"""What an engine says while it has no room: nobody waits here, so it is asked again."""


class Maker:
    """`make` predictions of models behind `gateway`."""

    def __init__(self, gateway: Gateway, files: Files, settings: Settings) -> None:
        self._gateway, self._files = gateway, files
        self._keep, self._most = settings.prediction_seconds, settings.prediction_run_seconds

    async def make(self, job: Job) -> None:
        """To its good end. Refusal for whatever goes wrong, TimeoutError after the longest life."""
        outputs = Outputs(self._files, job.row.owner, job.wish.base, self._keep)
        try:
            async with asyncio.timeout(self._most):
                await self._make(job, outputs)
        except asyncio.CancelledError:
            if job.lost:
                await outputs.discard()
            raise
        job.end(SUCCEEDED)

    async def _make(self, job: Job, outputs: Outputs) -> None:
        while True:
            try:
                record = await self._awake(job)
                plan = await self._plan(job, record)
                job.begin(time.time())
                await self._ask(job, record, plan, outputs)
                return
            except Refusal as refusal:
                # nobody waits: a model that wakes slowly, or has too many callers, is asked again
                if refusal.retry_after is None or refusal.should_retry is False or job.answering:
                    raise
                await asyncio.sleep(min(refusal.retry_after, LONGEST_PAUSE))

    async def _awake(self, job: Job) -> Record:
        """The model, once it can answer."""
        record = job.record or self._found(job)
        if not self._gateway.awake(record):
            stages = asyncio.create_task(self._tell(job, record))
            try:
                await self._gateway.load(record)
            finally:
                stages.cancel()
        fresh = self._look_up(record.full_name, job)
        # what nobody knew before its first wake (what it can do, its schema) is known by now
        return record if fresh is None else replace(fresh, taken=record.taken, adapter=record.adapter)

    def _look_up(self, name: str, job: Job) -> Record | None:
        """Who asked was allowed to see it when the prediction was made."""
        found = self._gateway.look_up(name, Caller(DIALECT, job.row.owner, Role.ADMIN))
        return found if isinstance(found, Record) else None

    def _found(self, job: Job) -> Record:
        """By what is kept of it. Refusal 404."""
        try:
            return self._gateway.find(job.wish.name)
        except Refusal as refusal:
            if refusal.status != 404:
                raise
        found = self._look_up(job.wish.model, job)
        if found is None:
            raise unknown(job.wish.name)
        return found

    async def _tell(self, job: Job, record: Record) -> None:
        """The stages of the wake, in the logs."""
        told = ""
        while True:
            found = self._look_up(record.full_name, job)
            if found is not None and found.stage != told:
                told = found.stage
                job.log(f"{record.full_name}: {told}")
            await asyncio.sleep(STAGE_SECONDS)

    async def _plan(self, job: Job, record: Record) -> Plan:
        given, name = job.prediction["input"], job.wish.name
        kind = inputs.kind_of(record, name) or "text"
        await checked(record, kind, given)
        made = inputs.plan(record, kind, given)
        if made.ignored:
            job.log(f"The model takes nothing called {', '.join(made.ignored)}: left out.")
        return made

    async def _ask(self, job: Job, record: Record, plan: Plan, outputs: Outputs) -> None:
        call = Call(record, plan.path, plan.payload, DIALECT, plan.stream, request_id=job.row.id)
        async with self._gateway.open(call) as upstream:
            try:
                if upstream.status >= 400:
                    raise _refused(upstream, words_of(await upstream.body()))
                job.answering = True
                await _READ[plan.kind](job, upstream, outputs)
            except UpstreamCut as cut:
                raise Refusal(502, f"The answer broke off: {cut}: send the prediction again.") from cut
            except AnswerError as error:
                raise Refusal(error.status, str(error)) from error


async def checked(record: Record, kind: inputs.Kind, given: inputs.Given) -> None:
    """Refusal 422 where a model with Python of its own is known not to take the input."""
    engine = record.status.engine
    if kind == "custom" and engine is not None and engine.input_schema:
        await asyncio.to_thread(schemas.check, engine.input_schema, given)


def _refused(upstream: Upstream, words: str) -> Refusal:
    after = next((value for name, value in upstream.headers if name == b"retry-after"), b"")
    full = 1.0 if upstream.status == FULL else None
    return Refusal(upstream.status, with_fix(words), retry_after=float(after) if after.isdigit() else full)


async def _words(job: Job, upstream: Upstream, _: Outputs) -> None:
    words = Words()
    async for piece in upstream.chunks:
        for said in words.feed(piece):
            job.say(said)
    job.measured(input_token_count=words.prompt_tokens, output_token_count=words.completion_tokens)


async def _pictures(job: Job, upstream: Upstream, outputs: Outputs) -> None:
    for picture in await asyncio.to_thread(pictures, await upstream.body()):
        job.say(await outputs.put(picture))
    job.measured(image_count=len(outputs.made))


async def _pieces(job: Job, upstream: Upstream, outputs: Outputs) -> None:
    pieces = Pieces()
    job.output.single = True  # until there is a second one
    async for part in upstream.chunks:
        for piece in pieces.feed(part):
            kept = await outputs.kept(piece)
            job.output.single = not job.output.pieces
            job.say(kept)
    if pieces.single is None:
        raise UpstreamCut("the engine ended before the model did")
    job.output.single = pieces.single


_READ = {"text": _words, "image": _pictures, "custom": _pieces}
