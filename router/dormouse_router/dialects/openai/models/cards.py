"""Models and routes as `/v1/models` tells of them: OpenAI's fields, and ours beside them. Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from dormouse_api.access import Visibility
from dormouse_router.catalog.record import Record
from dormouse_router.catalog.routes import Route
from dormouse_router.catalog.versions import Version, versions
from dormouse_router.dialects.native.jobs import job_id
from dormouse_router.dialects.native.models import FAILED, PREPARING, state
from dormouse_router.dialects.replicate.described import input_schema

Card = dict[str, object]
NOBODY = "dormouse"
_HASH = re.compile("[0-9a-f]{64}")


def of_record(record: Record, name: str, awake: bool) -> Card:
    """A model, or the adapter that it is marked with, in a list."""
    card = _common(record, name, [record]) | {
        "owned_by": owner(record),
        "visibility": visibility(record),
        "state": state(record, awake),
    }
    source = next((a.source.uri for a in record.spec.adapters or () if a.name == record.adapter), None)
    return card if source is None else {**card, "root": source, "parent": name.rpartition(":")[0]}


def of_adapters(record: Record, name: str, awake: bool) -> Iterator[Card]:
    """Its adapters that are callable."""
    ready = {told.name for told in record.status.adapters or () if told.ready}
    for adapter in record.spec.adapters or ():
        if adapter.name in ready:
            yield of_record(replace(record, adapter=adapter.name), f"{name}:{adapter.name}", awake)


def of_route(route: Route, name: str, behind: Sequence[Record]) -> Card:
    """A route: as long a context, as much else, and as visible, as all of its models."""
    order = [Visibility.PRIVATE, Visibility.TEAM, Visibility.PUBLIC]
    least = min((_visible(record) for record in behind), key=order.index, default=Visibility.PUBLIC)
    return _common(route, name, behind) | {"owned_by": NOBODY, "visibility": least.lower()}


def details(record: Record, name: str, awake: bool) -> Card:
    """All of one model that its callers may want to know. What is not known is null."""
    status = record.status
    card = of_record(record, name, awake)
    return card | {
        "name": record.name,
        "namespace": record.namespace,
        "aliases": list(record.spec.aliases or ()),
        "description": record.spec.description,
        "team": record.spec.access.team if record.spec.access else None,
        "message": record.message if card["state"] in (PREPARING, FAILED) else None,
        "source": record.spec.source.uri,
        "revision": record.spec.source.revision,
        "commit": status.commit,
        "quantization": record.quantization,
        "profile": status.profile or record.spec.profile,
        "bytes": status.bytes,
        "parameters": status.parameters,
        "job": job_id(record.namespace, record.name),
        "versions": [of_version(version) for version in versions(record)],
        "input_schema": input_schema(record),
    }


def of_version(version: Version) -> Card:
    return {
        "id": version.id,
        "object": "model.version",
        "created": int(version.created),
        "revision": version.revision,
        "quantization": version.quantization,
        "bytes": version.bytes,
        "current": version.current,
        "on_volume": version.on_volume,
    }


def owner(record: Record) -> str:
    """Whose it is: of a hash only as much as tells two apart."""
    whose = record.spec.access.owner if record.spec.access else None
    if whose is None:
        return NOBODY
    return f"key-{whose[:12]}" if _HASH.fullmatch(whose) else whose


def visibility(record: Record) -> str:
    """public, team or private."""
    return _visible(record).lower()


def _visible(record: Record) -> Visibility:
    return record.spec.access.visibility if record.spec.access else Visibility.PUBLIC


def _common(listed: Record | Route, name: str, records: Iterable[Record]) -> Card:
    records = list(records)
    lengths = [record.context_length for record in records if record.context_length]
    known = [record.status.capabilities for record in records]
    shared = [word for word in (known[0] if known else None) or () if all(word in (each or ()) for each in known)]
    card: Card = {"id": name, "object": "model", "created": int(listed.created), "owned_by": NOBODY}
    if lengths:
        card["max_model_len"] = card["context_length"] = min(lengths)
    return {**card, "capabilities": shared}
