"""POST /models/{name}/reload: fresh runtime pods for a model, one way or another after its calls have ended."""

import time
from collections.abc import Callable

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dormouse_api.lease import micro_time
from dormouse_router.catalog.record import Record
from dormouse_router.catalog.routes import Route
from dormouse_router.dialects.native import models
from dormouse_router.dialects.native.answers import answer, bad_request, caller_of
from dormouse_router.dialects.native.watching import look_up
from dormouse_router.gateway import Gateway, ModelStore
from dormouse_router.insight import Insight
from dormouse_router.request import Refusal


class Reloading:
    """The handler. `now`: seconds since the epoch."""

    def __init__(
        self, gateway: Gateway, store: ModelStore, insight: Insight, now: Callable[[], float] = time.time
    ) -> None:
        self._gateway, self._store, self._insight, self._now = gateway, store, insight, now

    async def reload(self, request: Request, name: str) -> Response:
        """202 where pods are replaced; 200 where none runs, because the next wake is fresh anyway."""
        caller = caller_of(self._gateway, request)
        record = look_up(self._gateway, name, caller)
        if isinstance(record, Route):
            names = ", ".join(record.models)
            raise bad_request(f"'{name}' is a route over {names}: reload these models, one request each", "name")
        awake = self._gateway.awake(record)
        fields = {"model": record.name, "namespace": record.namespace, "watch": f"/models/{record.full_name}"}
        if not awake and not record.status.replicas:
            return answer(fields | self._nothing(record))
        at = micro_time(self._now())
        await self._store.reload(record, at, caller)
        words = "its runtime is replaced; it is done when loaded_at is later than requested_at"
        flying = self._insight.traffic(record).in_flight
        told = {"status": "reloading", "requested_at": at, "in_flight": flying, "message": words}
        return answer(fields | told, 202)

    def _nothing(self, record: Record) -> dict[str, str]:
        """Refusal 409 where the model could not be woken either."""
        if not record.ready:
            raise Refusal(409, f"nothing of {record.full_name} runs: {record.message}")
        word = models.state(record, awake=False)
        return {"status": word, "message": "nothing of it runs, so there is nothing to reload: the next start is fresh"}

    def routes(self) -> APIRouter:
        router = APIRouter()
        router.add_api_route("/models/{name:path}/reload", self.reload, methods=["POST"], response_model=None)
        return router
