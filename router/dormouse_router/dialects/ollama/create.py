"""POST /api/create and /api/copy: another name for a model, with defaults of its own. Each makes an InferenceRoute.

The object is made before the first line is sent, so whatever is wrong is said with its true status.
"""

from dormouse_api.route import InferenceRouteSpec
from dormouse_router.caller import Caller
from dormouse_router.catalog.record import Record
from dormouse_router.catalog.routes import Route
from dormouse_router.dialects.ollama import derived, describe, lines, names
from dormouse_router.dialects.ollama.errors import bad_request, not_found
from dormouse_router.dialects.ollama.requests import CopyRequest, CreateRequest, decode, model_of
from dormouse_router.dialects.ollama.serve import NDJSON, answer_json, look_up
from dormouse_router.gateway import Gateway, ModelStore
from dormouse_router.keeping import request_owner
from dormouse_router.request import Refusal, Reply, Request


class Creating:
    """The handlers."""

    def __init__(self, gateway: Gateway, store: ModelStore) -> None:
        self._gateway, self._store = gateway, store

    async def create(self, request: Request) -> None:
        wish = decode(await request.body(), CreateRequest)
        name = _named(model_of(wish), "invalid model name")
        if not wish.from_:
            if wish.files:
                raise bad_request(derived.REFUSED["files"])
            raise bad_request("neither 'from' or 'files' was specified")
        try:
            source = look_up(self._gateway, wish.from_, self._caller(request))
        except Refusal:
            raise not_found(wish.from_, to_call=True) from None
        parent = self._parent(source, wish.from_)
        spec = derived.created(wish, source, describe.template(parent))
        await self._put(request, name, source.namespace, spec)
        if wish.stream is False:
            await answer_json(request, {"status": "success"})
            return
        await request.start(200, list(NDJSON))
        for line in derived.layers(wish, parent):
            await request.write(lines.line(line))
        await request.end()

    async def copy(self, request: Request) -> None:
        wish = decode(await request.body(), CopyRequest)
        for field, text in (("source", wish.source), ("destination", wish.destination)):
            _named(text or "", f'{field} "{text or ""}" is invalid')
        name = _named(wish.destination or "", "")
        try:
            source = look_up(self._gateway, wish.source or "", self._caller(request))
        except Refusal as refusal:
            raise Refusal(refusal.status, f'model "{wish.source}" not found', code=refusal.code) from None
        if self._there(name, self._caller(request)) != source:
            await self._put(request, name, source.namespace, derived.copy_of(source))
        await request.reply(Reply(200, b""))

    async def _put(self, request: Request, name: names.Name, namespace: str, spec: InferenceRouteSpec) -> None:
        """Give `name` this meaning. Refusal 409 where it is somebody else's."""
        there = self._there(name, self._caller(request))
        if isinstance(there, Record):
            text = f"'{name.listed}' is the InferenceModel {there.full_name}: choose another name, or delete it first"
            raise Refusal(409, text, code="conflict")
        if there is not None and not (there.derived and there.namespace == namespace):
            text = (
                f"'{name.listed}' is the InferenceRoute {there.full_name}, which no client made here: "
                "choose another name, or change it with kubectl"
            )
            raise Refusal(409, text, code="conflict")
        if name.elsewhere:
            text = f"invalid model name: Ollama's clients look for '{name.listed}' elsewhere: choose another tag"
            raise bad_request(text)
        object_name, aliases = derived.object_name(name)
        if there is not None:
            await self._store.put_route(
                namespace, there.name, spec.model_copy(update={"aliases": there.spec.aliases}), there
            )
        else:
            await self._store.put_route(namespace, object_name, spec.model_copy(update={"aliases": aliases}))

    def _caller(self, request: Request) -> Caller:
        return self._gateway.caller(request_owner(request))

    def _there(self, name: names.Name, caller: Caller) -> Record | Route | None:
        try:
            return look_up(self._gateway, name.listed, caller)
        except Refusal:
            return None

    def _parent(self, source: Record | Route, name: str) -> Record:
        if isinstance(source, Record):
            return source
        models = self._gateway.behind(source)
        if not models:
            raise Refusal(404, f"model '{name}' not found: the models of its route {source.full_name} are not there")
        return models[0]


def _named(text: str, complaint: str) -> names.Name:
    name = names.parse(text)
    if name is None:
        raise bad_request(complaint)
    return name
