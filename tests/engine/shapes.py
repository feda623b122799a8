"""OpenAI's wire shapes as a vLLM server sends them. Pure: from planned choices to JSON values."""

from dataclasses import dataclass
from typing import Any

from tests.engine import words
from tests.engine.plan import CONTENT, REASONING, TOOL, Choice, Piece


@dataclass(frozen=True)
class Head:
    """What every object of one answer repeats."""

    id: str
    model: str
    created: int
    logprobs: int | None = None
    """How many alternatives to report per token; None: no log probabilities."""


def error(status: int, message: str) -> dict[str, Any]:
    """vLLM's own envelope: class-like types and integer codes, which a router must translate."""
    kinds = {400: "BadRequestError", 404: "NotFoundError", 500: "InternalServerError"}
    return {"error": {"message": message, "type": kinds.get(status, "EngineError"), "param": None, "code": status}}


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": None,
    }


def chat(head: Head, choices: list[Choice], used: dict[str, Any]) -> dict[str, Any]:
    """A whole chat completion."""
    return {**_top(head, "chat.completion"), "choices": [_chat_choice(head, c) for c in choices], "usage": used}


def _chat_choice(head: Head, choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text() or None, "refusal": None}
    if choice.calls:
        message["tool_calls"] = [
            {
                "id": choice.call_id(place),
                "type": "function",
                "function": {"name": name, "arguments": choice.arguments(place)},
            }
            for place, name in enumerate(choice.calls)
        ]
    else:
        message["content"] = choice.text()
    if thoughts := choice.text(REASONING):
        message["reasoning"] = thoughts
    said = [piece.text for piece in choice.pieces if piece.kind == CONTENT]
    logprobs = None if head.logprobs is None else {"content": _chat_logprobs(said, head.logprobs), "refusal": None}
    end = {"finish_reason": choice.finish, "stop_reason": choice.stopped_by}
    return {"index": choice.index, "message": message, "logprobs": logprobs, **end}


def chat_first(head: Head, choice: Choice) -> dict[str, Any]:
    return _chat_chunk(head, choice, {"role": "assistant", "content": ""}, None)


def chat_delta(head: Head, choice: Choice, piece: Piece, first_of_tool: bool) -> dict[str, Any]:
    """A chunk with one piece; a tool call's id, type and name come on its first piece only."""
    if piece.kind == REASONING:
        return _chat_chunk(head, choice, {"reasoning": piece.text}, None)
    if piece.kind == TOOL:
        call: dict[str, Any] = {"index": piece.call, "function": {"arguments": piece.text}}
        if first_of_tool:
            call |= {"id": choice.call_id(piece.call), "type": "function"}
            call["function"] = {"name": choice.calls[piece.call], "arguments": piece.text}
        return _chat_chunk(head, choice, {"tool_calls": [call]}, None)
    logprobs = None if head.logprobs is None else {"content": _chat_logprobs([piece.text], head.logprobs)}
    return _chat_chunk(head, choice, {"content": piece.text}, None, logprobs)


def chat_last(head: Head, choice: Choice) -> dict[str, Any]:
    chunk = _chat_chunk(head, choice, {}, choice.finish)
    chunk["choices"][0]["stop_reason"] = choice.stopped_by
    return chunk


def chat_usage(head: Head, used: dict[str, Any]) -> dict[str, Any]:
    return {**_top(head, "chat.completion.chunk"), "choices": [], "usage": used}


def text(head: Head, choices: list[Choice], used: dict[str, Any]) -> dict[str, Any]:
    """A whole text completion."""
    rows = [_text_choice(head, choice, choice.text(), choice.finish) for choice in choices]
    return {**_top(head, "text_completion"), "choices": rows, "usage": used}


def text_delta(head: Head, choice: Choice, piece: Piece) -> dict[str, Any]:
    return {**_top(head, "text_completion"), "choices": [_text_choice(head, choice, piece.text, None)]}


def text_last(head: Head, choice: Choice) -> dict[str, Any]:
    return {**_top(head, "text_completion"), "choices": [_text_choice(head, choice, "", choice.finish)]}


def text_usage(head: Head, used: dict[str, Any]) -> dict[str, Any]:
    return {**_top(head, "text_completion"), "choices": [], "usage": used}


def embeddings(model: str, texts: list[str], size: int, base64: bool) -> dict[str, Any]:
    vectors = [words.embedding(text, size) for text in texts]
    data = [
        {"object": "embedding", "index": index, "embedding": words.packed(vector) if base64 else vector}
        for index, vector in enumerate(vectors)
    ]
    count = sum(len(words.tokens(text)) for text in texts)
    return {
        "object": "list",
        "model": model,
        "data": data,
        "usage": {"prompt_tokens": count, "total_tokens": count},
    }


def models(model: str, created: int, max_model_len: int) -> dict[str, Any]:
    card = {"id": model, "object": "model", "created": created, "owned_by": "scripted", "max_model_len": max_model_len}
    return {"object": "list", "data": [card]}


def _top(head: Head, kind: str) -> dict[str, Any]:
    return {"id": head.id, "object": kind, "created": head.created, "model": head.model}


def _chat_chunk(
    head: Head, choice: Choice, delta: dict[str, Any], finish: str | None, logprobs: object = None
) -> dict[str, Any]:
    row = {"index": choice.index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
    return {**_top(head, "chat.completion.chunk"), "choices": [row]}


def _chat_logprobs(said: list[str], count: int) -> list[dict[str, Any]]:
    def entry(token: str, rank: int) -> dict[str, Any]:
        return {"token": token, "logprob": words.logprob(token, rank), "bytes": list(token.encode())}

    return [
        {
            **entry(token, 0),
            "top_logprobs": [entry(other, rank) for rank, other in enumerate(words.alternatives(token, count))],
        }
        for token in said
    ]


def _text_choice(head: Head, choice: Choice, said: str, finish: str | None) -> dict[str, Any]:
    logprobs = None
    if head.logprobs is not None:
        found = words.tokens(said)
        offsets = [len("".join(found[:place])) for place in range(len(found))]
        top = [{w: words.logprob(w, r) for r, w in enumerate(words.alternatives(t, head.logprobs))} for t in found]
        logprobs = {
            "tokens": found,
            "token_logprobs": [words.logprob(token) for token in found],
            "top_logprobs": top,
            "text_offset": offsets,
        }
    return {"index": choice.index, "text": said, "logprobs": logprobs, "finish_reason": finish}
