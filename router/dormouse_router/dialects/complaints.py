"""What engines say when they refuse or fail: the sentence in their error, and what it means for the request. Pure."""

import re

import msgspec

_TOO_LONG = ("context length", "max_model_len")
_LIMIT = re.compile(r"(?:maximum context length is|max_model_len=)\s*(\d+)")
_PROMPT = re.compile(r"(\d+) (?:in the prompt|in the messages|input tokens)")
_NO_PARSER = "tool-call-parser"
_SILENT = "the engine failed without a word"


def error_text(error: object) -> str:
    """The sentence in an engine's error, in any of the forms engines use."""
    if isinstance(error, dict):
        inner = error.get("error", error)
        if isinstance(inner, dict):
            return str(inner.get("message") or inner.get("detail") or _SILENT)
        return str(inner)
    return str(error)


def error_status(error: object) -> int:
    """The status an engine names in its error; 502 where it names none."""
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 502


def words_of(body: bytes) -> str:
    """The sentence in an engine's error body, whatever its form."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body[:1000].decode(errors="replace").strip() or _SILENT
    return error_text(found)


def with_fix(words: str) -> str:
    """`words`, or where they name a flag of the engine the field of the InferenceModel that sets it."""
    if _NO_PARSER in words:
        return "this model is served without a tool parser: set spec.engine.toolCallParser of its InferenceModel"
    return words


def too_long(status: int, words: str) -> bool:
    """Whether the engine refused because prompt and answer together are longer than its context."""
    return status == 400 and any(sign in words for sign in _TOO_LONG)


def limit(words: str) -> int | None:
    """Tokens of the context, as far as the engine's words tell."""
    found = _LIMIT.search(words)
    return int(found[1]) if found else None


def prompt_tokens(words: str) -> int | None:
    """Tokens of the prompt, as far as the engine's words tell."""
    found = _PROMPT.search(words)
    return int(found[1]) if found else None


def room(words: str) -> int | None:
    """Tokens left for the answer, as far as the engine's words tell."""
    most = limit(words)
    return None if most is None else most - (prompt_tokens(words) or 0)
