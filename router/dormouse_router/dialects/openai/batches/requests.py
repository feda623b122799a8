"""What a client may ask with POST /v1/batches, and what it is told otherwise. Pure.

Codes and words are OpenAI's, as recorded from it.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from dormouse_router.batch.lifecycle import WINDOW
from dormouse_router.batching import BatchDraft
from dormouse_router.request import Refusal

MOST_PAIRS, MOST_KEY, MOST_VALUE = 16, 64, 512
LEAST_LIFE, LONGEST_LIFE = 3600, 30 * 86400
MOST_SHOWN = 80
_ARTICLES = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def draft(body: bytes, owner: str, endpoints: Collection[str], repeat: str | None) -> BatchDraft:
    """The batch that is asked for. `repeat`: what the client calls this request, so that sent twice it is made once.
    Refusal 400."""
    asked = _object(body)
    file, endpoint = _text(asked, "input_file_id"), _text(asked, "endpoint")
    window = _text(asked, "completion_window")
    _one_of("endpoint", endpoint, endpoints)
    _one_of("completion_window", window, (WINDOW,))
    lives = _life(asked.get("output_expires_after"))
    return BatchDraft(owner, endpoint, file, _metadata(asked.get("metadata")), lives, _ident(owner, repeat))


def _object(body: bytes) -> dict[str, Any]:
    try:
        asked = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"We could not parse the JSON body of your request: {error}.") from None
    if not isinstance(asked, dict):
        raise Refusal(400, "The body of your request must be a JSON object.")
    return asked


def _text(asked: Mapping[str, Any], name: str) -> str:
    value = asked.get(name)
    if value is None or value == "":
        raise Refusal(400, f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name)
    if not isinstance(value, str):
        raise _type(name, "a string", value)
    return value


def _one_of(name: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        listed = _listed([f"'{each}'" for each in known])
        text = f"Invalid value: '{value[:MOST_SHOWN]}'. Supported values are: {listed}."
        raise Refusal(400, text, code="invalid_value", param=name)


def _listed(values: list[str]) -> str:
    return values[0] if len(values) == 1 else f"{', '.join(values[:-1])}, and {values[-1]}"


def _metadata(value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _type("metadata", "an object", value)
    if len(value) > MOST_PAIRS:
        text = (
            f"Invalid 'metadata': too many properties. Expected an object with at most {MOST_PAIRS} properties, but "
            f"got an object with {len(value)} properties instead."
        )
        raise Refusal(400, text, code="object_above_max_properties", param="metadata")
    for key, each in value.items():
        _pair(key, each)
    return value


def _pair(key: str, value: Any) -> None:
    place = f"metadata.{key[:MOST_SHOWN]}"
    if len(key) > MOST_KEY:
        text = f"Invalid property name in 'metadata': '{key[:MOST_SHOWN]}' has more than {MOST_KEY} characters."
        raise Refusal(400, text, code="string_above_max_length", param="metadata")
    if not isinstance(value, str):
        raise _type(place, "a string", value)
    if len(value) > MOST_VALUE:
        text = (
            f"Invalid '{place}': string too long. Expected a string with maximum length {MOST_VALUE}, but got a string "
            f"with length {len(value)} instead."
        )
        raise Refusal(400, text, code="string_above_max_length", param=place)


def _life(value: Any) -> int | None:
    """Seconds that output files live."""
    name = "output_expires_after"
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _type(name, "an object", value)
    anchor, seconds = value.get("anchor"), value.get("seconds")
    if anchor is None:
        _text(value, f"{name}.anchor")
    _one_of(f"{name}.anchor", str(anchor), ("created_at",))
    if seconds is None:
        _text(value, f"{name}.seconds")
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        raise _type(f"{name}.seconds", "an integer", seconds)
    if not LEAST_LIFE <= seconds <= LONGEST_LIFE:
        kind, way = ("below", "minimum") if seconds < LEAST_LIFE else ("above", "maximum")
        bound = LEAST_LIFE if seconds < LEAST_LIFE else LONGEST_LIFE
        comparison = ">=" if seconds < LEAST_LIFE else "<="
        text = (
            f"Invalid '{name}.seconds': integer {kind} {way} value. Expected a value {comparison} {bound}, but got "
            f"{seconds} instead."
        )
        raise Refusal(400, text, code=f"integer_{kind}_{way[:3]}_value", param=f"{name}.seconds")
    return seconds


def _type(name: str, wanted: str, value: Any) -> Refusal:
    text = f"Invalid type for '{name}': expected {wanted}, but got {_ARTICLES[type(value)]} instead."
    return Refusal(400, text, code="invalid_type", param=name)


def _ident(owner: str, repeat: str | None) -> str | None:
    """The id of a batch that may be asked for twice: the owner's, and as hard to guess as the client's own word."""
    if not repeat:
        return None
    return f"batch_{hashlib.sha256(f'{len(owner)}:{owner}{repeat}'.encode()).hexdigest()[:32]}"
