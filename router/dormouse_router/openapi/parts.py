"""What the document is written with: JSON Schemas in few words, and an operation as plain data. Knows no dialect."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Schema = dict[str, Any]
SCHEMAS = "#/components/schemas/"
JSON = "application/json"
EVENTS = "text/event-stream"
LINES = "application/x-ndjson"

ANY: Schema = {}
STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
OBJECT: Schema = {"type": "object"}


def ref(name: str) -> Schema:
    """The component schema called `name`."""
    return {"$ref": SCHEMAS + name}


def said(schema: Schema, description: str) -> Schema:
    """`schema` with a sentence about it."""
    return {**schema, "description": description}


def const(value: str | bool) -> Schema:
    return {"const": value}


def enum(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def arr(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def mapping(values: Schema) -> Schema:
    """An object with keys of any name."""
    return {"type": "object", "additionalProperties": values}


DONE = const("[DONE]")


def ended(schema: Schema) -> Schema:
    """Events with `schema` in their data, and one that says [DONE] at the end."""
    return any_of(DONE, schema)


def any_of(*schemas: Schema) -> Schema:
    return {"anyOf": list(schemas)}


def nullable(schema: Schema) -> Schema:
    """`schema`, or null."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return any_of(schema, {"type": "null"})


def obj(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, description: str = "") -> Schema:
    """An object. Unknown fields are allowed: clients ignore them, and so do we."""
    schema: Schema = {"type": "object", "properties": {**required, **(optional or {})}}
    if required:
        schema["required"] = list(required)
    return said(schema, description) if description else schema


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes with one status. `contents`: media type → schema; of a stream the schema of one event or line."""

    description: str
    contents: Mapping[str, Schema] = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    """Names out of `headers.HEADERS`."""
    links: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """operationId → its parameter, and where in this answer its value is: `$response.body#/id`."""


@dataclass(frozen=True, slots=True)
class Family:
    """How the routes of a dialect say no."""

    tag: str
    about: str
    error: str
    """The component schema of an error."""
    headers: tuple[str, ...] = ()
    """Headers of every refusal."""
    media: str = JSON


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `body`: the component schema of the JSON it takes, or None."""

    family: Family
    method: str
    path: str
    summary: str
    answers: Mapping[int, Answer]
    refusals: tuple[int, ...] = ()
    """Statuses answered with the family's error."""
    description: str = ""
    body: str | None = None
    parameters: tuple[str, ...] = ()
    """Names out of `headers.PARAMETERS`."""
    own: tuple[Schema, ...] = ()
    """More parameters, in OpenAPI's form."""
    head: bool = False
    """HEAD works as well."""
    form: bool = False
    """The body is a form with files (multipart/form-data), not JSON."""


def path_parameter(name: str, description: str, schema: Schema = STRING, **more: Any) -> Schema:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema, **more}


def query_parameter(name: str, description: str, schema: Schema = STRING) -> Schema:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}
