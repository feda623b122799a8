"""A real receiver of OTLP/HTTP on loopback, which keeps the spans it is sent. For tests of router and operator."""

import asyncio
import contextlib
import http.server
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

DEADLINE = 30.0


@dataclass(frozen=True)
class Span:
    """One span as it came."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    service: str
    failed: bool
    said: dict[str, Any]


class Receiver:
    """`spans` grows as they come."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.headers: list[dict[str, str]] = []
        self.raw = b""
        """All that came."""
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.headers.append(dict(self.headers))
                status = receiver.take(self.path, body)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self, path: str, body: bytes) -> int:
        if path != "/v1/traces":
            return 404
        request = ExportTraceServiceRequest.FromString(body)
        self.raw += body
        self.spans += [span for each in request.resource_spans for span in _spans(each)]
        return 200

    async def until(self, *names: str) -> dict[str, Span]:
        """The first spans of these names, once they have all come."""
        async with asyncio.timeout(DEADLINE):
            while not set(names) <= {span.name for span in self.spans}:  # noqa: ASYNC110 - another thread's list
                await asyncio.sleep(0.01)
        return {name: self.named(name)[0] for name in names}

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


def _spans(each: Any) -> Iterator[Span]:
    resource = _said(each.resource.attributes)
    for scope in each.scope_spans:
        for span in scope.spans:
            yield Span(
                name=span.name,
                kind=span.kind,
                trace=span.trace_id.hex(),
                id=span.span_id.hex(),
                parent=span.parent_span_id.hex(),
                service=resource["service.name"],
                failed=span.status.code == 2,
                said=_said(span.attributes),
            )


def _said(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextlib.asynccontextmanager
async def receiving(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    """A receiver, and the environment that names it. Spans come within a moment of their end."""
    made = Receiver()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    try:
        yield made
    finally:
        await asyncio.to_thread(made.close)
