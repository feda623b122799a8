"""What a prediction of a model takes and gives, as JSON Schema, so that a client can make a form of it. Pure.

Custom models say it themselves, from their first start on. Of all others it is derived from what decodes their inputs.
"""

import functools
from typing import Any

import msgspec
from msgspec import Struct

from dormouse_router.catalog.record import Record
from dormouse_router.dialects.replicate.inputs import ImageInput, TextInput, kind_of
from dormouse_router.request import Refusal

Schema = dict[str, Any]
_ABOUT = {
    "prompt": "What to answer, to go on from, or to draw.",
    "system_prompt": "How to answer.",
    "messages": "A whole conversation; prompt is then its last turn, if there is one.",
    "image": "URLs of pictures, data URLs among them, for models that see.",
    "prompt_template": "The finished prompt, with {prompt} in it, in place of the model's own template.",
    "max_tokens": "Most tokens of the answer.",
    "temperature": "How much chance there is in it: 0 is none.",
    "stop_sequences": "Texts that end the answer; in one text, with commas in between.",
    "seed": "The same seed gives the same again, as far as the engine can.",
    "negative_prompt": "What to leave out.",
    "num_outputs": "How many pictures.",
}


def input_schema(record: Record) -> Schema | None:
    """None of a custom model that has not started yet, of what takes no predictions, and where nothing is known."""
    kind = _kind(record)
    if kind == "custom":
        return declared(record)
    if kind == "text":
        return _described(TextInput) | {"anyOf": [{"required": ["prompt"]}, {"required": ["messages"]}]}
    return None if kind is None else _described(ImageInput)


def output_schema(record: Record) -> Schema:
    """What `output` is once it has succeeded."""
    kind = _kind(record)
    if kind == "text":
        return {"type": "array", "items": {"type": "string"}, "x-cog-array-type": "iterator"}
    return {"type": "array", "items": {"type": "string", "format": "uri"}} if kind == "image" else {}


def declared(record: Record) -> Schema | None:
    """What a custom model says of itself; None before its first start, or where that is no schema."""
    engine = record.status.engine
    try:
        said = msgspec.json.decode(engine.input_schema) if engine and engine.input_schema else None
    except (msgspec.DecodeError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _kind(record: Record) -> str | None:
    try:
        return kind_of(record, record.name)
    except Refusal:
        return None


@functools.cache
def _described(kind: type[Struct]) -> Schema:
    made = msgspec.json.schema(kind)["$defs"][kind.__name__]
    fields = {
        name: _plain(field) | {"x-order": place} | ({"description": _ABOUT[name]} if name in _ABOUT else {})
        for place, (name, field) in enumerate(made["properties"].items())
    }
    return {"type": "object", "title": "Input", "properties": fields, "required": made.get("required", [])}


def _plain(field: Schema) -> Schema:
    """Without the null, which says no more than that it may be left out."""
    kinds = [each for each in field.get("anyOf", [field]) if each != {"type": "null"}]
    return dict(kinds[0]) if len(kinds) == 1 else {"anyOf": kinds}
