"""The native routes, and the objects they take and give."""

from dormouse_router.dialects.native import requests as wire
from dormouse_router.openapi import headers
from dormouse_router.openapi.derive import components, overlay
from dormouse_router.openapi.parts import (
    COUNT,
    JSON,
    NUMBER,
    STRING,
    Answer,
    Family,
    Operation,
    Schema,
    arr,
    enum,
    nullable,
    obj,
    path_parameter,
    ref,
    said,
)

FAMILY = Family(
    "Native",
    'Dormouse\'s own API: pulls as jobs, and how things stand. Errors are `{"error": sentence}`, with the field that '
    "is to blame in `param`.",
    "NativeError",
)


def requests() -> dict[str, Schema]:
    made = components("Native", wire.PullRequest)
    source: Schema = {"description": "`org/name` of the hub, or a URI such as `hf://org/name`."}
    overlay(made, {"NativePullRequest": {"model": source, "source": source}})
    return made


_JOB: dict[str, Schema] = {
    "id": STRING,
    "model": said(STRING, "metadata.name of the InferenceModel."),
    "namespace": STRING,
    "source": STRING,
    "status": said(
        enum("queued", "running", "retrying", "succeeded", "failed"),
        "retrying: it failed, and the operator tries again by itself.",
    ),
    "stage": STRING,
    "progress": said(NUMBER, "Percent of the bytes."),
    "downloaded_bytes": COUNT,
    "total_bytes": nullable(COUNT),
    "eta_seconds": nullable(NUMBER),
    "error": said(nullable(STRING), "Why it failed, with the fix."),
}
ANSWERS: dict[str, Schema] = {
    "NativeError": obj({"error": STRING}, {"param": STRING}),
    "NativeJob": obj(
        _JOB,
        {
            "revision": STRING,
            "commit": nullable(STRING),
            "quantization": STRING,
            "names": arr(STRING),
            "bytes_per_second": nullable(NUMBER),
            "created_at": STRING,
        },
    ),
    "NativeJobs": obj({"jobs": arr(ref("NativeJob"))}),
    "NativeHealth": obj({"status": STRING}),
}

OPERATIONS: tuple[Operation, ...] = (
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
                {"get_jobs_ident": ("ident", "$response.body#/id")},
            )
        },
        (*headers.POST, 404, 409),
        "Makes an InferenceModel. Asked again for the same model it is the same job.",
        "NativePullRequest",
        ("request-id",),
    ),
    Operation(
        FAMILY,
        "get",
        "/jobs",
        "List pulls",
        {200: Answer("The newest first.", {JSON: ref("NativeJobs")})},
        headers.READ,
    ),
    Operation(
        FAMILY,
        "get",
        "/jobs/{ident}",
        "Show a pull",
        {200: Answer("The job.", {JSON: ref("NativeJob")})},
        (*headers.READ, 404),
        own=(path_parameter("ident", "`id` of a job."),),
    ),
    Operation(
        FAMILY,
        "get",
        "/health",
        "Say whether the router serves",
        {200: Answer("It does.", {JSON: ref("NativeHealth")})},
        headers.READ,
        head=True,
    ),
    Operation(
        FAMILY,
        "get",
        "/metrics",
        "Numbers for Prometheus",
        {200: Answer("Prometheus' text format.", {"text/plain": STRING})},
        headers.READ,
    ),
)
