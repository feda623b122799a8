"""The native routes."""

from dormouse_router.openapi import headers
from dormouse_router.openapi.parts import (
    EVENTS,
    JSON,
    STRING,
    Answer,
    Family,
    Operation,
    Schema,
    enum,
    path_parameter,
    query_parameter,
    ref,
)

FAMILY = Family(
    "Native",
    'Dormouse\'s own API: pulls as jobs, and how things stand. Errors are `{"error": sentence}`, with the field that '
    "is to blame in `param`.",
    "NativeError",
)
_NAME = path_parameter("name", "Any name of it, which may hold slashes.", {"type": "string", "minLength": 1})
_SESSION = path_parameter("ident", "`session_id` of a chat.")
_JOB = path_parameter("ident", "`id` of a job.")
_FILTER = (
    query_parameter("state", "One or more of queued, running, retrying, succeeded, failed, with commas between."),
    query_parameter("model", "A name of the model, or its source."),
    query_parameter("limit", "Most jobs of a page.", {"type": "integer", "minimum": 1, "maximum": 1000}),
    query_parameter("after", "`id` of the last job of the page before."),
)


def _read(
    path: str, summary: str, answer: str, refusals: tuple[int, ...] = (), own: tuple[Schema, ...] = ()
) -> Operation:
    ok = Answer("It.", {JSON: ref(answer)})
    return Operation(FAMILY, "get", path, summary, {200: ok}, (*headers.READ, *refusals), own=own, head=True)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        FAMILY,
        "post",
        "/chat",
        "Chat",
        {
            200: Answer(
                "The whole answer, or with `stream` its events; an error after the first one is the last event.",
                {JSON: ref("NativeChat"), EVENTS: ref("NativeChatEvent")},
                headers.PROVENANCE,
            )
        },
        (*headers.CALLS, 422),
        "With a `session_id` the history is kept here.",
        "NativeChatRequest",
        headers.STREAMED,
    ),
    _read("/sessions/{ident}", "Show what is kept of a chat", "NativeSession", (404, 503), (_SESSION,)),
    Operation(
        FAMILY,
        "delete",
        "/sessions/{ident}",
        "Forget a chat",
        {200: Answer("It is forgotten.", {JSON: ref("NativeForgotten")})},
        (*headers.READ, 404, 503),
        own=(_SESSION,),
    ),
    Operation(
        FAMILY,
        "post",
        "/pull",
        "Pull a model",
        {
            202: Answer(
                "The job.",
                {JSON: ref("NativeJob")},
                ("x-request-id", "location"),
                {
                    "get_jobs_ident": ("ident", "$response.body#/id"),
                    "delete_jobs_ident": ("ident", "$response.body#/id"),
                },
            )
        },
        (*headers.POST, 404, 409),
        "Makes an InferenceModel. Asked again for the same model it is the same job.",
        "NativePullRequest",
        ("request-id",),
    ),
    _read("/jobs", "List pulls, the newest first", "NativeJobs", (400,), _FILTER),
    _read("/jobs/{ident}", "Show a pull", "NativeJob", (404,), (_JOB,)),
    Operation(
        FAMILY,
        "delete",
        "/jobs/{ident}",
        "Cancel a pull",
        {200: Answer("The job, as it ended.", {JSON: ref("NativeJob")})},
        (*headers.READ, 404, 409, 503),
        "Deletes its InferenceModel, as long as there are no weights that this would destroy.",
        own=(_JOB,),
    ),
    _read("/models", "List models and routes", "NativeModels"),
    _read("/models/{name}", "Show a model or a route", "NativeModel", (404,), (_NAME,)),
    Operation(
        FAMILY,
        "post",
        "/models/{name}/reload",
        "Replace a model's runtime",
        {
            200: Answer("Nothing of it runs: the next start is fresh.", {JSON: ref("NativeReload")}),
            202: Answer("It is replaced; calls in flight finish.", {JSON: ref("NativeReload")}),
        },
        (*headers.READ, 400, 404, 409, 503),
        own=(_NAME,),
    ),
    Operation(
        FAMILY,
        "post",
        "/models/{name}/predict",
        "Predict",
        {
            200: Answer(
                "The output, or with `stream` its pieces as events; an error after the first one is the last event.",
                {JSON: ref("NativePrediction"), EVENTS: ref("NativePredictionEvent")},
                headers.PROVENANCE,
            )
        },
        (*headers.CALLS, 422),
        "For models with Python of their own (RuntimeProfile spec.custom). What they take is the `input_schema` of "
        "GET /models/{name}; an input that does not fit is a 422 that says where.",
        "NativePredictRequest",
        headers.STREAMED,
        own=(_NAME,),
    ),
    _read("/status", "Show engines, models, failures and configuration", "NativeStatus"),
    _read("/health", "Say whether all is well", "NativeHealth"),
    _read("/diag", "Collect what a bug report should hold", "NativeDiag"),
    Operation(
        FAMILY,
        "get",
        "/metrics",
        "Numbers for Prometheus",
        {200: Answer("Prometheus' text format.", {"text/plain": STRING})},
        headers.READ,
        head=True,
    ),
    Operation(
        FAMILY,
        "get",
        "/metrics/gpu",
        "What engines hold of their accelerators",
        {200: Answer("JSON, or for Prometheus its format.", {JSON: ref("NativeAccelerators"), "text/plain": STRING})},
        (*headers.READ, 400),
        own=(query_parameter("format", "Else the header `accept` decides.", enum("json", "prometheus")),),
        head=True,
    ),
)
