"""The native API's objects: what its routes take and give. Requests come from the structs of its dialect."""

from dormouse_router.dialects.native import chat_requests as chat
from dormouse_router.dialects.native import predict
from dormouse_router.dialects.native import requests as wire
from dormouse_router.openapi.derive import components, overlay
from dormouse_router.openapi.parts import (
    ANY,
    BOOLEAN,
    COUNT,
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


def requests() -> dict[str, Schema]:
    made = components("Native", wire.PullRequest, chat.ChatRequest, predict.PredictRequest)
    source: Schema = {"description": "`org/name` of the hub, or a URI such as `hf://org/name`."}
    ranges: dict[str, Schema] = {
        name: {"minimum": least, "maximum": most} for name, (least, most) in chat.RANGES.items()
    }
    said_once: Schema = {"description": "What to say: one of `messages`, `prompt` and `message`."}
    overlay(
        made,
        {
            "NativePullRequest": {"model": source, "source": source},
            "NativeChatRequest": ranges
            | {
                "model": {"type": "string", "minLength": 1},
                "messages": said_once,
                "session_id": {"minLength": 1, "maxLength": 256},
                "timeout": {"description": "Seconds for all of it, the wait for a sleeping model included."},
            },
        },
    )
    made["NativeChatRequest"]["required"] = ["model"]
    made["NativePredictRequest"]["required"] = ["input"]
    made["NativePullRequest"]["anyOf"] = [
        {"properties": {field: {"type": "string", "minLength": 1}}, "required": [field]}
        for field in ("model", "source")
    ]
    return made


_JOB: dict[str, Schema] = {
    "id": STRING,
    "model": said(STRING, "metadata.name of the InferenceModel."),
    "namespace": STRING,
    "source": STRING,
    "revision": STRING,
    "quantization": STRING,
    "init": said(BOOLEAN, "Whether it starts once its weights are here."),
    "status": said(
        enum("queued", "running", "retrying", "succeeded", "failed", "cancelled"),
        "retrying: it failed, and the operator tries again by itself.",
    ),
    "stage": STRING,
    "progress": said(NUMBER, "Percent of the bytes."),
    "downloaded_bytes": COUNT,
    "total_bytes": nullable(COUNT),
    "eta_seconds": nullable(NUMBER),
    "error": said(nullable(STRING), "Why it failed, with the fix."),
}
_STATE = enum("awake", "waking", "asleep", "preparing", "failed")
_MODEL: dict[str, Schema] = {
    "name": STRING,
    "namespace": STRING,
    "names": said(arr(STRING), "What clients may call it."),
    "loaded": BOOLEAN,
    "state": _STATE,
    "stage": nullable(STRING),
    "message": nullable(STRING),
    "eta_seconds": said(nullable(NUMBER), "Until it could answer."),
    "backend": said(nullable(STRING), "The engine."),
    "device": nullable(STRING),
    "profile": nullable(STRING),
    "quantization": STRING,
    "size_bytes": nullable(COUNT),
    "parameters": nullable(COUNT),
    "context_length": nullable(COUNT),
    "capabilities": arr(STRING),
    "load_seconds": said(nullable(NUMBER), "How long its last start took."),
    "loaded_at": nullable(STRING),
    "last_used_at": nullable(STRING),
    "in_flight": COUNT,
    "held": COUNT,
    "source": STRING,
    "revision": STRING,
    "commit": nullable(STRING),
    "created_at": STRING,
    "job": said(STRING, "The id of its pull."),
}
_ROUTE = obj({"name": STRING, "namespace": STRING, "names": arr(STRING), "models": arr(STRING), "created_at": STRING})
_ENGINE = obj(
    {
        "model": STRING,
        "namespace": STRING,
        "host": STRING,
        "accelerators": arr(OBJECT),
        "error": nullable(STRING),
    },
    {"backend": nullable(STRING), "device": nullable(STRING)},
)
_STATUS: dict[str, Schema] = {
    "status": enum("healthy", "degraded"),
    "reasons": arr(STRING),
    "version": STRING,
    "uptime_seconds": NUMBER,
}
_OVERVIEW: dict[str, Schema] = {
    **_STATUS,
    "pod": STRING,
    "time": STRING,
    "models": said(mapping(arr(STRING)), "Names by state."),
    "engines": arr(_ENGINE),
    "failed_loads": arr(
        obj({"model": STRING, "reason": STRING, "message": STRING, "cooldown_seconds": nullable(NUMBER)})
    ),
    "unreachable_engines": arr(OBJECT),
    "configuration": OBJECT,
}
_ENDED: dict[str, Schema] = {
    "model": STRING,
    "created_at": STRING,
    "done_reason": STRING,
    "total_duration": said(COUNT, "Nanoseconds, as all durations."),
    "load_duration": COUNT,
    "prompt_eval_count": COUNT,
    "prompt_eval_duration": COUNT,
    "eval_count": COUNT,
    "eval_duration": COUNT,
}
_SAID = obj({"content": STRING}, {"role": STRING, "thinking": STRING, "tool_calls": arr(OBJECT)})
ANSWERS: dict[str, Schema] = {
    "NativeChat": obj({"message": _SAID, "done": const(True), **_ENDED}),
    "NativeChatEvent": any_of(
        obj({"delta": _SAID, "done": BOOLEAN}, _ENDED, "The last one is `done`."),
        obj({"error": STRING, "status": COUNT}),
    ),
    "NativeSession": obj({"session_id": STRING, "messages": arr(OBJECT)}),
    "NativeForgotten": obj({"session_id": STRING, "deleted": const(True)}),
    "NativeError": obj({"error": STRING}, {"param": STRING}),
    "NativeJob": obj(
        _JOB,
        {
            "commit": nullable(STRING),
            "names": arr(STRING),
            "stage_progress": nullable(NUMBER),
            "bytes_per_second": nullable(NUMBER),
            "created_at": STRING,
            "started_at": nullable(STRING),
            "finished_at": nullable(STRING),
        },
    ),
    "NativeJobs": obj({"jobs": arr(ref("NativeJob")), "has_more": BOOLEAN}),
    "NativeModels": obj({"models": arr(obj(_MODEL)), "routes": arr(_ROUTE)}),
    "NativeModel": any_of(obj({**_MODEL, "scaling": OBJECT, "conditions": arr(OBJECT), "starts": arr(OBJECT)}), _ROUTE),
    "NativePrediction": obj({"output": ANY}, {"model": STRING, "seconds": NUMBER}),
    "NativePredictionEvent": any_of(
        obj({"output": ANY}),
        obj({"done": const(True)}, {"seconds": NUMBER, "list": BOOLEAN}),
        obj({"error": STRING, "status": COUNT}),
    ),
    "NativeReload": obj(
        {"model": STRING, "namespace": STRING, "watch": STRING, "status": STRING, "message": STRING},
        {"requested_at": STRING, "in_flight": COUNT},
    ),
    "NativeHealth": obj(
        {
            **_STATUS,
            "models": COUNT,
            "awake": COUNT,
            "awake_limit": nullable(COUNT),
            "pulls": obj({"active": COUNT, "queued": COUNT}),
            "accelerator_memory": nullable(obj({"used_bytes": COUNT, "total_bytes": COUNT})),
        }
    ),
    "NativeStatus": obj(_OVERVIEW),
    "NativeDiag": obj({**_OVERVIEW, "versions": mapping(STRING), "process": OBJECT, "watches": arr(OBJECT)}),
    "NativeAccelerators": obj({"engines": arr(_ENGINE)}),
}
