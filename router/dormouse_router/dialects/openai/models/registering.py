"""POST and PATCH of /v1/models: an InferenceModel is made, or changed by its owner. kubectl shows the same object."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dormouse_api.model import InferenceModelSpec
from dormouse_router.caller import Caller
from dormouse_router.catalog.record import Key, Record, record_from
from dormouse_router.catalog.routes import Route
from dormouse_router.dialects.openai.files.receiving import small
from dormouse_router.dialects.openai.models import cards, repeat, replicate, requests
from dormouse_router.dialects.seen import seen
from dormouse_router.gateway import Gateway, ModelStore, unknown
from dormouse_router.keeping import headers_owner
from dormouse_router.request import Refusal


class Registering:
    """The handlers. `now`: seconds since the epoch."""

    def __init__(self, gateway: Gateway, store: ModelStore, now: Callable[[], float] = time.time) -> None:
        self._gateway, self._store, self._now = gateway, store, now

    async def create(self, request: Request) -> Response:
        """Register a model: 201 with it. `dry_run` makes nothing: 200."""
        body = await small(request)
        asked = requests.decode(body, requests.CreateRequest)
        caller = self._caller(request)
        made = requests.registration(asked, caller)
        if asked.dry_run:
            return self._answer(request, await self._made(asked, made, caller), made.called, 200)
        mark = repeat.mark(caller.owner, request.headers.get(repeat.HEADER), body)
        record = repeat.made(self._gateway.models(caller), mark) or await self._made(asked, made, caller, mark)
        return self._answer(request, record, made.called, 201)

    async def change(self, request: Request, name: str) -> Response:
        """Change a model of one's own: 200 with what it is then."""
        body = await small(request)
        asked = requests.decode(body, requests.ChangeRequest)
        caller = self._caller(request)
        record = self._own(name, caller)
        patch = requests.changes(asked, body, caller)
        expected = requests.merged(record.spec, patch)
        self._free((("aliases", alias) for alias in asked.aliases or ()), caller, record)
        with _told_by_field():
            await self._store.change(record, patch, caller, dry_run=bool(asked.dry_run))
        after = None if asked.dry_run else await seen(self._store, record.key, lambda now: now.spec == expected)
        return self._answer(request, after or _with_spec(record, expected), name, 200)

    async def _made(
        self, asked: requests.CreateRequest, made: requests.Registration, caller: Caller, mark: str = ""
    ) -> Record:
        self._free([("id", made.called), *(("aliases", alias) for alias in asked.aliases or ())], caller)
        key = (self._store.default_namespace, made.name)
        try:
            with _told_by_field():
                spec = await self._store.create(made.name, made.spec, caller, mark=mark, dry_run=bool(asked.dry_run))
        except Refusal as refusal:
            twin = await seen(self._store, key) if refusal.status == 409 and mark else None
            if twin is None or twin.request != mark:
                raise
            return twin  # the same request, at another router
        found = None if asked.dry_run else await seen(self._store, key)
        return found or self._preview(key, spec)

    def _own(self, name: str, caller: Caller) -> Record:
        found = self._gateway.look_up(name, caller)
        if found is None:
            raise unknown(name)
        if isinstance(found, Route) or found.adapter is not None:
            what = "a route over models" if isinstance(found, Route) else f"an adapter of '{found.name}'"
            raise Refusal(400, f"'{name}' is {what}: change it with kubectl.", code="unsupported", param="model")
        return found

    def _free(self, names: Iterable[tuple[str, str | None]], caller: Caller, own: Record | None = None) -> None:
        """Refusal 409 where somebody whom the caller sees has one of these names."""
        for field, name in names:
            found = self._gateway.look_up(name, caller) if name else None
            if found is not None and (own is None or found.uid != own.uid):
                text = f"The name '{name}' is {found.full_name}'s already: choose another one, or delete that first."
                raise Refusal(409, text, code="conflict", param=field)

    def _preview(self, key: Key, spec: InferenceModelSpec) -> Record:
        """The model as nobody has looked at it yet."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._now()))
        meta = {"namespace": key[0], "name": key[1], "uid": "", "creationTimestamp": stamp}
        return record_from({"metadata": meta, "spec": spec.wire()})

    def _answer(self, request: Request, record: Record, name: str | None, status: int) -> Response:
        if replicate.asked(request.headers):
            shown: object = replicate.model(record, str(request.base_url).rstrip("/"))
        else:
            shown = cards.details(record, name or record.name, self._gateway.awake(record))
        headers = {"location": f"/v1/models/{quote(name or record.name)}"} if status == 201 else {}
        return Response(msgspec.json.encode(shown), status, headers, media_type="application/json")

    def _caller(self, request: Request) -> Caller:
        return self._gateway.caller(headers_owner(request.headers))


@contextlib.contextmanager
def _told_by_field() -> Iterator[None]:
    """What is refused of the object is told as the field of the request that it comes from."""
    try:
        yield
    except Refusal as refusal:
        refusal.param = "source" if refusal.param == "model" else requests.field_of(refusal.param)
        raise


def _with_spec(record: Record, spec: InferenceModelSpec) -> Record:
    meta = {"namespace": record.namespace, "name": record.name, "uid": record.uid}
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
    body = {"metadata": meta | {"creationTimestamp": stamp}, "spec": spec.wire(), "status": record.status.wire()}
    return record_from(body)
