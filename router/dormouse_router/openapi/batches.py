"""The Batch API: its routes, and the objects it takes and gives."""

from dormouse_router.batch.endpoints import known
from dormouse_router.batch.lifecycle import WINDOW, Status
from dormouse_router.dialects.openai.batches import requests as wire
from dormouse_router.dialects.openai.batches import routes
from dormouse_router.openapi import headers
from dormouse_router.openapi.openai import FAMILY
from dormouse_router.openapi.parts import (
    BOOLEAN,
    COUNT,
    INTEGER,
    JSON,
    NUMBER,
    STRING,
    Answer,
    Operation,
    Schema,
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

_SECONDS: Schema = {"type": "integer", "minimum": wire.LEAST_LIFE, "maximum": wire.LONGEST_LIFE}
_METADATA: Schema = {
    "type": ["object", "null"],
    "maxProperties": wire.MOST_PAIRS,
    "propertyNames": {"maxLength": wire.MOST_KEY},
    "additionalProperties": {"type": "string", "maxLength": wire.MOST_VALUE},
}


def requests() -> dict[str, Schema]:
    expiry = obj({"anchor": const("created_at"), "seconds": _SECONDS})
    return {
        "OpenAIBatchRequest": obj(
            {
                "input_file_id": said({**STRING, "minLength": 1}, "`id` of a file with purpose `batch`."),
                "endpoint": said(enum(*known(scores=True)), "What every line of it asks."),
                "completion_window": const(WINDOW),
            },
            {
                "metadata": _METADATA,
                "output_expires_after": said(nullable(expiry), "When the files it gives expire; 30 days otherwise."),
            },
        )
    }


_MOMENTS = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
_ERROR = obj({"code": STRING, "line": nullable(INTEGER), "message": STRING, "param": nullable(STRING)})
_USAGE = obj(
    {
        "input_tokens": COUNT,
        "input_tokens_details": obj({"cached_tokens": COUNT}),
        "output_tokens": COUNT,
        "output_tokens_details": obj({"reasoning_tokens": COUNT}),
        "total_tokens": COUNT,
    }
)
_MODEL = obj(
    {"model": STRING, "total": COUNT, "open": COUNT, "held": COUNT, "state": STRING},
    description="One model's lines: all, without an answer yet, and of those being asked; what the model is doing.",
)
_PROGRESS = obj(
    {
        "lines_per_second": NUMBER,
        "output_tokens_per_second": NUMBER,
        "eta_seconds": nullable(COUNT),
        "swap_seconds": said(NUMBER, "How long it has waited for models to wake."),
        "models": arr(_MODEL),
        "note": said(nullable(STRING), "Why nothing happens, where nothing does."),
    },
    description="How it goes; only where one batch is shown.",
)
_BATCH = obj(
    {
        "id": STRING,
        "object": const("batch"),
        "endpoint": STRING,
        "model": nullable(STRING),
        "errors": nullable(obj({"object": const("list"), "data": arr(_ERROR)})),
        "input_file_id": STRING,
        "completion_window": const(WINDOW),
        "status": enum(*Status),
        "output_file_id": nullable(STRING),
        "error_file_id": nullable(STRING),
        "created_at": INTEGER,
        "expires_at": INTEGER,
        "request_counts": obj({"total": COUNT, "completed": COUNT, "failed": COUNT}),
        "usage": _USAGE,
        "metadata": nullable(mapping(STRING)),
    },
    {f"{moment}_at": INTEGER for moment in _MOMENTS} | {"dormouse": _PROGRESS},
)
ANSWERS: dict[str, Schema] = {
    "OpenAIBatch": _BATCH,
    "OpenAIBatches": obj(
        {
            "object": const("list"),
            "data": arr(ref("OpenAIBatch")),
            "first_id": nullable(STRING),
            "last_id": nullable(STRING),
            "has_more": BOOLEAN,
        }
    ),
}
_ID = path_parameter("batch_id", "`id` of a batch.")
_PAGE = (
    query_parameter(
        "limit", "Most batches of a page.", {"type": "integer", "minimum": 1, "maximum": routes.MOST_LISTED}
    ),
    query_parameter("after", "`id` of a batch: those that follow it."),
)
_ONE = {JSON: ref("OpenAIBatch")}
_LINKS = {
    "get_v1_batches_batch_id": ("batch_id", "$response.body#/id"),
    "post_v1_batches_batch_id_cancel": ("batch_id", "$response.body#/id"),
}
OPERATIONS: tuple[Operation, ...] = (
    Operation(
        FAMILY,
        "post",
        "/v1/batches",
        "Make a batch",
        {200: Answer("The batch.", _ONE, links=_LINKS)},
        (*headers.POST, 409, 429),
        "The requests of a file are answered one by one, within a day.",
        "OpenAIBatchRequest",
        ("idempotency-key",),
    ),
    Operation(
        FAMILY,
        "get",
        "/v1/batches",
        "List batches",
        {200: Answer("A page of them.", {JSON: ref("OpenAIBatches")})},
        (*headers.READ, 400, 503),
        own=_PAGE,
    ),
    Operation(
        FAMILY,
        "get",
        "/v1/batches/{batch_id}",
        "Show a batch",
        {200: Answer("The batch, and how it goes.", _ONE)},
        (*headers.READ, 404, 503),
        own=(_ID,),
    ),
    Operation(
        FAMILY,
        "post",
        "/v1/batches/{batch_id}/cancel",
        "Cancel a batch",
        {200: Answer("The batch, `cancelling`: what is under way is let end.", _ONE)},
        (*headers.POST, 404, 409),
        own=(_ID,),
    ),
)
