"""POST /pull, GET /jobs, /jobs/{id}, /health and /metrics."""

from contextlib import aclosing
from math import ceil
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from dormouse_router.catalog.record import Record
from dormouse_router.dialects.creation import Wanted
from dormouse_router.dialects.native import jobs
from dormouse_router.dialects.native.requests import decode, model_for
from dormouse_router.gateway import Gateway, ModelStore
from dormouse_router.request import Refusal, Reply, Request

_JSON = (b"content-type", b"application/json")


def refuse(refusal: Refusal) -> Reply:
    """An error of this API: `{"error": sentence}`, and `param` where one field is to blame."""
    fields = {"error": refusal.message} | ({"param": refusal.param} if refusal.param else {})
    headers: tuple[tuple[bytes, bytes], ...] = (_JSON,)
    if refusal.retry_after is not None:
        headers += ((b"retry-after", str(max(1, ceil(refusal.retry_after))).encode()),)
    return Reply(refusal.status, msgspec.json.encode(fields), headers)


class Native:
    """The handlers. All they tell is in the catalogue; all they make is an InferenceModel."""

    def __init__(self, gateway: Gateway, store: ModelStore) -> None:
        self._gateway, self._store = gateway, store

    async def pull(self, request: Request) -> None:
        """202 with the job. Asked again for the same model it is the same job."""
        wish = model_for(decode(await request.body()))
        record = self._same(wish)
        if record is None:
            await self._create(wish)
            fields = jobs.queued(self._store.default_namespace, wish.name, wish.spec.source.uri)
        else:
            fields = jobs.job(record)
        location = f"/jobs/{fields['id']}".encode()
        await request.reply(Reply(202, msgspec.json.encode(fields), (_JSON, (b"location", location))))

    def _same(self, wish: Wanted) -> Record | None:
        """The model that is there already and has what is asked for. Refusal 409 where only its name is the same."""
        namespace = self._store.default_namespace
        found = next((r for r in self._gateway.models() if r.key == (namespace, wish.name)), None)
        if found is None:
            return None
        if (found.spec.source, found.spec.quantization) == (wish.spec.source, wish.spec.quantization):
            return found
        raise _taken(found)

    async def _create(self, wish: Wanted) -> None:
        """Refusal as `ModelStore.create`; another router's create of the same model a moment ago is no failure."""
        try:
            await self._store.create(wish.name, wish.spec)
        except Refusal as refusal:
            if refusal.status != 409:
                raise
            async with aclosing(self._store.watch(self._store.default_namespace, wish.name)) as records:
                async for record in records:
                    if record is None or record.spec.source == wish.spec.source:
                        return
                    raise _taken(record) from refusal

    async def jobs(self) -> Response:
        """Every pull, newest first."""
        return _json({"jobs": [jobs.job(record) for record in self._gateway.models()]})

    async def job(self, ident: str) -> Response:
        key = jobs.key_of(ident)
        record = next((record for record in self._gateway.models() if record.key == key), None)
        if record is None:
            raise Refusal(404, f'there is no job "{ident}": GET /jobs lists them, POST /pull starts one')
        return _json(jobs.job(record))

    async def health(self) -> Response:
        """Whether the router serves, and how many models it knows. Says nothing of any one model."""
        models = self._gateway.models()
        awake = sum(self._gateway.awake(record) for record in models)
        return _json({"status": "ok", "models": len(models), "awake": awake})

    async def metrics(self) -> Response:
        body, kind = self._gateway.exposition()
        return Response(body, headers={"content-type": kind})

    def routes(self) -> APIRouter:
        router = APIRouter()
        router.add_api_route("/jobs", self.jobs, methods=["GET"], response_model=None)
        router.add_api_route("/jobs/{ident}", self.job, methods=["GET"], response_model=None)
        router.add_api_route("/health", self.health, methods=["GET"], response_model=None)
        router.add_api_route("/health", self.health, methods=["HEAD"], response_model=None, include_in_schema=False)
        router.add_api_route("/metrics", self.metrics, methods=["GET"], response_model=None)
        return router


def _taken(record: Record) -> Refusal:
    source = record.spec.source
    return Refusal(
        409,
        f"an InferenceModel {record.full_name} is there already, with source {source.uri}, revision {source.revision} "
        f"and quantization {record.spec.quantization.value}: send another name, or delete it",
        param="name",
    )


def _json(fields: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(fields), media_type="application/json")
