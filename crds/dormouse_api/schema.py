"""From pydantic to a structural OpenAPI v3 schema that the API server takes as a CRD.

The API server wants less than JSON Schema gives: no $ref, no titles, no null types, no `const`, no numeric exclusive
bounds, and defaults only where they validate (KEP-1979 structural schemas). Knows nothing of any particular object.
"""

from typing import Any

Schema = dict[str, Any]


def rules(*pairs: tuple[str, str]) -> Schema:
    """`json_schema_extra` for CEL validation: (rule, message that says the fix) pairs."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def structural(schema: Schema) -> Schema:
    """The structural form of a `model_json_schema(by_alias=True)` document. ValueError on what cannot be one."""
    return _node(schema, schema.get("$defs", {}))


def _node(node: Schema, defs: dict[str, Schema]) -> Schema:
    node = _resolve(node, defs)
    out: Schema = {}
    for key in (
        "type",
        "format",
        "description",
        "default",
        "enum",
        "pattern",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "required",
    ):
        if key in node:
            out[key] = node[key]
    out |= {key: value for key, value in node.items() if key.startswith("x-kubernetes-")}
    if isinstance(out.get("default"), dict):
        # the API server checks CEL rules on the default before it fills in nested ones: it must be whole, without nulls
        out["default"] = {key: value for key, value in out["default"].items() if value is not None}
    if "const" in node:
        out["enum"] = [node["const"]]
    if "properties" in node:
        out["properties"] = {name: _node(child, defs) for name, child in node["properties"].items()}
    if "items" in node:
        out["items"] = _node(node["items"], defs)
    if isinstance(node.get("additionalProperties"), dict):
        out["additionalProperties"] = _node(node["additionalProperties"], defs)
    if out.get("type") == "integer" and "format" not in out:
        out["format"] = "int64"
    if "type" not in out:
        raise ValueError(f"not structural: {node}")
    return out


def _resolve(node: Schema, defs: dict[str, Schema]) -> Schema:
    """`node` with its $ref, its single allOf and its `or null` folded in; what stands beside a $ref wins."""
    node = dict(node)
    if options := node.pop("anyOf", None):
        kept = [option for option in options if option.get("type") != "null"]
        if len(kept) != 1:
            raise ValueError(f"a union has no structural form: {options}")
        node = {**kept[0], **node}
        if node.get("default", "") is None:
            del node["default"]
    if ref := node.pop("$ref", None):
        return _resolve({**defs[ref.rsplit("/", 1)[1]], **node}, defs)
    return node


def crd(kind: str, plural: str, group: str, version: Schema, **names: Any) -> Schema:
    """A CustomResourceDefinition with one served and stored version. `names`: scope, categories, shortNames."""
    scope = names.pop("scope", "Namespaced")
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower(), **names},
            "versions": [version],
        },
    }
