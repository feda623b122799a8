"""The Responses API: its routes, and the objects it takes and gives. Requests come from the structs of its dialect."""

from dormouse_router.dialects.openai.responses import requests as wire
from dormouse_router.openapi import headers
from dormouse_router.openapi.derive import components, overlay
from dormouse_router.openapi.openai import FAMILY
from dormouse_router.openapi.openai_schemas import only_streamed
from dormouse_router.openapi.parts import (
    BOOLEAN,
    COUNT,
    EVENTS,
    INTEGER,
    JSON,
    NUMBER,
    OBJECT,
    STRING,
    Answer,
    Operation,
    Schema,
    any_of,
    arr,
    const,
    enum,
    mapping,
    nullable,
    obj,
    path_parameter,
    query_parameter,
    ref,
    said,
)


def requests() -> dict[str, Schema]:
    made = components("Response", wire.CreateRequest, wire.CountRequest)
    nothing: Schema = {"type": "null", "description": "Not kept here: anything else is refused."}
    asked: dict[str, Schema] = {
        "model": {"minLength": 1},
        "conversation": nothing,
        "prompt": nothing,
        "truncation": {"enum": ["auto", "disabled", None]},
    }
    ranges: dict[str, Schema] = {
        "temperature": _within(0, 2),
        "top_p": _within(0, 1),
        "presence_penalty": _within(-2, 2),
        "frequency_penalty": _within(-2, 2),
        "max_output_tokens": {"minimum": 1},
        "metadata": {
            "maxProperties": wire.PAIRS,
            "propertyNames": {"maxLength": wire.KEY_CHARS},
            "additionalProperties": {"type": "string", "maxLength": wire.VALUE_CHARS},
        },
    }
    overlay(made, {"ResponseCreateRequest": asked | ranges, "ResponseCountRequest": asked})
    only_streamed(made["ResponseCreateRequest"])
    return made


def _within(least: float, most: float) -> Schema:
    return {"minimum": least, "maximum": most}


_TEXT = obj({"type": const("output_text"), "text": STRING, "annotations": arr(OBJECT), "logprobs": arr(OBJECT)})
_STATUS = enum("completed", "in_progress", "incomplete")
_ITEM = any_of(
    obj(
        {
            "id": STRING,
            "type": const("message"),
            "role": const("assistant"),
            "status": _STATUS,
            "content": arr(any_of(_TEXT, obj({"type": const("refusal"), "refusal": STRING}))),
        }
    ),
    obj(
        {
            "id": STRING,
            "type": const("function_call"),
            "call_id": STRING,
            "name": STRING,
            "arguments": said(STRING, "JSON, as text."),
            "status": _STATUS,
        }
    ),
    obj({"id": STRING, "type": const("reasoning"), "summary": arr(OBJECT)}, {"content": arr(OBJECT)}),
)
_USAGE = obj(
    {
        "input_tokens": COUNT,
        "input_tokens_details": OBJECT,
        "output_tokens": COUNT,
        "output_tokens_details": OBJECT,
        "total_tokens": COUNT,
    }
)
ANSWERS: dict[str, Schema] = {
    "Response": obj(
        {
            "id": STRING,
            "object": const("response"),
            "created_at": INTEGER,
            "status": enum("completed", "failed", "in_progress", "cancelled", "queued", "incomplete"),
            "background": BOOLEAN,
            "error": nullable(obj({"code": STRING, "message": STRING})),
            "incomplete_details": nullable(obj({"reason": STRING})),
            "instructions": nullable(STRING),
            "metadata": mapping(STRING),
            "model": STRING,
            "output": arr(_ITEM),
            "parallel_tool_calls": BOOLEAN,
            "previous_response_id": nullable(STRING),
            "reasoning": OBJECT,
            "store": said(BOOLEAN, "Whether it is kept: false where that was not possible."),
            "temperature": nullable(NUMBER),
            "text": OBJECT,
            "tool_choice": any_of(STRING, OBJECT),
            "tools": arr(OBJECT),
            "top_p": nullable(NUMBER),
            "truncation": STRING,
            "usage": nullable(_USAGE),
        },
        {"completed_at": nullable(INTEGER), "user": nullable(STRING), "max_output_tokens": nullable(INTEGER)},
    ),
    "ResponseEvent": obj(
        {"type": said(STRING, "response.created, response.output_text.delta, ..."), "sequence_number": COUNT},
        {"response": ref("Response"), "item": OBJECT, "delta": STRING, "message": STRING, "code": nullable(STRING)},
    ),
    "ResponseItems": obj(
        {
            "object": const("list"),
            "data": arr(obj({"id": STRING, "type": STRING})),
            "first_id": nullable(STRING),
            "last_id": nullable(STRING),
            "has_more": BOOLEAN,
        }
    ),
    "ResponseCount": obj({"object": STRING, "input_tokens": COUNT}),
    "ResponseDeleted": obj({"id": STRING, "object": const("response"), "deleted": const(True)}),
}

