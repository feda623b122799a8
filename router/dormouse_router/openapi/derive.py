"""JSON Schemas of the structs that decode requests, so that the document says what the code takes. Pure.

A field that has a default may be left out, and a null in its place is as good as nothing where the struct takes it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from dormouse_router.openapi.parts import BOOLEAN, INTEGER, NUMBER, STRING, Schema, ref

_PLAIN: dict[type[inspect.Type], Schema] = {
    inspect.AnyType: {},
    inspect.RawType: {},
    inspect.NoneType: {"type": "null"},
    inspect.BoolType: BOOLEAN,
    inspect.StrType: STRING,
    inspect.IntType: INTEGER,
    inspect.FloatType: NUMBER,
}
_BOUNDS = {
    "ge": "minimum",
    "le": "maximum",
    "gt": "exclusiveMinimum",
    "lt": "exclusiveMaximum",
    "pattern": "pattern",
    "min_length": "minLength",
    "max_length": "maxLength",
}


def components(prefix: str, *kinds: type[msgspec.Struct]) -> dict[str, Schema]:
    """The schema of each struct of `kinds` and of those within, by `prefix` and the struct's name."""
    return _Derivation(prefix).all(kinds)


class _Derivation:
    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._made: dict[str, Schema] = {}

    def all(self, kinds: tuple[type[msgspec.Struct], ...]) -> dict[str, Schema]:
        for kind in kinds:
            self._schema(inspect.type_info(kind))
        return self._made

    def _schema(self, info: inspect.Type) -> Schema:
        if isinstance(info, inspect.Metadata):
            return self._schema(info.type)
        if isinstance(info, inspect.StructType):
            return self._struct(info)
        if isinstance(info, inspect.UnionType):
            return _union([self._schema(each) for each in info.types])
        if isinstance(info, inspect.ListType):
            return {"type": "array", "items": self._schema(info.item_type), **_items(info)}
        if isinstance(info, inspect.DictType):
            return {"type": "object", "additionalProperties": self._schema(info.value_type)}
        if isinstance(info, inspect.LiteralType):
            return {"enum": list(info.values)}
        if isinstance(info, inspect.EnumType):
            return {"enum": [member.value for member in info.cls]}
        plain = _PLAIN.get(type(info))
        if plain is None:
            raise TypeError(f"no schema for {info!r}: add it to {__name__}")
        return {**plain, **_bounds(info)}

    def _struct(self, info: inspect.StructType) -> Schema:
        name = self._prefix + info.cls.__name__
        if name not in self._made:
            schema: Schema = {"type": "object", "properties": {}}
            self._made[name] = schema  # first: a struct may hold itself
            schema["properties"] = {field.encode_name: self._schema(field.type) for field in info.fields}
            if required := [field.encode_name for field in info.fields if field.required]:
                schema["required"] = required
            if info.forbid_unknown_fields:
                schema["additionalProperties"] = False
        return ref(name)


def _union(schemas: list[Schema]) -> Schema:
    """One list of types where nothing else is said of them: shorter to read."""
    if all(set(schema) == {"type"} for schema in schemas):
        kinds = [schema["type"] for schema in schemas]
        if "number" in kinds and "integer" in kinds:
            kinds.remove("integer")
        return {"type": kinds[0] if len(kinds) == 1 else kinds}
    nothing = {"type": "null"}
    others = [schema for schema in schemas if schema != nothing]
    if nothing in schemas and len(others) == 1 and isinstance(others[0].get("type"), str) and "enum" not in others[0]:
        return {**others[0], "type": [others[0]["type"], "null"]}
    return {"anyOf": schemas}


def _bounds(info: inspect.Type) -> Schema:
    return {word: value for name, word in _BOUNDS.items() if (value := getattr(info, name, None)) is not None}


def _items(info: inspect.ListType) -> Schema:
    bounds = {"minItems": info.min_length, "maxItems": info.max_length}
    return {word: value for word, value in bounds.items() if value is not None}


def overlay(schemas: dict[str, Schema], more: Mapping[str, Mapping[str, Schema]]) -> dict[str, Schema]:
    """`schemas` with what only code knows: schema name → field (with dots for fields within) → more keywords.

    KeyError where the struct has no such field any more.
    """
    for name, fields in more.items():
        for path, keywords in fields.items():
            place: dict[str, Any] = schemas[name]
            for step in _steps(path):
                place = place[step]
            place.update(keywords)
    return schemas


def _steps(path: str) -> Iterator[str]:
    for part in path.split(".") if path else ():
        yield from ("items",) if part == "[]" else ("properties", part)


def passed_on(schemas: Mapping[str, Schema], name: str, fields: Mapping[str, Schema]) -> None:
    """Tell of `fields` that the struct called `name` does not read: what is in them is the engine's business."""
    properties = schemas[name]["properties"]
    properties |= {key: schema for key, schema in fields.items() if key not in properties}
