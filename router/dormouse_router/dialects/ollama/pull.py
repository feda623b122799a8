"""POST /api/pull: make a model of the catalogue, or follow the one that is there, until its weights have come.

A client that leaves takes nothing with it: the operator pulls on.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import structlog

from dormouse_api.conditions import Reason
from dormouse_router.caller import Caller
from dormouse_router.catalog.record import Record
from dormouse_router.dialects.creation import Wanted
from dormouse_router.dialects.ollama import lines, names, pulling
from dormouse_router.dialects.ollama.errors import bad_request, error_line
from dormouse_router.dialects.ollama.requests import NameRequest, decode, model_of
from dormouse_router.dialects.ollama.serve import NDJSON, answer_json, look_up
from dormouse_router.gateway import Gateway, ModelStore
from dormouse_router.keeping import request_owner
from dormouse_router.request import Refusal, Request

log = structlog.get_logger()


class Pulling:
    """The handler of /api/pull."""

    def __init__(self, gateway: Gateway, store: ModelStore) -> None:
        self._gateway, self._store = gateway, store

    async def pull(self, request: Request) -> None:
        wish = decode(await request.body(), NameRequest)
        name = names.parse(model_of(wish))
        if name is None:
            raise bad_request("invalid model name")
        if wish.stream is False:
            await self._whole(request, name)
        else:
            await self._streamed(request, name)

    async def _whole(self, request: Request, name: names.Name) -> None:
        try:
            async with aclosing(self._lines(request, name)) as steps:
                async for _ in steps:
                    pass
        except pulling.PullError as error:
            raise Refusal(404 if str(error).startswith(pulling.MISSING) else 500, str(error)) from error
        await answer_json(request, {"status": "success"})

    async def _streamed(self, request: Request, name: names.Name) -> None:
        try:
            async with aclosing(self._lines(request, name)) as steps:
                async for line in steps:
                    if not request.started:
                        await request.start(200, list(NDJSON))
                    await request.write(lines.line(line))
        except (pulling.PullError, Refusal) as error:
            if not request.started:
                if isinstance(error, Refusal):
                    raise
                await request.start(200, list(NDJSON))
            await request.write(error_line(error.message if isinstance(error, Refusal) else str(error)))
        await request.end()

    async def _lines(self, request: Request, name: names.Name) -> AsyncGenerator[dict[str, Any], None]:
        """Every line up to "success". PullError, or Refusal where the model may not be created."""
        caller = self._gateway.caller(request_owner(request))
        target = await self._target(name, caller)
        report = pulling.Report()
        for line in report.begin():
            yield line
        seen = False
        async with aclosing(self._store.watch(target.namespace, target.name)) as records:
            async for record in records:
                if record is None:
                    if seen:
                        raise pulling.PullError(f"pull model {name.listed}: the model was deleted meanwhile")
                    continue
                seen = True
                _same_source(record, target.wanted, self._gateway.sees(caller, record))
                if target.made and record.failed and record.reason == Reason.NOT_FOUND:
                    await self._forget(record, caller)
                for line in report.lines(record):
                    yield line
                if report.done:
                    return

    async def _forget(self, record: Record, caller: Caller) -> None:
        """Take back the model we made for a name that nothing stands behind: a typo leaves nothing, as with Ollama."""
        try:
            await self._store.delete(record, caller)
        except Refusal as refusal:
            log.info("model kept", model=record.full_name, why=refusal.message)

    async def _target(self, name: names.Name, caller: Caller) -> "_Target":
        """The InferenceModel to follow, made where nothing is served as `name` yet."""
        try:
            there = look_up(self._gateway, name.listed, caller)
        except Refusal as refusal:
            if refusal.status != 404:
                raise
        else:
            # a route has no weights of its own: its first model's are followed
            model = there.name if isinstance(there, Record) else there.models[0]
            return _Target(there.namespace, model)
        wanted = pulling.request(name)
        target = _Target(self._store.default_namespace, wanted.name, wanted, made=True)
        try:
            await self._store.create(wanted.name, wanted.spec, caller)
        except Refusal as refusal:
            if refusal.status != 409:
                raise
            return replace(target, made=False)
        return target


@dataclass(frozen=True)
class _Target:
    namespace: str
    name: str
    wanted: Wanted | None = None
    made: bool = False
    """By this very request."""


def _same_source(record: Record, wanted: Wanted | None, seen: bool) -> None:
    """PullError where the name we would give is another model's already; `seen`: the caller may know which."""
    if not seen:
        raise pulling.PullError("the name for this model is taken: register it under another one, POST /v1/models")
    if wanted is not None and record.spec.source.uri != wanted.spec.source.uri:
        raise pulling.PullError(
            f"{record.full_name} is there already and serves {record.spec.source.uri}: delete it, or create an "
            f"InferenceModel of another name with source.uri {wanted.spec.source.uri}"
        )
