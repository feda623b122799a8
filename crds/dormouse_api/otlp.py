"""Spans on their way out: OpenTelemetry's SDK and its OTLP/HTTP exporter, which only this module imports.

Spans wait in a bounded queue of the SDK's (OTEL_BSP_MAX_QUEUE_SIZE, 2048) for a thread of its own; where the receiver
is away they are dropped. That is told once, and again when it is over: the library would say so for every batch.
"""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

CLOSE_SECONDS = 3.0
"""Longest wait for the last spans when the process ends: an end that lasts is worth more than its spans."""
SERVICE = "service.name"


class Exporter(SpanExporter):
    """Another's, that tells once when nothing is delivered any more, and once when it is again."""

    def __init__(self, inner: SpanExporter, tell: Callable[[str], object]) -> None:
        self._inner, self._tell = inner, tell
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        if result is not SpanExportResult.SUCCESS:
            if not self._lost:
                self._tell("spans cannot be delivered and are dropped: see that the OTLP/HTTP receiver is there")
            self._lost += len(spans)
        elif self._lost:
            self._tell(f"spans are delivered again; {self._lost} or more were dropped")
            self._lost = 0
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()


def provider(service: str, tell: Callable[[str], object]) -> TracerProvider:
    """What makes tracers, set up by the environment."""
    for name in ("opentelemetry.exporter", "opentelemetry.sdk"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    named = SERVICE in OTELResourceDetector().detect().attributes
    resource = Resource.create({} if named or os.environ.get("OTEL_SERVICE_NAME") else {SERVICE: service})
    made = TracerProvider(resource=resource, shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(Exporter(OTLPSpanExporter(), tell)))
    return made


async def closed(provider: TracerProvider, seconds: float = CLOSE_SECONDS) -> None:
    """Give the last spans this long to go out. The threads that are left then end with the process."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def close() -> None:
        provider.shutdown()
        try:
            loop.call_soon_threadsafe(ended.set)
        except RuntimeError:
            return  # nobody waits any more, the loop is closed

    # no executor's thread: those are waited for when the loop ends
    threading.Thread(target=close, name="last-spans", daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            await ended.wait()
    except TimeoutError:
        return
