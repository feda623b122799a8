"""GET /jobs, GET and DELETE /jobs/{id}, and GET /metrics."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dormouse_router.access.rules import ROUTER
from dormouse_router.caller import Caller
from dormouse_router.catalog.record import Record
from dormouse_router.dialects.native import jobs
from dormouse_router.dialects.native.answers import answer, caller_of, reads
from dormouse_router.gateway import Gateway, ModelStore
from dormouse_router.request import Refusal


class Native:
    """The handlers. All they tell is in the catalogue; all they change is an InferenceModel."""

    def __init__(self, gateway: Gateway, store: ModelStore) -> None:
        self._gateway, self._store = gateway, store

    async def jobs(
        self,
        request: Request,
        state: str | None = None,
        model: str | None = None,
        limit: str | None = None,
        after: str | None = None,
    ) -> Response:
        """Pulls, newest first: `state` is one or more of queued, running, retrying, succeeded, failed; `model` a name
        or a source; `limit` the most (1 to 1000, default 100); `after` the id of the last job of the page before."""
        records = self._gateway.models(caller_of(self._gateway, request))
        found, more = jobs.select(records, jobs.read_filter(state, model, limit, after))
        return answer({"jobs": [jobs.job(record) for record in found], "has_more": more})

    async def job(self, request: Request, ident: str) -> Response:
        """One pull."""
        return answer(jobs.job(self._record(ident, caller_of(self._gateway, request))))

    async def cancel(self, request: Request, ident: str) -> Response:
        """Cancel a pull by deleting its InferenceModel; 409 once there is something that a cancel would destroy."""
        caller = caller_of(self._gateway, request)
        record = self._record(ident, caller)
        if record.pulled or jobs.status(record) == jobs.SUCCEEDED:
            text = (
                f"the weights of {record.full_name} are here, so there is nothing to cancel: delete the model instead"
            )
            raise Refusal(409, text)
        users = [
            route.full_name
            for route in self._gateway.routes(ROUTER)
            if route.namespace == record.namespace and record.name in route.models
        ]
        if users:
            raise Refusal(409, f"{', '.join(users)} wait for {record.full_name}: delete these routes first")
        await self._store.delete(record, caller)
        return answer(jobs.job(record) | {"status": jobs.CANCELLED, "bytes_per_second": None, "eta_seconds": None})

    def _record(self, ident: str, caller: Caller) -> Record:
        key = jobs.key_of(ident)
        found = next((record for record in self._gateway.models(caller) if record.key == key), None)
        if found is None:
            text = f'there is no job "{ident}": a model that was deleted has none, GET /jobs lists the others, POST '
            raise Refusal(404, text + "/pull starts one")
        return found

    async def metrics(self) -> Response:
        """The router's metrics, for Prometheus."""
        body, kind = self._gateway.exposition()
        return Response(body, headers={"content-type": kind})

    def routes(self) -> APIRouter:
        router = APIRouter()
        for path, handler in (("/jobs", self.jobs), ("/jobs/{ident}", self.job), ("/metrics", self.metrics)):
            reads(router, path, handler)
        router.add_api_route("/jobs/{ident}", self.cancel, methods=["DELETE"], response_model=None)
        return router
