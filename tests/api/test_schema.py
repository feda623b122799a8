"""From pydantic to a structural schema: what the API server would refuse must not come out."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from dormouse_api import definitions
from dormouse_api.schema import structural

CRDS = [definitions.inference_models(), definitions.runtime_profiles()]


def nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every schema node below `schema`, itself included."""
    yield schema
    children = [*schema.get("properties", {}).values()]
    children += [schema[key] for key in ("items", "additionalProperties") if key in schema]
    for child in children:
        yield from nodes(child)


def schema_of(crd: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


@pytest.mark.parametrize("crd", CRDS, ids=lambda crd: crd["spec"]["names"]["plural"])
def test_nothing_the_api_server_refuses_is_left(crd: dict[str, Any]) -> None:
    banned = {"$ref", "$defs", "anyOf", "allOf", "title", "const", "exclusiveMinimum", "exclusiveMaximum"}
    for node in nodes(schema_of(crd)):
        assert not banned & node.keys(), node
        assert "type" in node
        assert node.get("default", "") is not None


@pytest.mark.parametrize("crd", CRDS, ids=lambda crd: crd["spec"]["names"]["plural"])
def test_every_string_list_and_map_of_the_spec_is_bounded(crd: dict[str, Any]) -> None:
    for node in nodes(schema_of(crd)["properties"]["spec"]):
        if node["type"] == "string":
            assert "maxLength" in node or "enum" in node, node
        elif node["type"] == "array":
            assert "maxItems" in node, node
        elif "additionalProperties" in node:
            assert "maxProperties" in node, node


@pytest.mark.parametrize("crd", CRDS, ids=lambda crd: crd["spec"]["names"]["plural"])
def test_every_rule_has_a_message(crd: dict[str, Any]) -> None:
    rules = [rule for node in nodes(schema_of(crd)) for rule in node.get("x-kubernetes-validations", ())]
    assert rules
    assert all(len(rule["message"]) > 20 for rule in rules)


def test_patterns_are_anchored() -> None:
    for crd in CRDS:
        for node in nodes(schema_of(crd)):
            pattern = node.get("pattern", "^$")
            assert (pattern[0], pattern[-1]) == ("^", "$"), pattern


class Inner(BaseModel):
    depth: Annotated[int, Field(ge=1)] = 3
    note: str | None = None


class Outer(BaseModel):
    inner: Inner = Inner()
    label: Annotated[str, Field(max_length=5)] | None = None


def test_the_default_of_a_nested_object_is_whole_and_without_nulls() -> None:
    schema = structural(Outer.model_json_schema())
    assert schema["properties"]["inner"]["default"] == {"depth": 3}
    assert schema["properties"]["inner"]["properties"]["depth"] == {
        "type": "integer",
        "default": 3,
        "minimum": 1,
        "format": "int64",
    }


def test_an_optional_field_is_optional_and_not_nullable() -> None:
    label = structural(Outer.model_json_schema())["properties"]["label"]
    assert label == {"type": "string", "maxLength": 5}


class Union(BaseModel):
    either: int | str


def test_a_union_is_refused_with_its_text() -> None:
    with pytest.raises(ValueError, match="union"):
        structural(Union.model_json_schema())
