"""Tracing switched on, or not: no module that imports OpenTelemetry is reached unless it is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import structlog

from dormouse_api.tracer import opened
from dormouse_router.dataplane.plane import DataPlane
from dormouse_router.hot import Hot

SERVICE = "dormouse-router"


class Tracing(Protocol):
    """What makes spans of requests and calls (`spans.Spans`)."""

    def install(self, hot: Hot, plane: DataPlane) -> None:
        """From now on every request and every call has its spans."""
        ...


@asynccontextmanager
async def open_tracing(on: bool) -> AsyncIterator[Tracing | None]:
    """`on`: `Settings.tracing`. RuntimeError where the SDK is not installed."""
    async with opened(on, SERVICE, structlog.get_logger().warning) as tracer:
        if tracer is None:
            yield None
        else:
            from dormouse_router.tracing.spans import Spans

            yield Spans(tracer)
