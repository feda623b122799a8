"""/v1/chat/completions, /v1/completions and /v1/embeddings: read once, checked, passed on, answered as it comes.

The hot path. A body goes to the engine as the client wrote it, except that the model's name is replaced where the
client used another of its names, and what engines do not know is said as they do (`refit`). Knows nothing of sockets,
of waking, nor of where engines are.
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from dormouse_router.catalog.record import Record
from dormouse_router.dataplane import peek
from dormouse_router.dataplane.peek import BadBody, Peek, splice_model
from dormouse_router.dialects import waiting as wishes
from dormouse_router.dialects.ollama.durations import keep_alive
from dormouse_router.dialects.openai import abilities, refit, running
from dormouse_router.dialects.openai.abilities import Ability
from dormouse_router.dialects.openai.passing import STREAM, Passing
from dormouse_router.dialects.provenance import tell
from dormouse_router.dialects.tracecontext import forwarded
from dormouse_router.gateway import BATCH, CHAT, COMPLETIONS, EMBEDDINGS, SESSION, Call, Gateway, Waiting
from dormouse_router.request import HOLD, Line, Refusal
from dormouse_router.settings import Settings


@dataclass(frozen=True)
class Endpoint:
    """A route that is passed on."""

    path: str
    """On the engine."""
    check: Callable[[bytes], Peek]
    ability: Ability


class Passed:
    """One pass-through route."""

    def __init__(self, gateway: Gateway, settings: Settings, endpoint: Endpoint) -> None:
        self._gateway, self._comments = gateway, settings.comments
        self._path, self._check, self._ability = endpoint.path, endpoint.check, endpoint.ability
        self._tells = endpoint.path in (CHAT, COMPLETIONS)
        self._able: Record | None = None
        """The last that was found to have the ability: most calls are for the same as the one before."""

    def __call__(self, line: Line) -> None:
        body = line.payload
        try:
            seen = self._check(body)
        except BadBody as bad:
            raise refused(bad) from None
        record = self._gateway.find(seen.model, request=line, body=body)
        tell(line, record)
        if record is not self._able:
            abilities.check(record, self._ability, seen.model)
            self._able = record
        if seen.refit:
            body = refit.refitted(body)
        if seen.stream and self._tells and not seen.running:
            body = running.asked(body, seen)
            seen.hidden = True
        if seen.model != record.called:
            body = splice_model(body, record.called)
        call = Call(record, self._path, body, "openai", seen.stream, request_id=line.request_id)
        if seen.keep_alive:
            call.keep_alive = keep_alive(msgspec.json.decode(seen.keep_alive))
        call.session = line.header(SESSION) or seen.session
        begin(self._gateway, line, call, seen, self._comments)


def begin(gateway: Gateway, line: Line, call: Call, seen: Peek, comments: bool) -> None:
    """Send the call on its way; whatever becomes of it goes to the client. Returns at once. Raises Refusal."""
    header = line.header
    if header(b"traceparent") is not None:
        call.headers = forwarded(line)
    if header(HOLD) is not None:
        call.hold = wishes.hold_seconds(line)
    if line.low:
        call.low, call.dialect = True, BATCH
    if seen.stream:
        call.waiting = Comments(line, comments)
    Passing(line, gateway.open(call), seen, call.path).begin()


def refused(bad: BadBody) -> Refusal:
    return Refusal(400, str(bad), code=bad.code, param=bad.param)


class Comments:
    """Tells the client of a held stream how the wake goes, in SSE comments; the first sends the head."""

    __slots__ = ("_default", "_line")

    def __init__(self, line: Line, default: bool) -> None:
        """`default`: the router's setting, for where neither request nor model says whether comments are wanted."""
        self._line, self._default = line, default

    async def __call__(self, waiting: Waiting) -> None:
        line = self._line
        if not wishes.told(line, waiting.record, self._default):
            return
        if not line.started:
            tell(line, waiting.record)
            line.open(200, STREAM)
        await line.write(wishes.comment(waiting) + b"\n")


def endpoints() -> dict[str, Endpoint]:
    """By path: the routes that are called most."""
    return {
        CHAT: Endpoint(CHAT, peek.chat, Ability.GENERATE),
        COMPLETIONS: Endpoint(COMPLETIONS, peek.completion, Ability.GENERATE),
        EMBEDDINGS: Endpoint(EMBEDDINGS, peek.embedding, Ability.EMBED),
    }
