"""JSON that fits a schema, made up from the prompt: arguments of tools, structured answers. Pure."""

import re
from typing import Any

Schema = dict[str, Any]
_QUOTED = re.compile(r"[\"']([^\"']+)[\"']")
_DEEPEST = 8
_PLAIN: dict[str, object] = {"number": 1.5, "boolean": True, "null": None}


def wanted(body: dict[str, Any], prompt: str) -> Schema | None:
    """The schema that the answer must fit, if one is asked for; that of JSON mode has the keys the prompt quotes."""
    form = body.get("response_format") or {}
    told = (body.get("structured_outputs") or {}).get("json")
    if form.get("type") == "json_schema":
        told = (form.get("json_schema") or {}).get("schema") or {}
    if form.get("type") == "json_object":
        keys = _QUOTED.findall(prompt) or ["answer"]
        return {"type": "object", "properties": {key: {"type": "string"} for key in keys}}
    return told if isinstance(told, dict) else None


def made_up(schema: Schema, prompt: str) -> object:
    """A value that fits. Strings take what the prompt quotes first, else its last word; integers its first number."""
    return _value(schema, prompt, schema.get("$defs") or {}, 0)


def _value(part: Schema, prompt: str, known: dict[str, Schema], depth: int) -> object:
    if "$ref" in part:
        part = known[str(part["$ref"]).rsplit("/", 1)[-1]]
    for word in ("anyOf", "oneOf", "allOf"):
        if part.get(word):
            part = part[word][0]
    if part.get("enum"):
        return part["enum"][0]
    if "const" in part:
        return part["const"]
    kind = part.get("type") or ("object" if "properties" in part else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return _object(part, prompt, known, depth)
    if kind == "array":
        return [_value(part.get("items") or {}, prompt, known, depth + 1)] if part.get("minItems") else []
    if kind == "integer":
        return int((re.findall(r"-?\d+", prompt) or ["1"])[0])
    return _PLAIN[kind] if kind in _PLAIN else _words(prompt)


def _object(part: Schema, prompt: str, known: dict[str, Schema], depth: int) -> dict[str, object]:
    if depth > _DEEPEST:
        raise ValueError("the schema goes too deep to be made up")
    parts = part.get("properties") or {}
    return {
        name: _value(parts.get(name) or {}, prompt, known, depth + 1) for name in part.get("required") or list(parts)
    }


def _words(prompt: str) -> str:
    quoted = _QUOTED.findall(prompt)
    words: list[str] = quoted[:1] or re.findall(r"\w+", prompt)[-1:] or ["nothing"]
    return words[0]
