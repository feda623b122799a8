"""The document names every route that is mounted, no other, and is what OpenAPI takes."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs

from dormouse_router.app import App
from dormouse_router.openapi import headers
from dormouse_router.openapi.document import OPERATIONS, document, encoded
from dormouse_router.openapi.parts import SCHEMAS
from tests.router.fakes import Stage

Route = tuple[str, str]


def mounted(app: App) -> set[Route]:
    """Method and path of everything a client may call, as the document writes paths."""
    hot = {("post", path) for dialect in app.dialects for path in (*dialect.posts, *dialect.starts, *dialect.forms)}
    hot |= {("post", f"{before}{{name}}{after}") for dialect in app.dialects for before, after in dialect.named}
    rest = {
        (method.lower(), re.sub(r":path}", "}", route.path)) for route in app.routes for method in route.methods or ()
    }
    return hot | rest


def described() -> set[Route]:
    return {(method, path) for path, methods in document()["paths"].items() for method in methods}


def test_the_document_names_what_is_mounted_and_nothing_else(world: Stage) -> None:
    routes = mounted(world.router.app)
    assert len(routes) > 30
    assert sorted(routes - described()) == [], "mounted, and not in the document: add them to router/.../openapi"
    assert sorted(described() - routes) == [], "in the document, and not mounted"


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_every_reference_leads_somewhere_and_every_part_is_used() -> None:
    whole = document()
    used = set(references(whole))
    there = {f"#/components/{kind}/{name}" for kind, parts in whole["components"].items() for name in parts}
    assert used - there == set()
    unused = {name for name in there - used if name.startswith((SCHEMAS, "#/components/parameters/"))}
    assert unused == set()


def flaw(name: str, components: dict[str, Any]) -> str | None:
    """Why a schema is none: by JSON Schema's own schema, or for what it refers to."""
    try:
        jsonschema_rs.Draft202012Validator({"$ref": f"{SCHEMAS}{name}", "components": components})
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        return str(error)
    return None


def test_every_schema_is_one() -> None:
    components = document()["components"]
    assert {name: why for name in components["schemas"] if (why := flaw(name, components)) is not None} == {}
    assert flaw("Missing", components) is not None
    assert flaw("Wrong", {"schemas": {"Wrong": {"type": "nothing"}}}) is not None


def test_every_operation_says_what_may_come() -> None:
    for operation in OPERATIONS:
        assert operation.summary
        assert 403 in operation.refusals, f"{operation.path}: a page of a foreign origin is refused everywhere"
        assert set(operation.refusals) <= headers.STATUSES.keys()
        assert not set(operation.refusals) & operation.answers.keys()


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for methods in document()["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


def test_who_may_call_is_told_where_it_is_asked() -> None:
    """From the same table that decides."""
    operations = {(m, p): o for p, methods in document(asked=True)["paths"].items() for m, o in methods.items()}
    assert operations["get", "/health"]["security"] == []
    assert operations["post", "/v1/chat/completions"]["security"] == [{"key": ["user"]}, {"keyInHeader": ["user"]}]
    assert operations["head", "/api/blobs/{digest}"]["security"][0] == {"key": ["operator"]}
    schemes = document(asked=True)["components"]["securitySchemes"]
    named = {name for operation in operations.values() for needed in operation["security"] for name in needed}
    assert named == set(schemes)
    plain = document()
    assert not any("security" in operation for methods in plain["paths"].values() for operation in methods.values())
    assert "lets everybody in" in plain["info"]["description"]


def test_it_is_encoded_once() -> None:
    assert encoded() is encoded()
    assert json.loads(encoded()) == document()
