"""`/v1/models`: OpenAI's lists, what owners do beside them, and what Anthropic's and Replicate's clients get."""

from dataclasses import replace

from dormouse_router.dialects.openai.models import requests as wire
from dormouse_router.openapi import headers
from dormouse_router.openapi.derive import components, overlay
from dormouse_router.openapi.openai import FAMILY, NAME
from dormouse_router.openapi.parts import (
    BOOLEAN,
    COUNT,
    INTEGER,
    JSON,
    OBJECT,
    STRING,
    Answer,
    Operation,
    Schema,
    any_of,
    arr,
    const,
    enum,
    nullable,
    obj,
    path_parameter,
    ref,
    said,
)

_EITHER = replace(FAMILY, error="ModelError")
"""Whose error it is, the header `anthropic-version` decides."""
_VISIBILITY = enum("public", "team", "private")


def requests() -> dict[str, Schema]:
    made = components("OpenAIModel", wire.CreateRequest, wire.ChangeRequest)
    words: Schema = {"description": "auto, none, int4, int8, fp8, nf4, llm-int8, gptq or awq; also q4, q8, fp16."}
    overlay(made, {name: {"quantization": words} for name in ("OpenAIModelCreateRequest", "OpenAIModelChangeRequest")})
    made["OpenAIModelCreateRequest"]["anyOf"] = [
        {"properties": {field: {"type": "string", "minLength": 1}}, "required": [field]}
        for field in ("id", "source", "name")
    ]
    return made


_CARD = {"id": STRING, "object": const("model"), "created": INTEGER, "owned_by": STRING}
_MORE = {
    "max_model_len": said(COUNT, "Tokens of the context."),
    "context_length": COUNT,
    "capabilities": arr(STRING),
    "visibility": _VISIBILITY,
    "state": said(enum("awake", "waking", "asleep", "preparing", "failed"), "Of a model; a route has none."),
    "root": said(STRING, "Of an adapter: where its weights come from."),
    "parent": said(STRING, "Of an adapter: its model."),
}
_DETAILS = {
    "name": said(STRING, "metadata.name of the InferenceModel."),
    "namespace": STRING,
    "aliases": arr(STRING),
    "description": nullable(STRING),
    "team": nullable(STRING),
    "message": said(nullable(STRING), "Why it cannot be called (yet)."),
    "source": STRING,
    "revision": STRING,
    "commit": nullable(STRING),
    "quantization": STRING,
    "profile": nullable(STRING),
    "bytes": nullable(COUNT),
    "parameters": nullable(COUNT),
    "job": said(STRING, "Of its pull: GET /jobs/{id}."),
    "versions": arr(ref("OpenAIModelVersion")),
    "input_schema": said(nullable(OBJECT), "JSON Schema of a prediction's input, where it is known."),
}
_VERSION = {
    "id": said(STRING, "The commit."),
    "object": const("model.version"),
    "created": INTEGER,
    "revision": STRING,
    "quantization": nullable(STRING),
    "bytes": nullable(COUNT),
    "current": said(BOOLEAN, "Calls are answered with it."),
    "on_volume": BOOLEAN,
}
_REPLICATE_VERSION = {"id": STRING, "created_at": STRING, "cog_version": STRING, "openapi_schema": OBJECT}
_REPLICATE = {
    "url": STRING,
    "owner": STRING,
    "name": STRING,
    "description": nullable(STRING),
    "visibility": enum("public", "private"),
    "run_count": COUNT,
    "latest_version": nullable(ref("ReplicateVersion")),
}


def _page(of: str) -> Schema:
    nothing: Schema = {"type": "null"}
    return obj({"next": nothing, "previous": nothing, "results": arr(ref(of))})


