"""Log probabilities of either OpenAI form as Ollama's list."""

from typing import Any

Entry = dict[str, Any]


def from_chunk(logprobs: dict[str, Any] | None, top: int) -> list[Entry] | None:
    """The entries of one chunk; None where there are none. `top`: how many alternatives the client asked for.

    Engines put the token they chose first, however likely it was, and beside the others: here the likeliest come
    first, and never more than were asked for.
    """
    if not logprobs:
        return None
    entries = _chat(logprobs["content"]) if logprobs.get("content") else _completion(logprobs)
    for entry in entries:
        if top:
            entry["top_logprobs"] = sorted(entry["top_logprobs"], key=_least_likely_last)[:top]
        else:
            del entry["top_logprobs"]
    return entries or None


def _least_likely_last(entry: Entry) -> float:
    return -float(entry["logprob"])


def _chat(content: list[dict[str, Any]]) -> list[Entry]:
    return [
        {**_entry(item["token"], item["logprob"], item.get("bytes")), "top_logprobs": _tops(item)} for item in content
    ]


def _tops(item: dict[str, Any]) -> list[Entry]:
    return [_entry(top["token"], top["logprob"], top.get("bytes")) for top in item.get("top_logprobs") or ()]


def _completion(logprobs: dict[str, Any]) -> list[Entry]:
    tokens, values = logprobs.get("tokens") or [], logprobs.get("token_logprobs") or []
    tops = logprobs.get("top_logprobs") or [None] * len(tokens)
    return [
        {
            **_entry(token, value if value is not None else 0.0, None),
            "top_logprobs": [_entry(text, number, None) for text, number in (top or {}).items()],
        }
        for token, value, top in zip(tokens, values, tops, strict=False)
    ]


def _entry(token: str, logprob: float, raw: list[int] | None) -> Entry:
    return {"token": token, "logprob": logprob, "bytes": raw if raw is not None else list(token.encode())}
