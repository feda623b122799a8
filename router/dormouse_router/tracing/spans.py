"""The spans of requests: one for each, from its head to the end of its answer, in whatever trace its client began.

Owns where spans begin and end, and that what a request does runs within its span. Requests on hot paths are `Spanned`
in place of `direct.Direct`, all others pass `Around`; calls of engines are `calls.SpannedExchange`.
"""

import time
from collections.abc import Callable
from contextvars import Token
from functools import partial
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from dormouse_router.asgi import Asgi, Message, Receive, Scope, Send, request_id
from dormouse_router.dataplane.plane import DataPlane
from dormouse_router.direct import Direct, Service
from dormouse_router.hot import Hot
from dormouse_router.http11 import Connection
from dormouse_router.request import Starter
from dormouse_router.tracing import words
from dormouse_router.tracing.calls import SpannedExchange

LEFT = 499
"""The status of a request whose client did not wait for its answer."""
_W3C = TraceContextTextMapPropagator()


class Spans:
    """`opening.Tracing`."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def install(self, hot: Hot, plane: DataPlane) -> None:
        hot.direct = partial(self._direct, hot.route)
        hot.rest = Around(hot.rest, self)
        plane.exchanging = partial(SpannedExchange, self._tracer)

    def _direct(
        self, route: Callable[[str], str], connection: Connection, service: Service, path: str, start: Starter
    ) -> Direct:
        made = Spanned(connection, service, path, start)
        span = self.begun(made.method, made.header)
        name = route(path)
        span.set_attribute(words.ROUTE, name)
        span.update_name(words.server_name(made.method, name))
        made.trace(span)
        return made

    def begun(self, method: str, header: Callable[[bytes], bytes | None]) -> Span:
        """The span of a request that came now. Its sampler knows method and parent."""
        carrier = {
            name: value.decode("latin-1")
            for name in ("traceparent", "tracestate")
            if (value := header(name.encode())) is not None
        }
        return self._tracer.start_span(
            words.server_name(method, None),
            _W3C.extract(carrier, contexts.Context()),
            SpanKind.SERVER,
            {words.METHOD: words.known(method)},
        )


class Spanned(Direct):
    """A request on a hot path and its span."""

    _span: Span = trace.INVALID_SPAN
    _status = 0
    _over = False

    def trace(self, span: Span) -> None:
        self._span = span
        self._within = trace.set_span_in_context(span, contexts.Context())

    def begin(self) -> None:
        token = contexts.attach(self._within)
        try:
            super().begin()
        finally:
            contexts.detach(token)

    def whole(self) -> None:
        token = contexts.attach(self._within)
        try:
            super().whole()
        finally:
            contexts.detach(token)

    def left(self) -> None:
        self._end(self._status or LEFT)
        super().left()

    def _head(self, status: int, lines: bytes) -> bytes:
        self._status = status
        return super()._head(status, lines)

    def _answered(self) -> None:
        self._end(self._status)
        super()._answered()

    def _end(self, status: int) -> None:
        """What the call took is known a moment after its answer's last byte, which is where the span ends."""
        if self._over:
            return
        self._over = True
        end = partial(_ended, self._span, status, self.request_id, time.time_ns())
        if self.task is not None and not self.task.done():
            self.task.add_done_callback(lambda _: end())
        else:
            self._connection.loop.call_soon(end)


class Around:
    """An application, and a span for each of its requests."""

    def __init__(self, app: Asgi, spans: Spans) -> None:
        self._app, self._spans = app, spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        header = dict(scope["headers"]).get
        span = self._spans.begun(scope["method"], header)
        status = 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        token: Token[Any] = contexts.attach(trace.set_span_in_context(span, contexts.Context()))
        try:
            await self._app(scope, receive, told)
        finally:
            contexts.detach(token)
            route = getattr(scope.get("route"), "path", None)
            if route:
                span.set_attribute(words.ROUTE, route)
                span.update_name(words.server_name(scope["method"], route))
            _ended(span, status or LEFT, request_id(header(b"x-request-id")), time.time_ns())


def _ended(span: Span, status: int, request: str, at: int) -> None:
    span.set_attribute(words.STATUS, status)
    span.set_attribute(words.REQUEST_ID, request)
    if status >= 500:
        span.set_attribute(words.ERROR, str(status))
        span.set_status(StatusCode.ERROR)
    span.end(at)
