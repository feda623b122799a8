"""The hot paths: which requests take them, who answers, and what becomes of one that goes wrong.

Between the client's connection and a dialect's handler there is this and nothing else: no middleware, no routing table,
no framework. Everything else goes to the ASGI application.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import structlog

from dormouse_router.app import App, Lives, between, bug
from dormouse_router.asgi import Asgi, AsgiTurn, path_of
from dormouse_router.behalf import OWNER, TEAMS, WORKER, Trust
from dormouse_router.caller import CALLER
from dormouse_router.cors import Cors
from dormouse_router.direct import Direct, Service, stopping
from dormouse_router.http11 import Connection
from dormouse_router.request import Dialect, Handler, Line, Refusal, Starter, header_lines
from dormouse_router.settings import Settings
from dormouse_router.turns import Turn

log = structlog.get_logger()


class Hot:
    """`direct.Service`, and what makes the turns of the client-facing listener."""

    def __init__(
        self, dialects: Sequence[Dialect], app: App, settings: Settings, trust: Trust, rest: Asgi | None = None
    ) -> None:
        """`rest`: what serves everything else, where that is not `app` itself."""
        self._app, self._trust = app, trust
        self._cors = Cors(rest or app, app.words, settings.origins)
        self.rest: Asgi = self._cors
        """Who is given every request of no hot path, and what is made of one of them: tracing puts its own here."""
        self.direct: Callable[[Connection, Service, str, Starter], Direct] = Direct
        self._starts = _starts(dialects)
        self._exact = {path.encode(): (path, start) for path, start in self._starts.items()}
        """By the target as most clients send it, without host and query."""
        self._named = [(ends, _in_task(handler)) for dialect in dialects for ends, handler in dialect.named.items()]
        self._forms = frozenset(path for dialect in dialects for path in dialect.forms)
        self._access_log = settings.access_log
        self.max_body, self.max_arriving = settings.max_body, settings.arriving_bytes
        self.arriving = 0
        self.lives: Lives = app.lives

    def take(self, connection: Connection) -> Turn:
        """The turn of the request whose head `connection` has read."""
        if connection.method != b"POST":
            return AsgiTurn(connection, self.rest)
        found = self._exact.get(connection.url)
        if found is None:
            path = path_of(connection.url)[0]
            start = self._starts.get(path) or self._around(path)
            if start is None:
                return AsgiTurn(connection, self.rest)
            found = (path, start)
        self.lives.count += 1
        return self.direct(connection, self, *found)

    def _around(self, path: str) -> Starter | None:
        """Who answers a path with a name in it."""
        return next((start for ends, start in self._named if between(path, ends)), None)

    def route(self, path: str) -> str:
        """The pattern of a hot path: the path itself, or with {name} in place of a name."""
        ends = None if path in self._starts else next((e for e, _ in self._named if between(path, e)), None)
        return path if ends is None else f"{ends[0]}{{name}}{ends[1]}"

    # ------------------------------------------------------------------ direct.Service

    def serve(self, request: Direct) -> None:
        self.attempt(request, self.admit)

    def attempt(self, request: Direct, work: Callable[[Direct], None]) -> None:
        """`work` for the request; what it raises is answered."""
        try:
            work(request)
        except Refusal as refusal:
            self.refuse(request, refusal)
        except Exception:
            log.exception("request failed", path=request.path, request_id=request.request_id)
            self.refuse(request, bug())

    def admit(self, request: Direct) -> None:
        """Its turn, if the page that sends it may call. Raises what the handler raises."""
        origin = request.header(b"origin")
        if origin is not None:
            request.allowing = header_lines(self._cors.admit(origin, request.header(b"host")))
        worker = request.header(WORKER)
        if worker is None:
            self.enter(request)
        else:
            self._on_behalf(request, worker)

    def _on_behalf(self, request: Direct, worker: bytes) -> None:
        """The turn of a batch's line: whose the batch is was asked when it came."""
        caller = self._trust.caller(worker, request.header(OWNER), request.header(TEAMS))
        request.low = True
        token = CALLER.set(caller)
        try:
            Hot.enter(self, request)
        finally:
            CALLER.reset(token)

    def enter(self, request: Direct) -> None:
        """Its handler's turn. Raises what the handler raises."""
        request.check(request.path in self._forms)
        request.handler(request)

    async def run(self, request: Direct, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Refusal as refusal:
            self.refuse(request, refusal)
        except asyncio.CancelledError:
            if not request.gone:  # the router stops
                if not request.started:
                    self.refuse(request, stopping())
                raise
        except Exception:
            log.exception("request failed", path=request.path, request_id=request.request_id)
            self.refuse(request, bug())
        finally:
            self.over(request)

    def refuse(self, request: Direct, refusal: Refusal) -> None:
        refusal.request_id = request.request_id
        if not request.started:
            reply = self._app.words(request.path, refusal)
            request.send(reply.status, header_lines(reply.headers), reply.body)
        elif not request.ended:
            # the head is out and the handler did not end its stream: cut it, so that it is not taken for whole
            log.error("stream given up", path=request.path, request_id=request.request_id, error=refusal.message)
            request.cut()

    def over(self, request: Direct) -> None:
        self.lives.count -= 1
        if self._access_log:
            log.info("served", path=request.path, request_id=request.request_id)


def _starts(dialects: Sequence[Dialect]) -> dict[str, Starter]:
    starts: dict[str, Starter] = {}
    for dialect in dialects:
        starts |= {path: _in_task(handler) for path, handler in dialect.posts.items()}
        starts |= {**dialect.starts, **dialect.forms}
    return starts


def _in_task(handler: Handler) -> Callable[[Line], None]:
    return partial(_spawn, handler)


def _spawn(handler: Handler, line: Line) -> None:
    line.spawn(_run(handler, line))


async def _run(handler: Handler, line: Line) -> None:
    await handler(line)
