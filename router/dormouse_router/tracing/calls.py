"""The spans of a call: its hold, and each engine that was asked, which is handed the trace.

Children of the span of whatever request made the call, however it is told of its answer: by callbacks, which run in
nobody's context, or in a task.
"""

import asyncio

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from dormouse_router.catalog.catalog import Endpoint
from dormouse_router.dataplane.connection import Answer, Connection
from dormouse_router.dataplane.exchange import Exchange, Plane
from dormouse_router.dataplane.lane import Lane
from dormouse_router.gateway import Call
from dormouse_router.request import Refusal
from dormouse_router.tracing import words

_W3C = TraceContextTextMapPropagator()
_OURS = (b"traceparent", b"tracestate")


class SpannedExchange(Exchange):
    """`dataplane.exchange.Exchange`, told of in spans."""

    __slots__ = ("_asked", "_attempts", "_tracer", "_within")

    def __init__(self, tracer: Tracer, plane: Plane, lane: Lane, call: Call) -> None:
        super().__init__(plane, lane, call)
        self._tracer = tracer
        self._within = contexts.get_current()
        self._asked: Span | None = None
        """The span of the engine that is asked now."""
        self._attempts = 0
        request = trace.get_current_span(self._within)
        if request.is_recording():
            request.set_attributes(words.of_call(call))

    async def _hold(self) -> Endpoint:
        model = self._call.record.full_name
        span = self._tracer.start_span(f"wake {model}", self._within, SpanKind.INTERNAL, {words.MODEL: model})
        try:
            return await super()._hold()
        except BaseException as error:
            _failed(span, error)
            raise
        finally:
            span.end()

    def _count_in(self, endpoint: Endpoint) -> None:
        super()._count_in(endpoint)
        self._attempts += 1
        said = words.of_call(self._call)
        said |= {words.ADDRESS: endpoint.host, words.PORT: endpoint.port, words.ATTEMPT: self._attempts}
        name = f"{words.operation(self._call)} {self._call.record.called}"
        self._asked = self._tracer.start_span(name, self._within, SpanKind.CLIENT, said)

    def _send(self, connection: Connection, endpoint: Endpoint) -> Answer:
        if self._asked is not None:
            carrier: dict[str, str] = {}
            _W3C.inject(carrier, trace.set_span_in_context(self._asked, self._within))
            kept = [header for header in self._call.headers if header[0] not in _OURS]
            self._call.headers = kept + [(name.encode(), value.encode()) for name, value in carrier.items()]
        return super()._send(connection, endpoint)

    def _release(self, now: float) -> None:
        span, self._asked = self._asked, None
        if span is not None:
            self._told(span)
            span.end()
        super()._release(now)

    def _told(self, span: Span) -> None:
        """How the engine that was asked answered."""
        answer = self._answer if self._connection is not None else None
        if answer is None:
            _failed(span, ConnectionError())  # no connection came about
            return
        if answer.started:
            span.set_attribute(words.STATUS, answer.status)
            span.set_attributes(words.of_tokens(*self._tokens[:2]))
        if self._first:
            span.set_attribute(words.FIRST_TOKEN, self._first - self._since)
        if answer.error is not None:
            _failed(span, answer.error)
        elif not answer.complete:
            _failed(span, asyncio.CancelledError())  # the client left
        elif answer.status >= 500:
            span.set_attribute(words.ERROR, str(answer.status))
            span.set_status(StatusCode.ERROR)

    def _ended(self, error: BaseException | None) -> None:
        super()._ended(error)  # which counts the tokens
        request = trace.get_current_span(self._within)
        if request.is_recording():
            request.set_attributes(words.of_tokens(*self._tokens[:2]))
            if self.hold_seconds:
                request.set_attribute(words.HELD, self.hold_seconds)


def _failed(span: Span, error: BaseException) -> None:
    """By its kind alone: what it says may hold what others said."""
    if isinstance(error, Refusal):
        span.set_attribute(words.STATUS, error.status)
    kind = (error.code or str(error.status)) if isinstance(error, Refusal) else type(error).__name__
    span.set_attribute(words.ERROR, kind)
    span.set_status(StatusCode.ERROR)
