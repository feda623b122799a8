"""What schemathesis is taught here: the pieces of a stream are judged, too. Loaded by it, in a process of its own."""

import functools
import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import schemathesis

from tests.router.openapi.worlds import SLEEPING

HOLD, WAKE_SECONDS = "x-dormouse-hold-seconds", 5.0
EVENTS, LINES = "text/event-stream", "application/x-ndjson"


@schemathesis.hook
def before_call(ctx: Any, case: Any, kwargs: Any) -> None:
    """Whoever calls the model that sleeps waits for it: not to wait is a 503, which the document has."""
    hold = (case.headers or {}).get(HOLD)
    try:
        brief = hold is not None and 0 <= float(hold) < WAKE_SECONDS
    except ValueError:
        return
    if brief and isinstance(case.body, dict) and case.body.get("model") == SLEEPING:
        del case.headers[HOLD]


@schemathesis.check
def pieces_conformance(ctx: Any, response: Any, case: Any) -> None:
    """Every event of a stream has data, and every line is an object, as the document says."""
    media = response.headers.get("content-type", [""])[0].partition(";")[0].strip()
    answers = case.operation.definition.raw["responses"]
    if media not in (EVENTS, LINES) or str(response.status_code) not in answers:
        return
    schema = answers[str(response.status_code)]["content"][media]["schema"]
    if media == EVENTS:
        data = schema["properties"]["data"]
        inside = data.get("anyOf", [data])[-1]
        if "contentSchema" not in inside:  # text, as it is
            assert response.content.endswith(b"\n\n"), "a stream that does not end with a whole event"
            return
        schema = inside["contentSchema"]
    judge = _validator(json.dumps(schema, sort_keys=True), json.dumps(case.operation.schema.raw_schema["components"]))
    for piece in (_data if media == EVENTS else _lines)(response.content):
        judge.validate(json.loads(piece))


@schemathesis.check
def errors_conformance(ctx: Any, response: Any, case: Any) -> None:
    """Where a document has one object for all errors, every refusal is it."""
    schema = case.operation.schema.raw_schema["components"]["schemas"].get("ErrorResponse")
    if schema is None or response.status_code < 400 or case.method.lower() not in _methods(case):
        return
    assert response.headers["content-type"] == ["application/json; charset=utf-8"]
    told = json.loads(response.content)
    jsonschema_rs.Draft202012Validator(schema).validate(told)
    assert told["error"], "an error without a word"


def _methods(case: Any) -> Any:
    return case.operation.schema.raw_schema["paths"][case.path]


@functools.lru_cache(maxsize=100)
def _validator(schema: str, components: str) -> Any:
    return jsonschema_rs.Draft202012Validator({**json.loads(schema), "components": json.loads(components)})


def _data(content: bytes) -> Iterator[bytes]:
    assert content.endswith(b"\n\n"), "a stream that does not end with a whole event"
    for event in content.split(b"\n\n")[:-1]:
        data = [line.removeprefix(b"data:").strip() for line in event.split(b"\n") if line.startswith(b"data:")]
        if data and data != [b"[DONE]"]:
            yield b"\n".join(data)


def _lines(content: bytes) -> Iterator[bytes]:
    assert content.endswith(b"\n"), "a stream that does not end with a whole line"
    yield from content.splitlines()
