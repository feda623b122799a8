"""How a call to an engine that does one thing at a time begins: its body read and checked, its place in the line taken.

Every refusal is in OpenAI's shape and says the fix.
"""

from __future__ import annotations

import json
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from dormouse_runtime.engines.openai.errors import ApiError, invalid
from dormouse_runtime.engines.serving import TooLargeError, whole_body
from dormouse_runtime.engines.worker import FullError, Worker

M = TypeVar("M", bound=BaseModel)


async def asked(request: Request, shape: type[M], most: int, fix: str) -> M:
    """The body as `shape`. ApiError 400, or 413 beyond `most` bytes, with the `fix` for that."""
    try:
        return shape.model_validate(json.loads(await whole_body(request, most)))
    except TooLargeError:
        raise ApiError(413, f"the body is larger than {most} bytes: {fix}") from None
    except ValidationError as error:
        raise invalid(error.errors()) from None
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is not JSON: {error}") from None


def enter(worker: Worker, full: str) -> None:
    """Take a place in the worker's line, to be left when the call ends. ApiError 429 where it is `full`."""
    try:
        worker.enter()
    except FullError:
        raise ApiError(429, f"{full}: try again in a moment", "rate_limit_error", "queue_full") from None
