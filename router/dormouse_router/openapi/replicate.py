"""Predictions as Replicate's clients have them, and the secret of webhooks: routes, and objects they take and give."""

from dormouse_router.dialects.replicate import requests as wire
from dormouse_router.dialects.replicate import routes
from dormouse_router.openapi import headers
from dormouse_router.openapi.derive import components
from dormouse_router.openapi.parts import (
    ANY,
    BOOLEAN,
    EVENTS,
    JSON,
    NUMBER,
    OBJECT,
    STRING,
    Answer,
    Family,
    Operation,
    Schema,
    arr,
    enum,
    mapping,
    nullable,
    obj,
    path_parameter,
    query_parameter,
    ref,
    said,
)

FAMILY = Family(
    "Replicate",
    "Predictions: made, waited for, followed, cancelled, and told of by webhooks. Any of Replicate's clients works.",
    "ReplicateError",
    ("x-request-id",),
    "application/problem+json",
)


def requests() -> dict[str, Schema]:
    return components("Replicate", wire.CreateRequest, routes.RotateRequest)


_URLS = obj({"get": STRING, "cancel": STRING, "stream": STRING})
_STATUS = enum("starting", "processing", "succeeded", "failed", "canceled")
ANSWERS: dict[str, Schema] = {
    "ReplicateError": obj(
        {"title": STRING, "detail": said(STRING, "What is wrong, and the fix."), "status": {"type": "integer"}},
        {"invalid_fields": arr(obj({"field": STRING, "description": STRING}))},
    ),
    "ReplicatePrediction": obj(
        {
            "id": STRING,
            "model": STRING,
            "version": said(STRING, "The commit of the weights."),
            "input": OBJECT,
            "output": said(ANY, "Texts, URLs of files, or what the model returns."),
            "logs": STRING,
            "error": nullable(STRING),
            "status": _STATUS,
            "created_at": STRING,
            "started_at": nullable(STRING),
            "completed_at": nullable(STRING),
            "metrics": mapping(NUMBER),
            "urls": _URLS,
        },
        {"source": STRING, "data_removed": BOOLEAN},
    ),
    "ReplicatePredictions": obj(
        {"previous": nullable(STRING), "next": nullable(STRING), "results": arr(ref("ReplicatePrediction"))}
    ),
    "ReplicateSecret": obj({"key": said(STRING, "`whsec_` and base64.")}),
}

_ID = path_parameter("prediction_id", "`id` of a prediction.")
_NAME = path_parameter("name", "Any name of a model or a route; slashes may be written as they are.")
_CURSOR = query_parameter("cursor", "Out of `next` of the page before.")
_PREFER: Schema = {
    "name": "prefer",
    "in": "header",
    "required": False,
    "description": "`wait` or `wait=SECONDS` (1 to 60): answer once it has ended. `respond-async`: 202 at once.",
    "schema": STRING,
}
_LAST: Schema = {
    "name": "last-event-id",
    "in": "header",
    "required": False,
    "description": "`id` of the last event that was seen: go on behind it.",
    "schema": STRING,
}
_ONE = {JSON: ref("ReplicatePrediction")}
_LINKS = {
    f"{method}_v1_predictions_prediction_id{rest}": ("prediction_id", "$response.body#/id")
    for method, rest in (("get", ""), ("post", "_cancel"), ("get", "_stream"))
}
_READ = (*headers.READ, 404, 503)


def _create(path: str, summary: str, *own: Schema) -> Operation:
    made = ("x-request-id", "location")
    answers = {
        201: Answer("The prediction; with `wait` as it ended.", _ONE, made, _LINKS),
        202: Answer("The prediction, which has not ended.", _ONE, made, _LINKS),
    }
    refusals = (*headers.POST, 404, 422, 429)
    about = "It waits for its model as long as that takes to wake; whoever made it need not."
    return Operation(
        FAMILY,
        "post",
        path,
        summary,
        answers,
        refusals,
        about,
        "ReplicateCreateRequest",
        ("request-id",),
        (*own, _PREFER),
    )


OPERATIONS: tuple[Operation, ...] = (
    _create("/v1/predictions", "Make a prediction"),
    _create("/v1/models/{name}/predictions", "Make a prediction of a model", _NAME),
    _create("/v1/deployments/{name}/predictions", "Make a prediction by a route", _NAME),
    Operation(
        FAMILY,
        "get",
        "/v1/predictions",
        "List predictions, the newest first",
        {200: Answer("A page of them.", {JSON: ref("ReplicatePredictions")})},
        (*headers.READ, 400, 503),
        own=(_CURSOR,),
    ),
    Operation(
        FAMILY,
        "get",
        "/v1/predictions/{prediction_id}",
        "Show a prediction",
        {200: Answer("As it is now.", _ONE)},
        _READ,
        own=(_ID,),
    ),
    Operation(
        FAMILY,
        "post",
        "/v1/predictions/{prediction_id}/cancel",
        "Cancel a prediction",
        {200: Answer("As it ended.", _ONE)},
        (*_READ, 400, 408, 413, 415),
        own=(_ID,),
    ),
    Operation(
        FAMILY,
        "get",
        "/v1/predictions/{prediction_id}/stream",
        "Follow a prediction",
        {200: Answer("`output`, `logs`, `error` and `done`; what `data` holds is text.", {EVENTS: STRING})},
        _READ,
        own=(_ID, _LAST),
    ),
    Operation(
        FAMILY,
        "get",
        "/v1/webhooks/default/secret",
        "Show the secret of webhooks",
        {200: Answer("Yours.", {JSON: ref("ReplicateSecret")})},
        (*headers.READ, 503),
    ),
    Operation(
        FAMILY,
        "post",
        "/v1/webhooks/default/secret",
        "Make a new secret of webhooks",
        {200: Answer("The new one.", {JSON: ref("ReplicateSecret")})},
        (*headers.POST, 422),
        "The one before it signs as well for a while.",
        "ReplicateRotateRequest",
        ("request-id",),
    ),
)
