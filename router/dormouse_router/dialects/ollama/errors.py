"""How Ollama says no: `{"error": "text"}` with a status, or one such line in a stream that has begun."""

import msgspec


class OllamaError(Exception):
    """A refusal in Ollama's words; `headers` go out beside it (Retry-After)."""

    def __init__(self, status: int, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


def error_body(message: str) -> bytes:
    """The error as one JSON object, without a newline."""
    return msgspec.json.encode({"error": message})


def error_line(message: str) -> bytes:
    """The error as the last line of a stream."""
    return error_body(message) + b"\n"


def bad_request(message: str) -> OllamaError:
    return OllamaError(400, message)


def not_found(name: str) -> OllamaError:
    """The official clients branch on the status and on the words "not found"."""
    return OllamaError(404, f"model '{name}' not found")
