"""Ollama's objects: what its routes take and give. Requests come from the structs of its dialect."""

from dormouse_router.dialects.ollama import options
from dormouse_router.dialects.ollama import requests as wire
from dormouse_router.dialects.ollama.gotemplate import MAX_SOURCE
from dormouse_router.openapi.derive import components, overlay
from dormouse_router.openapi.parts import (
    ANY,
    BOOLEAN,
    COUNT,
    INTEGER,
    NUMBER,
    OBJECT,
    STRING,
    Schema,
    any_of,
    arr,
    const,
    enum,
    mapping,
    nullable,
    obj,
    ref,
    said,
)

_NAME: Schema = {
    "description": "`[host/][namespace/]model[:tag]`, in any case; `:latest` may be left out. `model` goes before "
    "`name`; one of them must say something.",
}
_KEEP_ALIVE: Schema = {
    "anyOf": [NUMBER, STRING, {"type": "null"}],
    "description": 'How long the model stays awake after this call: seconds, or a duration such as "5m"; 0 puts it to '
    "sleep, a negative one keeps it awake for ever.",
}
_FORMAT: Schema = {
    "anyOf": [{"enum": ["json", "", None]}, OBJECT],
    "description": '"json", or a JSON Schema that the answer must obey.',
}
_THINK: Schema = {
    "anyOf": [BOOLEAN, {"enum": ["low", "medium", "high", "max", None]}],
    "description": "Whether the model shall think first, and how hard.",
}
_OPTIONS: Schema = {
    "description": "Sampling under Ollama's names. What means nothing here (devices, threads, mirostat) is ignored.",
}
_TEMPLATE: Schema = {
    "maxLength": MAX_SOURCE,
    "description": "A prompt in Go's template language, which the router writes instead of the engine; what `show` "
    "tells of a model means the model's own.",
}
_LOGPROBS: Schema = {"minimum": 0, "maximum": 20}


def requests() -> dict[str, Schema]:
    """The bodies, as the dialect decodes them."""
    made = components(
        "Ollama",
        wire.ChatRequest,
        wire.GenerateRequest,
        wire.EmbedRequest,
        wire.NameRequest,
        wire.CreateRequest,
        wire.CopyRequest,
    )
    call = {
        "model": _NAME,
        "keep_alive": _KEEP_ALIVE,
        "options": {**_options(), **_OPTIONS},
    }
    text = {**call, "format": _FORMAT, "think": _THINK, "top_logprobs": _LOGPROBS}
    empty = {"description": "Without it the model is only loaded, or with `keep_alive` 0 unloaded."}
    inputs: Schema = {"anyOf": [STRING, arr(STRING), {"type": "null"}], "description": "A text, or texts."}
    overlay(
        made,
        {
            "OllamaChatRequest": {**text, "messages": empty},
            "OllamaGenerateRequest": {**text, "prompt": empty, "template": _TEMPLATE},
            "OllamaEmbedRequest": {**call, "input": inputs},
            "OllamaNameRequest": {"model": _NAME},
            "OllamaCreateRequest": {
                "model": _NAME,
                "from": {"description": "The model or route it is made of."},
                "template": _TEMPLATE,
            },
            "OllamaMessage": {"role": {"description": "system, user, assistant or tool."}},
        },
    )
    older = made["OllamaEmbedRequest"]
    made["OllamaEmbeddingRequest"] = {**older, "properties": {**older["properties"], "input": said(ANY, "Ignored.")}}
    for name in ("Chat", "Generate", "Embed", "Embedding", "Name", "Create"):
        made[f"Ollama{name}Request"]["anyOf"] = [_named("model"), _named("name")]
    for name, fields in (("Copy", ("source", "destination")), ("Create", ("from",))):
        request = made[f"Ollama{name}Request"]
        request["required"] = list(fields)
        for field in fields:
            request["properties"][field].update({"type": "string", "minLength": 1})
    return made


def _named(field: str) -> Schema:
    return {"properties": {field: {"type": "string", "minLength": 1}}, "required": [field]}


