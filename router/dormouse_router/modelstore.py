"""`gateway.ModelStore`: creating, deleting and following models and routes on behalf of clients that may.

Owns the policy (is pulling, is deleting allowed here) and what the API server's refusals mean to a client.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Callable

from dormouse_api.access import Access
from dormouse_api.model import InferenceModelSpec
from dormouse_api.names import ANNOTATION_REQUEST, ANNOTATION_RESTARTED, runtime_name
from dormouse_api.route import InferenceRouteSpec
from dormouse_router.access.rules import Verb, may
from dormouse_router.caller import Caller
from dormouse_router.catalog.catalog import Catalog
from dormouse_router.catalog.record import Key, Record
from dormouse_router.catalog.routes import Route
from dormouse_router.cluster import Cluster, ClusterError
from dormouse_router.request import Refusal
from dormouse_router.settings import Settings

SEEN_SECONDS = 5.0
"""Longest wait for the watch to tell of what was just written."""


class Models:
    """The InferenceModels, as far as clients may change them."""

    def __init__(self, cluster: Cluster, catalog: Catalog, settings: Settings) -> None:
        self._cluster, self._catalog, self._settings = cluster, catalog, settings

    @property
    def default_namespace(self) -> str:
        return self._settings.default_namespace

    async def create(
        self, name: str, spec: InferenceModelSpec, caller: Caller, *, mark: str = "", dry_run: bool = False
    ) -> InferenceModelSpec:
        if not self._settings.pull:
            text = "Pulling models through the API is switched off here: ask the administrator to create it."
            raise Refusal(403, text, code="pull_forbidden")
        if not allowed(spec.source.uri, self._settings.pull_sources):
            text = (
                f"Pulling {spec.source.uri} is not allowed here: clients may pull "
                f"{', '.join(self._settings.pull_sources)}; the administrator allows more "
                "(DORMOUSE_PULL_SOURCES, chart: router.pullSources)."
            )
            raise Refusal(403, text, code="source_forbidden", param="model")
        spec = owned(spec, caller)
        noted = {"annotations": {ANNOTATION_REQUEST: mark}} if mark else {}
        meta = {"namespace": self.default_namespace, "name": name, **noted}
        try:
            await self._cluster.create_model(meta, spec.wire(), dry_run=dry_run)
        except ClusterError as error:
            raise _refusal(error, name) from error
        return spec

    async def change(self, record: Record, spec: dict[str, object], caller: Caller, *, dry_run: bool = False) -> None:
        if not self._settings.pull:
            text = "Changing models through the API is switched off here: ask the administrator to change it."
            raise Refusal(403, text, code="pull_forbidden")
        _ask(record, caller, Verb.CHANGE)
        try:
            await self._cluster.patch_model(record.namespace, record.name, record.uid, spec, dry_run=dry_run)
        except ClusterError as error:
            raise _refusal(error, record.name) from error

    async def delete(self, record: Record, caller: Caller) -> None:
        if not self._settings.delete:
            text = "Deleting models through the API is switched off here: ask the administrator to delete it."
            raise Refusal(403, text, code="delete_forbidden")
        _ask(record, caller, Verb.DELETE)
        try:
            await self._cluster.delete_model(record.namespace, record.name, record.uid)
        except ClusterError as error:
            raise _refusal(error, record.name) from error

    async def reload(self, record: Record, at: str, caller: Caller) -> None:
        if not self._settings.reload:
            text = "Reloading models through the API is switched off here: ask the administrator to restart it."
            raise Refusal(403, text, code="reload_forbidden")
        _ask(record, caller, Verb.RESTART)
        try:
            await self._cluster.annotate_lease(record.namespace, runtime_name(record.name), {ANNOTATION_RESTARTED: at})
        except ClusterError as error:
            raise _refusal(error, record.name) from error

    async def put_route(self, namespace: str, name: str, spec: InferenceRouteSpec, old: Route | None = None) -> None:
        if not self._settings.pull:
            text = "Making models through the API is switched off here: ask the administrator for an InferenceRoute."
            raise Refusal(403, text, code="pull_forbidden")
        try:
            if old is None:
                await self._cluster.create_route(namespace, name, spec.wire())
            else:
                await self._cluster.replace_route(namespace, name, spec.wire(), old.version)
        except ClusterError as error:
            raise _refusal(error, name) from error
        await self._until((namespace, name), lambda route: route is not None and route.spec == spec)

    async def delete_route(self, route: Route) -> None:
        if not self._settings.delete:
            text = "Deleting models through the API is switched off here: ask the administrator to delete it."
            raise Refusal(403, text, code="delete_forbidden")
        try:
            await self._cluster.delete_route(route.namespace, route.name, route.uid)
        except ClusterError as error:
            raise _refusal(error, route.name) from error
        await self._until(route.key, lambda found: found is None or found.uid != route.uid)

    async def _until(self, key: Key, holds: Callable[[Route | None], bool]) -> None:
        """A client calls its new model at once and must find it. The API server has it: a late watch is no error."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SEEN_SECONDS):
                while not holds(self._catalog.routes.get(key)):
                    await self._catalog.changed(key)

    async def watch(self, namespace: str, name: str) -> AsyncGenerator[Record | None, None]:
        key = (namespace, name)
        said: Record | None = None
        first = True
        while True:
            change = self._catalog.changed(key)
            try:
                entry = self._catalog.get(key)
                record = entry.record if entry is not None else None
                if first or record is not said:
                    first, said = False, record
                    yield record
                await change
            finally:
                change.cancel()


def owned(spec: InferenceModelSpec, caller: Caller) -> InferenceModelSpec:
    """`spec` as the caller's, where it has a credential; of nobody's otherwise."""
    if not caller.owner:
        return spec
    access = (spec.access or Access()).model_copy(update={"owner": caller.owner})
    return spec.model_copy(update={"access": access})


def _ask(record: Record, caller: Caller, verb: Verb) -> None:
    """Refusal 403 where it is not the caller's to do."""
    if may(caller, record.spec.access, verb):
        return
    whose = (
        "the administrator's" if record.spec.access is None or record.spec.access.owner is None else "somebody else's"
    )
    text = (
        f"The model '{record.name}' is {whose}: send the API key that it was made with (Authorization: Bearer ...), or "
        "ask the administrator."
    )
    raise Refusal(403, text, code="not_the_owner")


def allowed(uri: str, patterns: tuple[str, ...]) -> bool:
    """Whether clients may pull `uri`: one of `patterns` is it, with * for any text; without patterns any."""
    wild = (".*".join(map(re.escape, pattern.split("*"))) for pattern in patterns)
    return not patterns or any(re.fullmatch(pattern, uri) for pattern in wild)


def _refusal(error: ClusterError, name: str) -> Refusal:
    text = str(error)
    if error.status == 409:
        return Refusal(409, f"The model '{name}' exists already, or was replaced meanwhile.", code="conflict")
    if error.status == 403:
        return Refusal(403, f"The router may not do this: {text}", code="forbidden")
    if error.status == 404:
        return Refusal(404, f"The model '{name}' or its namespace is not there: {text}", code="model_not_found")
    if error.status in (400, 422):
        field, words = error.causes[0] if error.causes else (None, text)
        return Refusal(400, words, code="invalid_value", param=field)
    return Refusal(503, f"The cluster's API server did not take the change: {text} Try again.", retry_after=2.0)
