"""OpenAI's objects: what its routes take and give. Requests come from the structs of `dataplane/bodies.py`."""

from dormouse_router.dataplane import bodies
from dormouse_router.openapi.derive import components, overlay, passed_on
from dormouse_router.openapi.openai import PASSED
from dormouse_router.openapi.parts import (
    ANY,
    COUNT,
    INTEGER,
    NUMBER,
    OBJECT,
    STRING,
    Schema,
    any_of,
    arr,
    const,
    nullable,
    obj,
    ref,
    said,
)

_MODEL: Schema = {"minLength": 1, "description": "A name that `GET /v1/models` lists, of a model or of a route."}
_STREAM: Schema = {"description": "Answer with server-sent events, ended by `data: [DONE]`."}


def requests() -> dict[str, Schema]:
    """What is read of each body, and the best known of what is only passed on."""
    made = components("OpenAI", bodies.Chat, bodies.Completion, bodies.Embedding)
    content = {"anyOf": [STRING, arr(ANY), {"type": "null"}], "description": "A text, or a list of content parts."}
    overlay(
        made,
        {
            "OpenAIChat": {
                "model": _MODEL,
                "messages": {"minItems": 1},
                "stream": _STREAM,
                "modalities": {"items": const("text")},
            },
            "OpenAICompletion": {"model": _MODEL, "stream": _STREAM},
            "OpenAIEmbedding": {
                "model": _MODEL,
                "input": {"description": "A text, texts, token ids, or lists of them."},
                "encoding_format": {"description": "`float` or `base64`."},
            },
            "OpenAIMessage": {"content": content, "role": {"description": "system, user, assistant, tool, ..."}},
        },
    )
    made["OpenAICompletion"]["required"].append("prompt")
    prompt = made["OpenAICompletion"]["properties"]["prompt"]["anyOf"]
    prompt.remove({"type": "null"})
    _not_empty(prompt, texts=False)
    _not_empty(made["OpenAIEmbedding"]["properties"]["input"]["anyOf"], texts=True)
    for name in ("OpenAIChat", "OpenAICompletion"):
        only_streamed(made[name])
    passed = ("tool_choice", "response_format", "reasoning_effort", "chat_template_kwargs", "structured_outputs")
    passed_on(made, "OpenAIChat", dict.fromkeys((*passed, "top_k", "min_p", "repetition_penalty"), PASSED))
    passed_on(made, "OpenAICompletion", dict.fromkeys(("suffix", "top_k", "min_p", "repetition_penalty"), PASSED))
    passed_on(made, "OpenAIMessage", dict.fromkeys(("name", "tool_calls", "tool_call_id", "reasoning"), PASSED))
    passed_on(made, "OpenAITool", {"function": PASSED})
    return made


def _not_empty(inputs: list[Schema], *, texts: bool) -> None:
    for kind in inputs:
        if kind["type"] == "array":
            kind["minItems"] = 1
        elif texts:
            kind["minLength"] = 1


def only_streamed(schema: Schema) -> None:
    """stream_options go with `"stream": true` alone."""
    streamed = {"properties": {"stream": {"const": True}}, "required": ["stream"]}
    schema["if"] = {"properties": {"stream_options": OBJECT}, "required": ["stream_options"]}
    schema["then"] = streamed


_CALL = obj(
    {"function": obj({"name": STRING, "arguments": said(STRING, "JSON, as text.")})}, {"id": STRING, "type": STRING}
)
_MESSAGE = obj(
    {"role": const("assistant")},
    {
        "content": nullable(STRING),
        "refusal": nullable(STRING),
        "reasoning": nullable(STRING),
        "tool_calls": nullable(arr(_CALL)),
    },
)
_FINISH = said(nullable(STRING), "stop, length, tool_calls or content_filter.")
_CHOICE = obj({"index": COUNT, "finish_reason": _FINISH, "message": _MESSAGE}, {"logprobs": nullable(OBJECT)})
_DELTA = obj(
    {},
    {
        "role": nullable(STRING),
        "content": nullable(STRING),
        "reasoning": nullable(STRING),
        "tool_calls": nullable(
            arr(obj({"index": COUNT}, {"id": nullable(STRING), "type": nullable(STRING), "function": OBJECT}))
        ),
    },
)
_TEXT_CHOICE = obj({"index": COUNT, "text": STRING}, {"finish_reason": nullable(STRING), "logprobs": nullable(OBJECT)})
_HEAD: dict[str, Schema] = {"id": STRING, "created": INTEGER, "model": STRING}
_COUNTED: dict[str, Schema] = {"usage": nullable(ref("OpenAIUsage")), "system_fingerprint": nullable(STRING)}
_ERROR = obj(
    {"message": STRING, "type": STRING, "param": nullable(STRING), "code": nullable(STRING)},
    description="`code` is the machine-readable word: model_not_found, model_loading, invalid_value, ...",
)

ANSWERS: dict[str, Schema] = {
    "OpenAIError": obj({"error": _ERROR}),
    "ModelError": any_of(ref("OpenAIError"), ref("AnthropicError")),
    "OpenAIUsage": obj(
        {"prompt_tokens": COUNT, "total_tokens": COUNT},
        {
            "completion_tokens": nullable(COUNT),
            "prompt_tokens_details": nullable(OBJECT),
            "completion_tokens_details": nullable(OBJECT),
        },
    ),
    "OpenAIChatAnswer": obj(
        {**_HEAD, "object": const("chat.completion"), "choices": arr(_CHOICE)},
        _COUNTED,
        "What the engine wrote; `model` is the name you used.",
    ),
    "OpenAIChatChunk": any_of(
        obj(
            {
                **_HEAD,
                "object": const("chat.completion.chunk"),
                "choices": arr(obj({"index": COUNT, "delta": _DELTA}, {"finish_reason": nullable(STRING)})),
            },
            _COUNTED,
        ),
        ref("OpenAIError"),
    ),
    "OpenAICompletionChunk": any_of(ref("OpenAICompletionAnswer"), ref("OpenAIError")),
    "OpenAICompletionAnswer": obj(
        {**_HEAD, "object": const("text_completion"), "choices": arr(_TEXT_CHOICE)},
        _COUNTED,
        "Whole, and each chunk of a stream.",
    ),
    "OpenAIEmbeddings": obj(
        {
            "object": const("list"),
            "model": STRING,
            "data": arr(
                obj(
                    {
                        "object": const("embedding"),
                        "index": COUNT,
                        "embedding": any_of(arr(NUMBER), said(STRING, "base64 of little-endian float32")),
                    }
                )
            ),
        },
        {"id": STRING, "created": INTEGER, "usage": ref("OpenAIUsage")},
    ),
}
