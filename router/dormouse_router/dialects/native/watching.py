"""The handlers of everything that tells how models and router are doing. They only read, so they wake nothing."""

import contextlib
import time
from collections.abc import Callable

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dormouse_router.caller import Caller
from dormouse_router.catalog.record import Record
from dormouse_router.catalog.routes import Route
from dormouse_router.dialects.native import diag as bundle
from dormouse_router.dialects.native import gpu, health, models
from dormouse_router.dialects.native import status as overview
from dormouse_router.dialects.native.answers import answer, bad_request, caller_of, reads
from dormouse_router.dialects.native.picture import Picture
from dormouse_router.gateway import Gateway
from dormouse_router.insight import Insight
from dormouse_router.keeping import Keeping
from dormouse_router.request import Refusal

_FORMATS = ("json", "prometheus")


class Watching:
    """`now`: seconds since the epoch."""

    def __init__(
        self, gateway: Gateway, insight: Insight, keeping: Keeping, now: Callable[[], float] = time.time
    ) -> None:
        self._gateway, self._insight, self._keeping, self._now = gateway, insight, keeping, now

    async def models(self, request: Request) -> Response:
        """Every model and every route, newest first."""
        caller = caller_of(self._gateway, request)
        routes = [models.route(route, self._gateway.behind(route)) for route in self._gateway.routes(caller)]
        return answer({"models": [self._entry(record) for record in self._gateway.models(caller)], "routes": routes})

    async def model(self, request: Request, name: str) -> Response:
        """One model by any of its names, or a route."""
        record = look_up(self._gateway, name, caller_of(self._gateway, request))
        if isinstance(record, Route):
            return answer(models.route(record, self._gateway.behind(record)))
        awake, traffic = self._gateway.awake(record), self._insight.traffic(record)
        return answer(models.details(record, awake, traffic, self._now()))

    async def status(self, request: Request) -> Response:
        """Engines, models that are awake, failed loads, configuration."""
        return answer(overview.status(await self._picture(request)))

    async def health(self, request: Request) -> Response:
        """healthy, or degraded and why. Always 200: a router that answers serves."""
        return answer(health.health(await self._picture(request)))

    async def diag(self, request: Request) -> Response:
        """All that a bug report should hold, and no secret."""
        return answer(bundle.diag(await self._picture(request)))

    async def accelerators(self, request: Request, format: str | None = None) -> Response:  # noqa: A002 - the query's name
        """What awake models hold of their accelerators; JSON, or text for Prometheus (`?format=prometheus`)."""
        if format not in (None, *_FORMATS):
            raise bad_request(f'format "{format}" is none: send json or prometheus', "format")
        caller = caller_of(self._gateway, request)
        readings = [found for found in await self._insight.engines() if self._gateway.sees(caller, found.record)]
        if format == "prometheus" or (format is None and _scrapes(request)):
            body, kind = gpu.exposition(readings)
            return Response(body, headers={"content-type": kind})
        return answer({"engines": [gpu.reading(found) for found in readings]})

    def routes(self) -> APIRouter:
        router = APIRouter()
        for path, handler in (
            ("/models", self.models),
            ("/models/{name:path}", self.model),
            ("/status", self.status),
            ("/health", self.health),
            ("/diag", self.diag),
            ("/metrics/gpu", self.accelerators),
        ):
            reads(router, path, handler)
        return router

    def _entry(self, record: Record) -> dict[str, object]:
        return models.entry(record, self._gateway.awake(record), self._insight.traffic(record), self._now())

    async def _picture(self, request: Request) -> Picture:
        gateway, caller = self._gateway, caller_of(self._gateway, request)
        engines = [found for found in await self._insight.engines() if gateway.sees(caller, found.record)]
        passed_over = [found for found in self._insight.passed_over() if gateway.sees(caller, found.record)]
        models = [(record, gateway.awake(record)) for record in gateway.models(caller)]
        unattended = 0
        if self._keeping.trouble() is None:  # else that is what is wrong
            with contextlib.suppress(Refusal):
                unattended = await self._keeping.batches.waiting()
        kept = self._keeping.trouble() is None
        return Picture(models, engines, passed_over, self._insight, self._now(), kept, unattended)


def look_up(gateway: Gateway, name: str, caller: Caller) -> Record | Route:
    """The model or route served as `name`. Refusal 404 that says how to find its name."""
    record = gateway.look_up(name, caller)
    if record is None:
        shown = name if len(name) <= 200 else f"{name[:200]}..."
        raise Refusal(
            404, f"there is no model '{shown}': GET /models lists all names, POST /pull makes a new one", param="name"
        )
    return record


def _scrapes(request: Request) -> bool:
    """Prometheus says what it takes; browsers and curl take anything."""
    accept = request.headers.get("accept", "")
    return "openmetrics" in accept or accept.startswith("text/plain")
