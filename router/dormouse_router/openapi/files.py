"""The Files and Uploads API: its routes, and the objects it takes and gives."""

from dormouse_router.dialects.openai.files import purposes, routes
from dormouse_router.dialects.openai.files import uploads as wire
from dormouse_router.openapi import headers
from dormouse_router.openapi.derive import components, overlay
from dormouse_router.openapi.openai import FAMILY
from dormouse_router.openapi.parts import (
    BOOLEAN,
    COUNT,
    INTEGER,
    JSON,
    STRING,
    Answer,
    Operation,
    Schema,
    arr,
    const,
    enum,
    nullable,
    obj,
    path_parameter,
    query_parameter,
    ref,
    said,
)

BYTES = "application/octet-stream"
_BINARY: Schema = {"type": "string", "format": "binary"}
_PURPOSE = enum(*purposes.CLIENTS)
_SECONDS: Schema = {"type": "integer", "minimum": purposes.LEAST_LIFE, "maximum": purposes.LONGEST_LIFE}


def requests() -> dict[str, Schema]:
    made = components("OpenAI", wire.UploadRequest, wire.CompleteRequest)
    expiry = {"OpenAIExpiresAfter": {"anchor": {"enum": ["created_at"]}, "seconds": dict(_SECONDS)}}
    least = {"minimum": 1}
    overlay(made, {"OpenAIUploadRequest": {"purpose": dict(_PURPOSE), "bytes": least}} | expiry)
    made["OpenAIFileForm"] = obj(
        {"purpose": _PURPOSE, "file": said(_BINARY, "For `batch` its name must end with .jsonl.")},
        {"expires_after[anchor]": const("created_at"), "expires_after[seconds]": _SECONDS},
    )
    made["OpenAIPartForm"] = obj({"data": said(_BINARY, "At most 64 MiB.")})
    return made


_FILE = obj(
    {
        "id": STRING,
        "object": const("file"),
        "bytes": COUNT,
        "created_at": INTEGER,
        "filename": STRING,
        "purpose": enum(*purposes.CLIENTS, *purposes.OURS_TO_GIVE),
        "status": const("processed"),
    },
    {"expires_at": INTEGER},
)
ANSWERS: dict[str, Schema] = {
    "OpenAIFile": _FILE,
    "OpenAIFiles": obj(
        {
            "object": const("list"),
            "data": arr(ref("OpenAIFile")),
            "first_id": nullable(STRING),
            "last_id": nullable(STRING),
            "has_more": BOOLEAN,
        }
    ),
    "OpenAIFileDeleted": obj({"id": STRING, "object": const("file"), "deleted": const(True)}),
    "OpenAIUpload": obj(
        {
            "id": STRING,
            "object": const("upload"),
            "bytes": COUNT,
            "created_at": INTEGER,
            "expires_at": INTEGER,
            "filename": STRING,
            "purpose": STRING,
            "status": enum("pending", "completed", "cancelled", "expired"),
            "file": nullable(ref("OpenAIFile")),
        }
    ),
    "OpenAIUploadPart": obj({"id": STRING, "object": const("upload.part"), "created_at": INTEGER, "upload_id": STRING}),
}

_ID = path_parameter("file_id", "`id` of a file.")
_UPLOAD = path_parameter("upload_id", "`id` of an upload.")
_PAGE = (
    query_parameter("purpose", "Only files for this.", STRING),
    query_parameter("limit", "Most files of a page.", {"type": "integer", "minimum": 1, "maximum": routes.MOST_LISTED}),
    query_parameter("order", "`desc` is the newest first.", enum("asc", "desc")),
    query_parameter("after", "`id` of a file: those that follow it."),
)
_RANGE = {
    "name": "range",
    "in": "header",
    "required": False,
    "description": "`bytes=FIRST-LAST`: only these. Other forms, and several ranges, give the whole.",
    "schema": STRING,
}
_READ = (*headers.READ, 400, 404, 503)
_WRITE = (*headers.POST, 507)
_LINKS = {
    f"{method}_v1_files_file_id{rest}": ("file_id", "$response.body#/id")
    for method, rest in (("get", ""), ("delete", ""), ("get", "_content"))
}
_MADE = {200: Answer("The file.", {JSON: ref("OpenAIFile")}, links=_LINKS)}
_STATUS = {200: Answer("The upload.", {JSON: ref("OpenAIUpload")})}
_CONTENT = {
    200: Answer("Its bytes.", {BYTES: _BINARY}),
    206: Answer("Those that were asked for.", {BYTES: _BINARY}),
}


def _upload(rest: str, summary: str, answer: dict[int, Answer], body: str | None, *, form: bool = False) -> Operation:
    refusals = (*_WRITE, 404, 409)
    path = f"/v1/uploads/{{upload_id}}/{rest}"
    return Operation(FAMILY, "post", path, summary, answer, refusals, body=body, own=(_UPLOAD,), form=form)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        FAMILY,
        "post",
        "/v1/files",
        "Upload a file",
        _MADE,
        _WRITE,
        "It is there, and no crash loses it, once this has answered. Those for `batch` expire after 30 days.",
        "OpenAIFileForm",
        form=True,
    ),
    Operation(
        FAMILY,
        "get",
        "/v1/files",
        "List files",
        {200: Answer("A page of them.", {JSON: ref("OpenAIFiles")})},
        (*headers.READ, 400, 503),
        own=_PAGE,
    ),
    Operation(
        FAMILY,
        "get",
        "/v1/files/{file_id}",
        "Show a file",
        {200: Answer("The file.", {JSON: ref("OpenAIFile")})},
        _READ,
        own=(_ID,),
    ),
    Operation(
        FAMILY,
        "get",
        "/v1/files/{file_id}/content",
        "Read a file",
        _CONTENT,
        (*_READ, 416),
        own=(_ID, _RANGE),
    ),
    Operation(
        FAMILY,
        "delete",
        "/v1/files/{file_id}",
        "Delete a file",
        {200: Answer("It is gone.", {JSON: ref("OpenAIFileDeleted")})},
        _READ,
        own=(_ID,),
    ),
    Operation(
        FAMILY,
        "post",
        "/v1/uploads",
        "Announce a file that comes in parts",
        _STATUS,
        _WRITE,
        "It takes parts for an hour.",
        "OpenAIUploadRequest",
    ),
    _upload(
        "parts",
        "Send a part",
        {200: Answer("The part.", {JSON: ref("OpenAIUploadPart")})},
        "OpenAIPartForm",
        form=True,
    ),
    _upload("complete", "Make the file of its parts", _STATUS, "OpenAICompleteRequest"),
    _upload("cancel", "Give the upload up", _STATUS, None),
)
