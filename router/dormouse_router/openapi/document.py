"""The document: every module's operations and schemas put together. Pure, and made once.

OpenAPI 3.1 has no word for a stream's pieces. As is usual there, the schema of a stream's media type is that of one
piece: a line of `application/x-ndjson`, an event of `text/event-stream` with its `data`.
"""

import functools
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from dormouse_router.openapi import (
    access,
    anthropic,
    batches,
    files,
    headers,
    models,
    native,
    native_schemas,
    ollama,
    ollama_schemas,
    openai,
    openai_more,
    openai_schemas,
    pages,
    replicate,
    responses,
    security,
    usage,
)
from dormouse_router.openapi.examples import EXAMPLES
from dormouse_router.openapi.parts import DONE, EVENTS, JSON, STRING, Answer, Operation, Schema, any_of, obj, ref

OPERATIONS: tuple[Operation, ...] = (
    *openai.OPERATIONS,
    *models.OPERATIONS,
    *responses.OPERATIONS,
    *files.OPERATIONS,
    *batches.OPERATIONS,
    *usage.OPERATIONS,
    *openai_more.OPERATIONS,
    *ollama.OPERATIONS,
    *anthropic.OPERATIONS,
    *replicate.OPERATIONS,
    *native.OPERATIONS,
    *access.OPERATIONS,
    *pages.OPERATIONS,
)
_ABOUT = (
    "A model sleeps until somebody calls it and wakes while they wait. The same models, and the routes over them, are "
    "served in several dialects at once. Bodies are read as JSON whatever their content type; unknown fields are "
    "ignored or passed on to the engine, and null is as good as absent. Any request may come from a web page only if "
    "its origin is allowed. The schema of a stream (`text/event-stream`, `application/x-ndjson`) is that of one "
    "event, or of one line."
)


@functools.cache
def encoded(asked: bool = False) -> bytes:
    """The document as it is served; `asked`: where it is asked who calls."""
    return msgspec.json.encode(document(asked))


def document(asked: bool = False) -> dict[str, Any]:
    """The whole document. KeyError where an operation names what is nowhere, or has no line in the table of routes."""
    families = {operation.family.tag: operation.family for operation in OPERATIONS}
    schemas = _schemas()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Dormouse",
            "version": "v1",
            "description": f"{_ABOUT} {security.ASKED if asked else security.OPEN}",
        },
        "tags": [{"name": family.tag, "description": family.about} for family in families.values()],
        "paths": _paths(schemas, asked),
        "components": {
            "schemas": schemas,
            "parameters": headers.PARAMETERS,
            "headers": headers.HEADERS,
            "securitySchemes": security.SCHEMES,
        },
    }


def _schemas() -> dict[str, Schema]:
    parts = (
        openai_schemas.requests(),
        openai_schemas.ANSWERS,
        models.requests(),
        models.ANSWERS,
        openai_more.requests(),
        openai_more.ANSWERS,
        responses.requests(),
        responses.ANSWERS,
        files.requests(),
        files.ANSWERS,
        batches.requests(),
        batches.ANSWERS,
        usage.ANSWERS,
        ollama_schemas.requests(),
        ollama_schemas.ANSWERS,
        anthropic.requests(),
        anthropic.ANSWERS,
        replicate.requests(),
        replicate.ANSWERS,
        native_schemas.requests(),
        native_schemas.ANSWERS,
        access.requests(),
        access.ANSWERS,
    )
    return {name: schema for part in parts for name, schema in part.items()}


def _paths(schemas: dict[str, Schema], asked: bool) -> dict[str, dict[str, Any]]:
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        methods = paths.setdefault(operation.path, {})
        for method in (operation.method, *(["head"] if operation.head else [])):
            if method in methods:
                raise ValueError(f"{method} {operation.path} is described twice")
            methods[method] = _operation(operation, method, schemas)
            if asked:
                methods[method]["security"] = security.of(method, operation.path)
    return paths


def _operation(operation: Operation, method: str, schemas: dict[str, Schema]) -> dict[str, Any]:
    slug = re.sub(r"[^a-z0-9]+", "_", operation.path.lower()).strip("_") or "root"
    made: dict[str, Any] = {
        "tags": [operation.family.tag],
        "summary": operation.summary,
        "operationId": f"{method}_{slug}",
    }
    if operation.description:
        made["description"] = operation.description
    parameters = [{"$ref": f"#/components/parameters/{name}"} for name in operation.parameters]
    if parameters or operation.own:
        made["parameters"] = [*operation.own, *parameters]
    if operation.body is not None:
        if operation.body not in schemas:
            raise KeyError(f"{operation.path} takes {operation.body}, which no module describes")
        made["requestBody"] = {"required": True, "content": _request(operation.body, operation.form)}
    made["responses"] = dict(sorted(_responses(operation, method == "head")))
    return made


def _request(body: str, form: bool) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": ref(body)}
    if shown := EXAMPLES.get(body):
        content["examples"] = {name: {"value": value} for name, value in shown.items()}
    return {"multipart/form-data" if form else JSON: content}


def _responses(operation: Operation, bare: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Status → answer; `bare`: without bodies, as HEAD has them."""
    family = operation.family
    for status in operation.refusals:
        retry = ("retry-after",) if status in headers.RETRYABLE else ()
        contents = {family.media: ref(family.error)}
        yield str(status), _response(Answer(headers.STATUSES[status], contents, (*family.headers, *retry)), bare)
    for status, answer in operation.answers.items():
        yield str(status), _response(answer, bare)


def _response(answer: Answer, bare: bool) -> dict[str, Any]:
    made: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        made["headers"] = {name: _header(name) for name in answer.headers}
    if answer.contents and not bare:
        made["content"] = {media: _content(media, schema) for media, schema in answer.contents.items()}
    if answer.links:
        made["links"] = {
            ident: {"operationId": ident, "parameters": {name: value}} for ident, (name, value) in answer.links.items()
        }
    return made


def _header(name: str) -> Schema:
    if name in headers.ALWAYS:
        return {**headers.HEADERS[name], "required": True}
    return {"$ref": f"#/components/headers/{name}"}


def _content(media: str, schema: Schema) -> dict[str, Any]:
    if media != EVENTS:
        return {"schema": schema}
    if schema == STRING:  # text, as it is
        return {"schema": obj({"data": STRING}, {"event": STRING, "id": STRING}, "One event of the stream.")}
    first, *others = schema.get("anyOf", [schema])
    data = _inside(others[0]) if first == DONE else _inside(schema)
    if first == DONE:
        data = any_of(DONE, data)
    return {"schema": obj({"data": data}, {"event": STRING}, "One event of the stream.")}


def _inside(schema: Schema) -> Schema:
    """JSON within a text."""
    return {"type": "string", "contentMediaType": JSON, "contentSchema": schema}
