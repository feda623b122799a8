"""The body of POST /chat: decoded whatever its Content-Type, null taken for absent, ranges checked. Pure."""

import re
from typing import Any

import msgspec

from dormouse_router.dialects.native.answers import bad_request
from dormouse_router.dialects.ollama.requests import Message

LONGEST = 1_000_000
"""Tokens of an answer where the context's length is not known."""
RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "top_k": (0, 1_000_000),
    "repetition_penalty": (0.1, 2),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "max_tokens": (1, LONGEST),
    "seed": (0, 2**63 - 1),
    "timeout": (0.1, 3600),
    "max_history": (1, 1000),
}
_LONGEST_ID = 256
_AT = re.compile(r" - at `\$\.?([^`]*)`$")


class ChatRequest(msgspec.Struct):
    """What to say is one of `messages`, `prompt` and `message`. Unknown fields are ignored."""

    model: str | None = None
    messages: list[Message] | None = None
    """In OpenAI's form or in Ollama's."""
    prompt: str | None = None
    message: str | None = None
    """The same as `prompt`."""
    system: str | None = None
    stream: bool | None = None
    timeout: float | None = None
    """Seconds for all of it, the wait for a sleeping model included."""
    session_id: str | None = None
    max_history: int | None = None
    """Most messages of the session that the model is shown, and that are kept."""
    temperature: float | None = None
    top_p: float | None = None
    min_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    think: bool | None = None
    keep_alive: Any = None


def decode(body: bytes) -> ChatRequest:
    """The request in `body`. Refusal 400 that names the field, and its range where it has one."""
    if not body.strip():
        raise bad_request('the body is empty: send JSON such as {"model": "name", "prompt": "Hello!"}')
    try:
        wish = msgspec.json.decode(body, type=ChatRequest)
    except msgspec.ValidationError as error:
        raise _mistyped(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"the body is not valid JSON: {error}") from error
    _check(wish)
    return wish


def in_range(name: str, value: float, high: float | None = None) -> None:
    """Refusal 400 unless `value` is in the range of the field; `high` is its end where it is less for this model."""
    low, most = RANGES[name]
    most = most if high is None else min(high, most)
    if not low <= value <= most:
        raise bad_request(f"{name} must be from {_shown(low)} to {_shown(most)}, not {value}", name)


def _check(wish: ChatRequest) -> None:
    if not wish.model:
        raise bad_request("model is missing: GET /models lists the names", "model")
    for name in RANGES:
        value = getattr(wish, name)
        if value is not None:
            in_range(name, value)
    given = [name for name in ("messages", "prompt", "message") if getattr(wish, name)]
    if len(given) != 1:
        said = f"{' and '.join(given)} say it twice" if given else "nothing is said"
        raise bad_request(f"{said}: send one of messages, prompt and message", given[-1] if given else "messages")
    session = wish.session_id
    if session is not None and not 0 < len(session) <= _LONGEST_ID:
        raise bad_request(f"session_id must be from 1 to {_LONGEST_ID} characters, any that you choose", "session_id")


def _mistyped(words: str) -> Exception:
    """msgspec's sentence with its place first."""
    at = _AT.search(words)
    if at is None or not at[1]:
        return bad_request(f"the body must be a JSON object: {words}")
    reason = words[: at.start()].replace("`", "")
    name = re.split(r"[.\[]", at[1])[0]
    limits = RANGES.get(name)
    known = "" if limits is None else f", from {_shown(limits[0])} to {_shown(limits[1])}"
    return bad_request(f"{at[1]}: {reason}{known}", name)


def _shown(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)
