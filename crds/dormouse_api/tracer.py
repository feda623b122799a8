"""The tracer of a process, where traces are on.

Off, no module that imports OpenTelemetry is reached: `otlp` alone knows its SDK, and is imported here when needed.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

INSTALL = "install dormouse-api[tracing], or unset OTEL_EXPORTER_OTLP_ENDPOINT"


@asynccontextmanager
async def opened(on: bool, service: str, tell: Callable[[str], object]) -> "AsyncIterator[Tracer | None]":
    """A tracer while entered, None where it is not `on`. `service`: the name of this program where the environment has
    none. `tell` hears, in another thread, when spans cannot be delivered and when they can again. RuntimeError where
    the SDK is not installed.
    """
    if not on:
        yield None
        return
    try:
        from dormouse_api import otlp
    except ImportError as error:
        raise RuntimeError(f"traces are asked for, and OpenTelemetry's SDK is not there: {INSTALL}") from error
    provider = otlp.provider(service, tell)
    try:
        yield provider.get_tracer("dormouse")
    finally:
        await otlp.closed(provider)
