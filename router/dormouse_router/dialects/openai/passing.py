"""One call on its way: to the engine, and the answer back to the client as it comes.

While the model is awake no task is made: the engine's answer arrives in callbacks, which write to the client. A call
that must wait, and one whose kept connection was stale, goes on in a task; what is answered is the same.
"""

import asyncio
from time import monotonic

import structlog

from dormouse_router.behalf import PACE
from dormouse_router.catalog.record import Record
from dormouse_router.dataplane import relay
from dormouse_router.dataplane.peek import Peek, splice_model
from dormouse_router.dialects.openai import errors
from dormouse_router.dialects.openai.edits import Edits
from dormouse_router.dialects.provenance import tell
from dormouse_router.gateway import Flow, Opening, Upstream, UpstreamCut
from dormouse_router.request import Line, Refusal, header_lines

log = structlog.get_logger()
WHOLE = header_lines((errors.JSON, errors.VERSION))
OTHER = header_lines((errors.VERSION,))
"""Of an answer that is no JSON: a voice, subtitles."""
KEPT = (b"content-type", b"content-disposition")
STREAM = header_lines((*relay.STREAM_HEADERS, errors.VERSION))
MAX_BODY = 64 * 1024 * 1024
"""Most bytes of an answer that is gathered."""


class Passing:
    """One call and the client it is for."""

    _size = 0
    _stream: relay.Stream | None = None

    def __init__(self, line: Line, opening: Opening, seen: Peek, path: str) -> None:
        """`path`: on the engine."""
        self._line, self._opening, self._seen, self._path = line, opening, seen, path
        self._pieces: list[bytes] = []
        self._began = monotonic()

    def begin(self) -> None:
        """Returns at once. Raises Refusal."""
        if self._opening.at_once(self._stirred):
            self._line.watch(self._left, None)
        else:
            self._line.spawn(self._in_task())

    # ------------------------------------------------------------------ without a task

    def _stirred(self) -> None:
        try:
            self._look(self._opening.upstream.flow)
        except Exception as error:
            log.exception("an answer could not be passed on", request_id=self._line.request_id)
            self._opening.close(error)
            self._line.cut()

    def _look(self, flow: Flow) -> None:
        if not flow.started:
            self._not_begun(flow.error)
        elif not self._pieces and flow.events:
            self._pass_events(flow)
        elif flow.complete and not self._pieces:  # most come in one piece
            self._whole(flow.take())
        elif self._gather(flow) and flow.complete:
            self._whole(b"".join(self._pieces))

    def _whole(self, body: bytes) -> None:
        self._answer(self._opening.upstream, body)
        self._opening.close()

    def _gather(self, flow: Flow) -> bool:
        """Take what has come of an answer that is not streamed. False: there will be no answer."""
        piece = flow.take()
        self._pieces.append(piece)
        self._size += len(piece)
        if flow.error is not None:
            self._refuse(lost(str(flow.error)))
        elif self._size > MAX_BODY:
            self._refuse(lost(f"the engine's answer is larger than {MAX_BODY} bytes"))
        else:
            return True
        return False

    def _not_begun(self, error: Exception | None) -> None:
        if isinstance(error, Refusal):
            self._refuse(error)
        else:
            self._line.spawn(self._in_task())

    def _pass_events(self, flow: Flow) -> None:
        line, upstream = self._line, self._opening.upstream
        tell(line, upstream.record, 0.0)
        self._stream = relay.Stream(line, flow, lost_event, self._ended)
        self._prepare(self._stream)
        self._stream.start(STREAM + self._took(), self._left)

    def _ended(self) -> None:
        self._stream = None
        self._opening.close()

    def _refuse(self, refusal: Refusal) -> None:
        self._opening.close(refusal)
        reply = errors.refuse(refusal)
        self._line.send(reply.status, header_lines(reply.headers), reply.body)

    def _left(self) -> None:
        self._opening.close(asyncio.CancelledError())

    # ------------------------------------------------------------------ in a task

    async def _in_task(self) -> None:
        line = self._line
        try:
            async with self._opening as upstream:
                await self._pass_on(upstream)
        except (Refusal, UpstreamCut) as error:
            if not line.started:
                raise
            self._late(error)

    async def _pass_on(self, upstream: Upstream) -> None:
        if upstream.flow.events:
            tell(self._line, upstream.record, upstream.hold_seconds)
            await relay.stream(self._line, upstream, STREAM + self._took(), lost_event, self._prepare)
            return
        try:
            body = await upstream.body()
        except UpstreamCut as cut:
            raise lost(str(cut)) from cut
        self._answer(upstream, body)

    def _late(self, error: Refusal | UpstreamCut) -> None:
        """The head is out already: the error is the stream's last event."""
        if isinstance(error, Refusal):
            self._line.push(errors.event(error.status, error.message, error.code))
        else:
            self._line.push(lost_event(str(error)))
        self._line.close()

    # ------------------------------------------------------------------ either way

    def _prepare(self, stream: relay.Stream) -> None:
        edits = Edits(self._seen, _reasons(self._opening.upstream.record))
        stream.change(edits.events, edits.any)

    def _took(self) -> bytes:
        return b"openai-processing-ms: %d\r\n" % ((monotonic() - self._began) * 1000)

    def _answer(self, upstream: Upstream, body: bytes) -> None:
        """Send an engine's answer, which is whole."""
        line, seen, record = self._line, self._seen, upstream.record
        status, lines = upstream.status, WHOLE
        tell(line, record, upstream.hold_seconds)
        if line.low and (pace := upstream.pace) is not None:
            line.more += header_lines(((PACE, b"%.6f" % pace),))
        if status >= 400:
            lines += header_lines(errors.passed_on(status, upstream.headers))
            status, body = errors.translate(status, body, self._path, seen.model)
        elif body[:1] in (b"{", b"["):
            if seen.forced or seen.legacy or _reasons(record):
                body = Edits(seen, _reasons(record)).whole(body)
            if seen.model != record.called and body[:1] == b"{":
                body = splice_model(body, seen.model)
        else:
            lines = OTHER + header_lines(header for header in upstream.headers if header[0] in KEPT)
        if line.started:  # the client was told of its wait in a stream
            line.push(b"data: " + body + b"\n\n")
            line.close()
        else:
            line.send(status, lines + self._took(), body)


def _reasons(record: Record) -> bool:
    """Whether its engine tells reasoning apart from the answer: vLLM calls it `reasoning`, many clients read
    `reasoning_content`."""
    asked = record.spec.engine.reasoning_parser
    if asked is not None:
        return asked != "none"
    return "thinking" in (record.status.capabilities or ())


def lost(why: str) -> Refusal:
    return Refusal(502, _broken(why), code="engine_lost", retry_after=1.0)


def lost_event(why: str) -> bytes:
    """The last event of a stream whose engine died."""
    return errors.event(502, _broken(why), "engine_lost")


def _broken(why: str) -> str:
    return f"The answer broke off: {why}. Send the request again."
