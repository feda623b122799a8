"""Anthropic's routes, and the objects they take and give. Requests come from the structs of its dialect."""

from dormouse_router.dialects.anthropic import requests as wire
from dormouse_router.openapi import headers
from dormouse_router.openapi.derive import components, overlay
from dormouse_router.openapi.parts import (
    ANY,
    BOOLEAN,
    COUNT,
    EVENTS,
    JSON,
    OBJECT,
    STRING,
    Answer,
    Family,
    Operation,
    Schema,
    any_of,
    arr,
    const,
    enum,
    nullable,
    obj,
    ref,
    said,
)

FAMILY = Family(
    "Anthropic",
    "Anthropic's Messages API, with tools, thinking and images. Every header of its SDKs is taken.",
    "AnthropicError",
    ("request-id",),
)


def requests() -> dict[str, Schema]:
    made = components("Anthropic", wire.MessagesRequest, wire.CountRequest)
    model: Schema = {"minLength": 1, "description": "A name that `GET /v1/models` lists."}
    both = {"model": model, "messages": {"minItems": 1}}
    schema = said(OBJECT, "A JSON Schema.")
    overlay(
        made,
        {
            "AnthropicMessagesRequest": {
                **both,
                "max_tokens": {"minimum": 1},
                "temperature": {"minimum": 0, "maximum": 2},
                "top_p": {"minimum": 0, "maximum": 1},
            },
            "AnthropicCountRequest": both,
            "AnthropicTool": {"input_schema": schema},
            "AnthropicThinking": {"type": {"enum": ["enabled", "disabled", "adaptive"]}},
            "AnthropicToolChoice": {"type": {"description": "auto, any, tool or none; read where there are tools."}},
            "AnthropicFormat": {"schema": {"description": "A JSON Schema."}},
            "AnthropicTurn": {"role": {"enum": ["user", "assistant", "system"]}},
        },
    )
    return made


_TEXT = obj({"type": const("text"), "text": STRING}, {"citations": ANY})
_THINKING = obj({"type": const("thinking"), "thinking": STRING, "signature": STRING})
_TOOL = obj({"type": const("tool_use"), "id": STRING, "name": STRING, "input": OBJECT})
_USAGE = obj({"input_tokens": COUNT, "output_tokens": COUNT}, {"cache_read_input_tokens": nullable(COUNT)})
_REASON = nullable(STRING)

ANSWERS: dict[str, Schema] = {
    "AnthropicError": obj(
        {"type": const("error"), "error": obj({"type": STRING, "message": STRING}), "request_id": STRING}
    ),
    "AnthropicMessage": obj(
        {
            "id": STRING,
            "type": const("message"),
            "role": const("assistant"),
            "model": STRING,
            "content": arr(any_of(_TEXT, _THINKING, _TOOL)),
            "stop_reason": said(_REASON, "end_turn, max_tokens, stop_sequence or tool_use."),
            "stop_sequence": nullable(STRING),
            "usage": _USAGE,
        }
    ),
    "AnthropicEvent": obj(
        {
            "type": enum(
                "message_start",
                "content_block_start",
                "content_block_delta",
                "content_block_stop",
                "message_delta",
                "message_stop",
                "ping",
                "error",
            )
        },
        {
            "index": COUNT,
            "message": ref("AnthropicMessage"),
            "content_block": OBJECT,
            "delta": OBJECT,
            "usage": OBJECT,
            "error": OBJECT,
        },
    ),
    "AnthropicCount": obj({"input_tokens": COUNT}),
    "AnthropicModel": obj(
        {"type": const("model"), "id": STRING, "display_name": STRING, "created_at": STRING},
        {"lifecycle": STRING, "max_input_tokens": COUNT, "max_tokens": COUNT},
    ),
    "AnthropicModels": obj(
        {
            "data": arr(ref("AnthropicModel")),
            "has_more": BOOLEAN,
            "first_id": nullable(STRING),
            "last_id": nullable(STRING),
        }
    ),
}

_HEADERS = (*headers.PROVENANCE, "request-id")
OPERATIONS: tuple[Operation, ...] = (
    Operation(
        FAMILY,
        "post",
        "/v1/messages",
        "Send messages",
        {
            200: Answer(
                "The message, or with `stream` its events; an error after the first one is the last event.",
                {JSON: ref("AnthropicMessage"), EVENTS: ref("AnthropicEvent")},
                _HEADERS,
            )
        },
        (*headers.CALLS, 422),
        body="AnthropicMessagesRequest",
        parameters=(*headers.STREAMED, "anthropic-version"),
    ),
    Operation(
        FAMILY,
        "post",
        "/v1/messages/count_tokens",
        "Count the tokens of messages",
        {200: Answer("The count, by the model's own tokenizer.", {JSON: ref("AnthropicCount")}, _HEADERS)},
        (*headers.CALLS, 422),
        "A model that sleeps is woken for it.",
        "AnthropicCountRequest",
        (*headers.CALL, "anthropic-version"),
    ),
)