def _options() -> Schema:
    """Those that are checked; any other is ignored."""
    shown: dict[str, Schema] = {}
    for name in (*options.OF_ROUTE, "num_ctx"):
        shown[name] = any_of(STRING, arr(STRING), {"type": "null"}) if name == "stop" else nullable(NUMBER)
    return {"properties": dict(sorted(shown.items()))}


_DURATIONS: dict[str, Schema] = {
    "total_duration": said(COUNT, "Nanoseconds, as all durations."),
    "load_duration": said(COUNT, "How long the call waited for its model."),
    "prompt_eval_count": said(COUNT, "Tokens of the prompt."),
    "prompt_eval_duration": COUNT,
    "eval_count": said(COUNT, "Tokens of the answer."),
    "eval_duration": COUNT,
}
_LINE: dict[str, Schema] = {"model": STRING, "created_at": STRING, "done": BOOLEAN}
_LAST: dict[str, Schema] = {
    "done_reason": said(STRING, "stop, length, load or unload."),
    "logprobs": arr(OBJECT),
    **_DURATIONS,
}
_DETAILS = obj(
    {
        "parent_model": STRING,
        "format": STRING,
        "family": STRING,
        "families": arr(STRING),
        "parameter_size": STRING,
        "quantization_level": STRING,
    },
    {"context_length": COUNT, "embedding_length": COUNT},
)
_LISTED: dict[str, Schema] = {
    "name": STRING,
    "model": STRING,
    "size": said(COUNT, "Bytes."),
    "digest": said({"type": "string", "pattern": "^[0-9a-f]{64}$"}, "Changes when other weights are served."),
    "details": _DETAILS,
}
_CALL = obj({"function": obj({"name": STRING, "arguments": OBJECT}, {"index": COUNT})}, {"id": STRING})
_REPLY = obj(
    {"role": const("assistant"), "content": STRING}, {"thinking": STRING, "tool_calls": arr(_CALL), "images": ANY}
)
_VECTOR = arr(NUMBER)

ANSWERS: dict[str, Schema] = {
    "OllamaError": obj({"error": STRING}),
    "OllamaChat": obj({**_LINE, "message": _REPLY}, _LAST, "The whole answer, and each line of a stream."),
    "OllamaGenerated": obj(
        {**_LINE, "response": STRING},
        {"thinking": STRING, "context": said(arr(INTEGER), "Send it with the next prompt to go on."), **_LAST},
        "The whole answer, and each line of a stream.",
    ),
    "OllamaEmbeddings": obj(
        {"model": STRING, "embeddings": said(arr(_VECTOR), "Each of length one.")},
        {"total_duration": COUNT, "load_duration": COUNT, "prompt_eval_count": COUNT},
    ),
    "OllamaEmbedding": obj({"embedding": _VECTOR}),
    "OllamaProgress": obj(
        {"status": STRING}, {"digest": STRING, "total": COUNT, "completed": COUNT}, "The last one says `success`."
    ),
    "OllamaTags": obj(
        {"models": arr(obj({**_LISTED, "modified_at": STRING, "capabilities": arr(STRING)}))},
    ),
    "OllamaPs": obj(
        {"models": arr(obj({**_LISTED, "expires_at": STRING, "size_vram": COUNT, "context_length": COUNT}))},
    ),
    "OllamaShown": obj(
        {
            "modelfile": STRING,
            "parameters": STRING,
            "template": STRING,
            "details": _DETAILS,
            "model_info": mapping(any_of(STRING, NUMBER)),
            "capabilities": arr(STRING),
            "modified_at": STRING,
        },
        {"system": STRING, "messages": arr(OBJECT), "license": ANY},
    ),
    "OllamaVersion": obj({"version": STRING}),
    "OllamaStatus": obj({"cloud": obj({"disabled": BOOLEAN, "source": STRING})}),
    "OllamaLine": any_of(ref("OllamaChat"), ref("OllamaError")),
    "OllamaGeneratedLine": any_of(ref("OllamaGenerated"), ref("OllamaError")),
    "OllamaProgressLine": any_of(ref("OllamaProgress"), ref("OllamaError")),
    "OllamaDone": obj({"status": enum("success")}),
}
