"""The way in where it is asked who comes: `hot.Hot` and the ASGI application, each behind a `caller.Gate`.

A router in mode `open` uses neither. Knows nothing of keys and roles: the gate says who it is, or refuses, and until it
has, no dialect hears of the request.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from dormouse_router.access.credential import TOKEN_PATH, without_key
from dormouse_router.app import App, bug
from dormouse_router.asgi import Asgi, AsgiTurn, Message, Receive, Scope, Send
from dormouse_router.behalf import OWNER, TEAMS, WORKER, Trust
from dormouse_router.caller import CALLER, Asked, Caller, Gate, Passed
from dormouse_router.direct import Direct
from dormouse_router.hot import Hot
from dormouse_router.http11 import Connection
from dormouse_router.request import Dialect, Headers, Refusal, Reply
from dormouse_router.settings import Settings
from dormouse_router.turns import Turn

log = structlog.get_logger()
CHALLENGE = b'www-authenticate: Bearer realm="dormouse"\r\n'


class Guarded(Hot):
    """The hot paths: nothing waits for who is known already."""

    def __init__(self, dialects: Sequence[Dialect], app: App, settings: Settings, trust: Trust, gate: Gate) -> None:
        super().__init__(dialects, app, settings, trust, Door(app, app.words, gate, trust))
        self._gate = gate

    def enter(self, request: Direct) -> None:
        passed = self._gate.enter(request)
        if passed is None:
            self._ask(request)
        else:
            self._admit(passed, request)

    def take(self, connection: Connection) -> Turn:
        if connection.url.startswith(TOKEN_PATH):
            _show(connection)
        if self._gate.nameless(connection.header) and connection.header(WORKER) is None:
            return AsgiTurn(connection, self.rest)  # which says so before the body has come
        return Hot.take(self, connection)

    def refuse(self, request: Direct, refusal: Refusal) -> None:
        request.more += _lines(refusal)
        super().refuse(request, refusal)

    def over(self, request: Direct) -> None:
        if request.passed is not None:
            request.passed.leave()
        Hot.over(self, request)

    def _admit(self, passed: Passed, request: Direct) -> None:
        request.passed = passed
        request.allowing += passed.lines
        token = CALLER.set(passed.caller)
        try:
            Hot.enter(self, request)
        finally:
            CALLER.reset(token)  # what runs next here is another connection's

    def _ask(self, request: Direct) -> None:
        task = request.beside(self._asked(request))
        request.watch(partial(_give_up, task), None)

    async def _asked(self, request: Direct) -> None:
        try:
            passed = await self._gate.ask(request)
        except Refusal as refusal:
            self._settled(request, refusal)
        except Exception:
            log.exception("who sent a request could not be told", path=request.path, request_id=request.request_id)
            self._settled(request, bug())
        else:
            if request.gone or request.ended:
                passed.leave()
                return
            request.watch(None, None)
            self.attempt(request, partial(self._admit, passed))

    def _settled(self, request: Direct, refusal: Refusal) -> None:
        request.watch(None, None)
        if not (request.gone or request.ended):
            self.refuse(request, refusal)


def _show(connection: Connection) -> None:
    """A key in the target, as if it had come in a header, before anybody looks at the target."""
    found = without_key(connection.url)
    if found is not None:
        key, connection.url = found
        connection.headers.append((b"authorization", b"Bearer " + key))
        connection.header = dict(connection.headers).get


class Door:
    """`app` behind the gate; `words` gives an error in the dialect of a path."""

    def __init__(self, app: Asgi, words: Callable[[str, Refusal], Reply], gate: Gate, trust: Trust) -> None:
        self._app, self._words, self._gate, self._trust = app, words, gate, trust

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = _Scoped(scope)
        try:
            behalf = _behalf(self._trust, asked)
            passed = _Worker(behalf) if behalf is not None else self._gate.enter(asked) or await self._gate.ask(asked)
        except Refusal as refusal:
            await _refuse(scope, send, self._words(scope["path"], refusal), _headers(_lines(refusal)))
            return
        scope["state"]["caller"] = passed.caller
        CALLER.set(passed.caller)  # the request has a task of its own
        try:
            await self._app(scope, receive, _telling(send, passed.lines))
        finally:
            passed.leave()


class Behalf:
    """`app` where nobody is asked who comes (mode `open`): only the batch worker's requests are somebody's."""

    def __init__(self, app: Asgi, words: Callable[[str, Refusal], Reply], trust: Trust) -> None:
        self._app, self._words, self._trust = app, words, trust

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            caller = _behalf(self._trust, _Scoped(scope))
        except Refusal as refusal:
            await _refuse(scope, send, self._words(scope["path"], refusal), _headers(_lines(refusal)))
            return
        if caller is not None:
            CALLER.set(caller)  # the request has a task of its own
        await self._app(scope, receive, send)


def _behalf(trust: Trust, asked: Asked) -> Caller | None:
    """The batch worker looks at the models that it has lines for: itself, or with the rights of who gave it them."""
    worker = asked.header(WORKER)
    if worker is None:
        return None
    owner = asked.header(OWNER)
    if owner is None and asked.method == "GET" and asked.path.startswith("/models/"):
        return trust.looking(worker)
    return trust.caller(worker, owner, asked.header(TEAMS))


@dataclass
class _Worker:
    """`caller.Passed` of the batch worker, which nothing limits."""

    caller: Caller
    lines: bytes = b""

    def leave(self) -> None:
        """Nothing was counted."""


class _Scoped:
    """`caller.Asked` of a scope."""

    def __init__(self, scope: Scope) -> None:
        self.method, self.path = scope["method"], scope["path"]
        self.header: Callable[[bytes], bytes | None] = dict(scope["headers"]).get
        self.peer: str = (scope["client"] or ("",))[0]


def _give_up(task: "asyncio.Task[None]") -> None:
    task.cancel()


def _telling(send: Send, lines: bytes) -> Send:
    if not lines:
        return send
    more = _headers(lines)

    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return tell


def _headers(lines: bytes) -> Headers:
    pairs = (line.partition(b": ") for line in lines.split(b"\r\n") if line)
    return [(name, value) for name, _, value in pairs]


def _lines(refusal: Refusal) -> bytes:
    """RFC 9110 wants every 401 to say how to do better."""
    return refusal.lines + (CHALLENGE if refusal.status == 401 else b"")


async def _refuse(scope: Scope, send: Send, reply: Reply, more: Headers) -> None:
    body = b"" if scope["method"] == "HEAD" else reply.body
    # whoever is not let in has no body read
    headers = [*reply.headers, *more, (b"content-length", b"%d" % len(reply.body)), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