_ID = path_parameter("response_id", "`id` of a response.")
_STREAM = query_parameter("stream", "Its events instead.", BOOLEAN)
_AFTER = query_parameter("starting_after", "The number of the last event that you have.", COUNT)
_PAGE = (
    query_parameter("limit", "Most items of a page.", {"type": "integer", "minimum": 1, "maximum": 100}),
    query_parameter("order", "`desc` is the newest first.", enum("asc", "desc")),
    query_parameter("after", "`id` of an item: those that follow it."),
    query_parameter("before", "`id` of an item: those before it."),
)
_STORED = (*headers.READ, 400, 404, 503)
_WHOLE = "The response, or with `stream` its events; what goes wrong after the first one is told by the last."
_IT = Answer("The response.", {JSON: ref("Response"), EVENTS: ref("ResponseEvent")})
_LINKS = {
    f"{method}_v1_responses_response_id{rest}": ("response_id", "$response.body#/id")
    for method, rest in (("get", ""), ("delete", ""), ("post", "_cancel"), ("get", "_input_items"))
}

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        FAMILY,
        "post",
        "/v1/responses",
        "Make a response",
        {200: Answer(_WHOLE, dict(_IT.contents), headers.PROVENANCE, _LINKS)},
        (*headers.CALLS, 422),
        "It is kept unless `store` is false, and can be continued with `previous_response_id`.",
        "ResponseCreateRequest",
        headers.STREAMED,
    ),
    Operation(
        FAMILY,
        "post",
        "/v1/responses/input_tokens",
        "Count the tokens of a response's input",
        {200: Answer("The count.", {JSON: ref("ResponseCount")}, headers.PROVENANCE)},
        (*headers.CALLS, 422),
        "A model that sleeps is woken for it.",
        "ResponseCountRequest",
        headers.CALL,
    ),
    Operation(
        FAMILY,
        "get",
        "/v1/responses/{response_id}",
        "Show a response",
        {200: _IT},
        _STORED,
        own=(_ID, _STREAM, _AFTER),
    ),
    Operation(
        FAMILY,
        "delete",
        "/v1/responses/{response_id}",
        "Forget a response",
        {200: Answer("It is gone.", {JSON: ref("ResponseDeleted")})},
        _STORED,
        own=(_ID,),
    ),
    Operation(
        FAMILY,
        "post",
        "/v1/responses/{response_id}/cancel",
        "Cancel a response that is made in the background",
        {200: Answer("The response.", {JSON: ref("Response")})},
        _STORED,
        own=(_ID,),
    ),
    Operation(
        FAMILY,
        "get",
        "/v1/responses/{response_id}/input_items",
        "List what was sent for a response",
        {200: Answer("A page of it.", {JSON: ref("ResponseItems")})},
        _STORED,
        own=(_ID, *_PAGE),
    ),
)
