"""Models in the shape of Replicate's API, for its public clients, which say who they are. Pure.

Their models are called `owner/name`: one of ours by the first of its names that is such a pair, else `namespace/name`.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from dormouse_api.access import Visibility
from dormouse_router.catalog.record import Record
from dormouse_router.catalog.versions import Version, versions
from dormouse_router.dialects.replicate.described import input_schema, output_schema

_CLIENT = "replicate"


def asked(headers: Mapping[str, str]) -> bool:
    """Whether a client of Replicate's asks."""
    return headers.get("user-agent", "").lower().startswith(_CLIENT)


def model(record: Record, base: str) -> dict[str, Any]:
    """One model. `base`: the address that the client calls."""
    owner, name = pair(record)
    found = versions(record)
    latest = next((version for version in found if version.current), None)
    access = record.spec.access
    open_to_all = access is None or access.visibility is Visibility.PUBLIC
    return {
        "url": f"{base}/v1/models/{owner}/{name}",
        "owner": owner,
        "name": name,
        "description": record.spec.description,
        "visibility": "public" if open_to_all else "private",
        "github_url": None,
        "paper_url": None,
        "license_url": None,
        "cover_image_url": None,
        "run_count": 0,
        "default_example": None,
        "latest_version": version(record, latest) if latest is not None else None,
    }


def pair(record: Record) -> tuple[str, str]:
    """(owner, name)"""
    named = (name for name in record.served if name.count("/") == 1 and ":" not in name)
    owner, _, name = next(named, record.full_name).partition("/")
    return owner, name


def version(record: Record, shown: Version) -> dict[str, Any]:
    """One version. Inputs are known of the present one only."""
    schema = input_schema(record) if shown.current else None
    schemas = {"Input": schema or {"type": "object"}, "Output": {"title": "Output", **output_schema(record)}}
    return {
        "id": shown.id,
        "created_at": datetime.fromtimestamp(shown.created, UTC).isoformat().replace("+00:00", "Z"),
        "cog_version": "",
        "openapi_schema": {
            "openapi": "3.1.0",
            "info": {"title": record.full_name, "version": shown.revision},
            "paths": {},
            "components": {"schemas": schemas},
        },
    }


def page(results: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """All of them on one page."""
    return {"next": None, "previous": None, "results": list(results)}
