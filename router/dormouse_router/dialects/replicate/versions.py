"""Which model a request means: by its name, by `name:version`, or by a version alone: the commit of its weights."""

import re

from dormouse_router.catalog.record import Record
from dormouse_router.dialects.replicate.errors import invalid
from dormouse_router.dialects.replicate.requests import CreateRequest
from dormouse_router.gateway import Gateway
from dormouse_router.keeping import request_owner
from dormouse_router.request import Refusal, Request

_VERSION = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)


def chosen(
    gateway: Gateway, wish: CreateRequest, path_name: str | None, request: Request, body: bytes
) -> tuple[str, Record]:
    """How the client calls it, and the model whose turn it is. Refusal 404, 422, 503."""
    name = path_name or wish.model or wish.version
    if not name:
        raise invalid("version", "Say which model: `version` or `model`, or POST to /v1/models/{name}/predictions.")
    if _VERSION.fullmatch(name):
        name = _by_version(gateway, name, request)
    try:
        record = gateway.find(name, request=request, body=body)
    except Refusal as refusal:
        bare, colon, version = name.rpartition(":")
        if refusal.status != 404 or not colon or not _VERSION.fullmatch(version):
            raise
        name, record = bare, gateway.find(bare, request=request, body=body)
        _check(record, bare, version)
    if wish.version and name != wish.version and _VERSION.fullmatch(wish.version):
        _check(record, name, wish.version)
    return name, record


def _by_version(gateway: Gateway, version: str, request: Request) -> str:
    for record in gateway.models(gateway.caller(request_owner(request))):
        if record.status.commit == version:
            return record.full_name
    raise Refusal(404, f"No model serves the version {version}: GET /v1/models lists what there is.", param="version")


def _check(record: Record, name: str, version: str) -> None:
    if record.status.commit != version:
        has = record.status.commit or "none yet"
        text = f"'{name}' does not serve the version {version}: it has {has}. Leave the version out."
        raise Refusal(404, text, param="version")