ANSWERS: dict[str, Schema] = {
    "OpenAIModel": obj(_CARD, _MORE),
    "OpenAIModelDetails": obj(_CARD | _DETAILS, _MORE),
    "OpenAIDeleted": obj({"id": STRING, "object": const("model"), "deleted": const(True)}),
    "OpenAIModels": obj({"object": const("list"), "data": arr(ref("OpenAIModel"))}),
    "OpenAIModelVersion": obj(_VERSION),
    "OpenAIModelVersions": obj(
        {"object": const("list"), "data": arr(ref("OpenAIModelVersion")), "has_more": const(False)}
    ),
    "ReplicateModel": obj(_REPLICATE),
    "ReplicateModels": _page("ReplicateModel"),
    "ReplicateVersion": obj(_REPLICATE_VERSION),
    "ReplicateVersions": _page("ReplicateVersion"),
}
_IDENT = path_parameter("version", "`id` of a version: a commit.")
_OWN = any_of(ref("OpenAIModelDetails"), ref("ReplicateModel"))
_LINKS = {"get_v1_models_name": ("name", "$response.body#/id"), "delete_v1_models_name": ("name", "$response.body#/id")}
_WORDS = "Clients of Replicate, which say so in `user-agent`, have it in their shape."

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        _EITHER,
        "get",
        "/v1/models",
        "List models and routes",
        {
            200: Answer(
                "All of them.", {JSON: any_of(*map(ref, ("OpenAIModels", "AnthropicModels", "ReplicateModels")))}
            )
        },
        headers.READ,
        "Those that the caller may call, asleep or awake: listing wakes nothing. With the header `anthropic-version` "
        f"the list is Anthropic's. {_WORDS}",
        parameters=("anthropic-version",),
        head=True,
    ),
    Operation(
        FAMILY,
        "post",
        "/v1/models",
        "Register a model",
        {
            200: Answer("With `dry_run`: what it would be.", {JSON: _OWN}),
            201: Answer("It is there, and its weights are on their way.", {JSON: _OWN}, ("location",), _LINKS),
        },
        (*headers.POST, 409),
        "Makes an InferenceModel of the caller's: the same as with kubectl. `id` is a name of one's own, or org/name "
        f"of the hub. {_WORDS}",
        "OpenAIModelCreateRequest",
        ("idempotency-key",),
    ),
    Operation(
        _EITHER,
        "get",
        "/v1/models/{name}",
        "Show a model",
        {
            200: Answer(
                "It.",
                {JSON: any_of(*map(ref, ("OpenAIModelDetails", "OpenAIModel", "AnthropicModel", "ReplicateModel")))},
            )
        },
        (*headers.READ, 400, 404, 503),
        f"Of a route what lists have of it. {_WORDS}",
        parameters=("anthropic-version",),
        own=(NAME,),
        head=True,
    ),
    Operation(
        FAMILY,
        "patch",
        "/v1/models/{name}",
        "Change a model of one's own",
        {200: Answer("What it is now, or with `dry_run` would be.", {JSON: _OWN})},
        (*headers.POST, 404, 409),
        "Another `revision` becomes another version, behind the one that serves. null is the default again.",
        "OpenAIModelChangeRequest",
        own=(NAME,),
    ),
    Operation(
        FAMILY,
        "delete",
        "/v1/models/{name}",
        "Delete a model or a route",
        {
            200: Answer("It is gone, and a model's weights with it.", {JSON: ref("OpenAIDeleted")}),
            204: Answer("The same, for clients of Replicate."),
        },
        (*headers.READ, 400, 404, 409, 503),
        "A model goes for its owner and for administrators only, one without an owner for everybody.",
        own=(NAME,),
    ),
    Operation(
        FAMILY,
        "get",
        "/v1/models/{name}/versions",
        "List the versions of a model",
        {200: Answer("The newest first.", {JSON: any_of(ref("OpenAIModelVersions"), ref("ReplicateVersions"))})},
        (*headers.READ, 400, 404),
        f"The commits of its source that its volume has held. {_WORDS}",
        own=(NAME,),
        head=True,
    ),
    Operation(
        FAMILY,
        "get",
        "/v1/models/{name}/versions/{version}",
        "Show a version",
        {200: Answer("It.", {JSON: any_of(ref("OpenAIModelVersion"), ref("ReplicateVersion"))})},
        (*headers.READ, 400, 404),
        own=(NAME, _IDENT),
        head=True,
    ),
)
