"""Making predictions: checked, kept, begun, and waited for where the client wants that."""

import time

import msgspec

from dormouse_router.catalog.record import Record
from dormouse_router.dialects.replicate import inputs, objects
from dormouse_router.dialects.replicate.addresses import base_of
from dormouse_router.dialects.replicate.desk import Desk
from dormouse_router.dialects.replicate.errors import invalid, refuse
from dormouse_router.dialects.replicate.hooks import Hook, hook_of
from dormouse_router.dialects.replicate.jobs import Job, Wish
from dormouse_router.dialects.replicate.making import checked
from dormouse_router.dialects.replicate.requests import CreateRequest, preference, read
from dormouse_router.dialects.replicate.versions import chosen
from dormouse_router.filing import new_id
from dormouse_router.gateway import Gateway
from dormouse_router.keeping import request_owner
from dormouse_router.predicting import StoredPrediction
from dormouse_router.request import Refusal, Reply, Request
from dormouse_router.settings import Settings
from dormouse_router.webhooks.receivers import Receivers, UrlError

MODELS, DEPLOYMENTS, AFTER = "/v1/models/", "/v1/deployments/", "/predictions"
"""Around a name, which may hold slashes, in the path."""
JSON = (b"content-type", b"application/json")


class Creating:
    """The handlers of POST."""

    def __init__(self, gateway: Gateway, desk: Desk, receivers: Receivers, settings: Settings) -> None:
        self._gateway, self._desk, self._receivers = gateway, desk, receivers
        self._seconds, self._public = settings.prediction_seconds, settings.public_url

    async def create(self, request: Request) -> None:
        """POST /v1/predictions."""
        await self._answer(request, None)

    async def of_model(self, request: Request) -> None:
        """POST /v1/models/{name}/predictions."""
        await self._answer(request, request.path[len(MODELS) : -len(AFTER)])

    async def of_deployment(self, request: Request) -> None:
        """POST /v1/deployments/{name}/predictions: a route is what comes nearest to a deployment."""
        await self._answer(request, request.path[len(DEPLOYMENTS) : -len(AFTER)])

    async def _answer(self, request: Request, name: str | None) -> None:
        try:
            await request.reply(await self._created(request, name))
        except Refusal as refusal:
            # said here, because a model's path has its other errors from another dialect
            if request.started:
                raise
            await request.reply(refuse(refusal))

    async def _created(self, request: Request, name: str | None) -> Reply:
        body = await request.body()
        wish = read(body)
        named, record = chosen(self._gateway, wish, name, request, body)
        given = wish.input or {}
        kind = inputs.kind_of(record, named)
        if kind is not None:
            inputs.plan(record, kind, given)
            await checked(record, kind, given)
        base = base_of(request.header, self._public)
        job = self._job(request_owner(request), record, given, Wish(named, _key(record), base, self._hook(wish)))
        await self._desk.begin(job)
        prefer = preference(request.header(b"prefer"))
        now = job.now
        if prefer.wait is not None:
            now = await self._desk.wait(job.row.id, job.row.owner, prefer.wait)
            if not objects.is_ended(now):
                # as Replicate has it: its clients take any other word for an end of a call that waited
                now = now | {"status": "starting", "output": None}
        late = prefer.asynchronous or (prefer.wait is not None and not objects.is_ended(now))
        shown = objects.told(now, base)
        headers = [JSON, (b"location", shown["urls"]["get"].encode())]
        if prefer.applied is not None:
            headers.append((b"preference-applied", prefer.applied.encode()))
        return Reply(202 if late else 201, msgspec.json.encode(shown), tuple(headers))

    def _hook(self, wish: CreateRequest) -> Hook | None:
        try:
            return hook_of(wish, self._receivers)
        except UrlError as error:
            raise invalid("webhook", f"webhook: {error}") from error

    def _job(self, owner: str, record: Record, given: inputs.Given, wish: Wish) -> Job:
        now = time.time()
        prediction = objects.new(new_id(""), wish.name, record.status.commit, given, now)
        row = StoredPrediction(
            id=prediction["id"],
            owner=owner,
            created_at=now,
            status=prediction["status"],
            body=msgspec.json.encode(prediction),
            wish=msgspec.json.encode(wish),
            expires_at=now + self._seconds,
        )
        return Job(row, wish, prediction, record)


def _key(record: Record) -> str:
    return record.full_name if record.adapter is None else f"{record.full_name}:{record.adapter}"
