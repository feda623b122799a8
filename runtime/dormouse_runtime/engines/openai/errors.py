"""Errors in OpenAI's shape, for every server of this package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException


class ApiError(Exception):
    """A refusal: status, OpenAI's type and code, the field to blame, and the words."""

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.code, self.param = status, message, kind, code, param


def install(app: FastAPI) -> None:
    """Word every refusal of `app`."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)


def invalid(errors: Sequence[Any]) -> ApiError:
    """What pydantic says of a body: the first of its errors."""
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body")
    words = str(first["msg"]).removeprefix("Value error, ")
    return ApiError(400, f"{place}: {words}" if place else words, param=place or None)


def answer(error: ApiError) -> JSONResponse:
    """The refusal as it goes out."""
    headers = {"Retry-After": "1"} if error.status == 429 else None
    body = {"message": error.message, "type": error.kind, "param": error.param, "code": error.code}
    return JSONResponse({"error": body}, status_code=error.status, headers=headers)


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101 - registered for this type only
    return answer(error)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type only
    return answer(invalid(error.errors()))


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
    return answer(ApiError(error.status_code, str(error.detail)))
