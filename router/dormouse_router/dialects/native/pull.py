"""POST /pull: an InferenceModel is made, or the one that is there already is the answer."""

import contextlib
from contextlib import aclosing

import msgspec

from dormouse_router.caller import Caller
from dormouse_router.catalog.record import Record
from dormouse_router.dialects.creation import Wanted
from dormouse_router.dialects.native import jobs
from dormouse_router.dialects.native.answers import JSON
from dormouse_router.dialects.native.requests import decode, model_for, refuse_impossible
from dormouse_router.dialects.seen import seen
from dormouse_router.gateway import Gateway, ModelStore
from dormouse_router.keeping import request_owner
from dormouse_router.request import Refusal, Reply, Request


class Pulling:
    """The handler. What it makes is all that is kept of a pull."""

    def __init__(self, gateway: Gateway, store: ModelStore) -> None:
        self._gateway, self._store = gateway, store

    async def pull(self, request: Request) -> None:
        """202 with the job. Asked again for the same model it is the same job."""
        asked = decode(await request.body())
        wish = model_for(asked)
        caller = self._gateway.caller(request_owner(request))
        record = self._same(wish, caller, named=asked.name is not None)
        if record is None:
            refuse_impossible(wish, self._gateway.models(caller))
            await self._create(wish, caller)
            made = await seen(self._store, (self._store.default_namespace, wish.name))
            fields = jobs.job(made) if made is not None else jobs.queued(self._store.default_namespace, wish)
        else:
            fields = jobs.job(record)
            if asked.init and record.ready:
                await self._wake(record)
        location = f"/jobs/{fields['id']}".encode()
        await request.reply(Reply(202, msgspec.json.encode(fields), (JSON, (b"location", location))))

    def _same(self, wish: Wanted, caller: Caller, *, named: bool) -> Record | None:
        """The model that is there already and has what is asked for, under any name unless one was asked for too.
        Refusal 409 where only its name is the same.
        """
        namespace = self._store.default_namespace
        here = [record for record in self._gateway.models(caller) if record.namespace == namespace]
        found = next((record for record in here if record.name == wish.name), None)
        if found is not None:
            if _alike(found, wish):
                return found
            raise _taken(found)
        return None if named else next((record for record in here if _alike(record, wish)), None)

    async def _create(self, wish: Wanted, caller: Caller) -> None:
        """Refusal as `ModelStore.create`; another router's create of the same model a moment ago is no failure."""
        try:
            await self._store.create(wish.name, wish.spec, caller)
        except Refusal as refusal:
            if refusal.status != 409:
                raise
            async with aclosing(self._store.watch(self._store.default_namespace, wish.name)) as records:
                async for record in records:
                    if record is None:
                        return
                    if not self._gateway.sees(caller, record):
                        text = f'the name "{wish.name}" is taken: send another name'
                        raise Refusal(409, text, param="name") from refusal
                    if record.spec.source == wish.spec.source:
                        return
                    raise _taken(record) from refusal

    async def _wake(self, record: Record) -> None:
        """Begin the wake and wait for nothing; why it cannot be is what the job and the model say."""
        with contextlib.suppress(Refusal):
            await self._gateway.load(record, hold=0.0)


def _alike(record: Record, wish: Wanted) -> bool:
    return (record.spec.source, record.spec.quantization) == (wish.spec.source, wish.spec.quantization)


def _taken(record: Record) -> Refusal:
    source = record.spec.source
    return Refusal(
        409,
        f"an InferenceModel {record.full_name} is there already, with source {source.uri}, revision {source.revision} "
        f"and quantization {record.spec.quantization.value}: send another name, or delete it",
        param="name",
    )
