"""The HTTP server: routes, validation and errors in OpenAI's shape. Knows no engine library."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from dormouse_runtime.engines.generation import Batcher, GenerationError, Sampling, Tokenizer
from dormouse_runtime.engines.openai import wire
from dormouse_runtime.engines.openai.choice import Ask
from dormouse_runtime.engines.openai.errors import ApiError, answer, install
from dormouse_runtime.engines.openai.types import ChatRequest, Common, CompletionRequest, TokenizeRequest
from dormouse_runtime.engines.serving import unless_gone


@dataclass
class Served:
    """The model behind the server."""

    name: str
    batcher: Batcher
    tokenizer: Tokenizer
    max_model_len: int
    max_waiting: int
    """Requests beyond this are refused with 429."""
    eos: frozenset[int]
    vocabulary: int
    """Tokens the model has an embedding of: a larger id would break the pass of all it is batched with."""
    defaults: Mapping[str, float] = field(default_factory=dict)
    """Sampling defaults of the model's own generation_config."""
    in_flight: int = 0
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "tokenize"))
    """One: tokenizers are not safe to use from several threads."""


def create_app(served: Served) -> FastAPI:
    """The application."""
    app = FastAPI(openapi_url=None)
    install(app)
    app.add_exception_handler(GenerationError, _generation_error)
    _add_status(app, served)

    @app.post("/v1/chat/completions")
    async def chat(body: ChatRequest, request: Request) -> Response:
        with _Place(served) as place:
            prompts = [await _by_template(served, body.messages, body.template_options)]
            return await _respond(served, body, prompts, request, place)

    @app.post("/v1/completions")
    async def completions(body: CompletionRequest, request: Request) -> Response:
        with _Place(served) as place:
            prompts = [await _plain_prompt(served, entry) for entry in body.prompts]
            return await _respond(served, body, prompts, request, place)

    @app.post("/tokenize")
    async def tokenize(body: TokenizeRequest) -> dict[str, Any]:
        _own(served, body.model)
        with _Place(served):
            if body.messages is not None:
                tokens = await _by_template(served, body.messages, body.template_options)
            else:
                tokens = await _plain_prompt(served, body.prompt or "")
        return {"count": len(tokens), "max_model_len": served.max_model_len, "tokens": tokens}

    return app


def _add_status(app: FastAPI, served: Served) -> None:
    @app.get("/health")
    async def health() -> Response:
        return Response(status_code=200 if served.batcher.alive() else 503)

    @app.get("/load")
    async def load() -> dict[str, int]:
        return {"server_load": served.in_flight}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        model = {"id": served.name, "object": "model", "owned_by": "dormouse", "max_model_len": served.max_model_len}
        return {"object": "list", "data": [model]}


class _Place:
    """A request's place in the count. A stream takes it along and gives it back at its end."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._handed_on = False

    def __enter__(self) -> _Place:
        if self._served.in_flight >= self._served.max_waiting:
            raise ApiError(
                429, "too many requests are waiting: try again in a moment", "rate_limit_error", "queue_full"
            )
        self._served.in_flight += 1
        return self

    def __exit__(self, *_: object) -> None:
        if not self._handed_on:
            self._served.in_flight -= 1

    def hand_on(self) -> Callable[[], None]:
        """The stream's way to give the place back."""
        self._handed_on = True
        return self._give_back

    def _give_back(self) -> None:
        self._served.in_flight -= 1


def _own(served: Served, model: str | None) -> None:
    if model not in (None, served.name):
        raise ApiError(404, f"The model '{model}' does not exist.", "invalid_request_error", "model_not_found")


async def _respond(
    served: Served, body: ChatRequest | CompletionRequest, prompts: list[list[int]], request: Request, place: _Place
) -> Response:
    _own(served, body.model)
    for prompt in prompts or [[]]:
        _check_tokens(served, prompt, isinstance(body, ChatRequest))
    asks = [_ask(served, body, prompt) for prompt in prompts for _ in range(body.n)]
    shape = wire.shape_of(body, served.name)
    if body.stream:
        stream = wire.stream(shape, asks, served.batcher, served.tokenizer)
        return wire.EventStream(stream, place.hand_on())
    whole = await unless_gone(request, wire.whole(shape, asks, served.batcher, served.tokenizer))
    return Response(status_code=499) if whole is None else JSONResponse(whole)


def _check_tokens(served: Served, prompt: list[int], chat: bool) -> None:
    """Refuse what has no answer: without a token of its own a row would go on with its neighbour's scores."""
    if not prompt and chat:
        raise ApiError(
            400,
            "The model's chat template makes an empty prompt of these messages: send a message that it renders, or set "
            "a template in spec.engine.chatTemplate.",
            code="empty_prompt",
            param="messages",
        )
    if not prompt:
        raise ApiError(400, "The prompt is empty: send one of at least one token.", code="empty_prompt", param="prompt")
    if strange := [token for token in prompt if not 0 <= token < served.vocabulary]:
        raise ApiError(
            400,
            f"The prompt has the token {strange[0]}, and this model's tokens are 0 to {served.vocabulary - 1}: send "
            "tokens of this model's own tokenizer, or text.",
            code="invalid_token",
            param="prompt",
        )


def _ask(served: Served, body: ChatRequest | CompletionRequest, prompt: list[int]) -> Ask:
    wanted = body.max_tokens
    if isinstance(body, ChatRequest):
        wanted = body.max_completion_tokens or wanted
    elif wanted is None:
        wanted = 16  # OpenAI's own default for completions
    room = served.max_model_len - len(prompt)
    if room <= 0 or (wanted or 0) > room:
        raise ApiError(
            400,
            f"This model's maximum context length is {served.max_model_len} tokens. However, you requested "
            f"{len(prompt) + (wanted or 1)} tokens ({len(prompt)} in the prompt, {wanted or 1} in the completion). "
            "Shorten the prompt or ask for fewer tokens.",
            code="context_length_exceeded",
        )
    tools = isinstance(body, ChatRequest) and bool(body.wanted_tools)
    return Ask(prompt, _sampling(served, body, wanted or room), body.stops, tools, served.eos)


def _sampling(served: Served, body: Common, max_tokens: int) -> Sampling:
    def given(name: str, otherwise: float) -> float:
        value = getattr(body, name)
        return float(served.defaults.get(name, otherwise) if value is None else value)

    return Sampling(
        max_tokens=max_tokens,
        temperature=given("temperature", 1.0),
        top_p=given("top_p", 1.0),
        top_k=max(0, int(given("top_k", 0))),
        min_p=given("min_p", 0.0),
        seed=body.seed,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        repetition_penalty=given("repetition_penalty", 1.0),
        logit_bias=body.logit_bias or {},
        min_tokens=body.min_tokens,
        ignore_eos=body.ignore_eos,
    )


async def _by_template(served: Served, messages: list[dict[str, Any]], options: dict[str, Any]) -> list[int]:
    return await _tokenize(served, lambda: served.tokenizer.chat(messages, options))


async def _plain_prompt(served: Served, prompt: str | list[int]) -> list[int]:
    if isinstance(prompt, list):
        return prompt
    return await _tokenize(served, lambda: served.tokenizer.encode(prompt))


async def _tokenize(served: Served, work: Callable[[], list[int]]) -> list[int]:
    try:
        return await asyncio.get_running_loop().run_in_executor(served.threads, work)
    except ValueError as error:
        raise ApiError(400, str(error)) from error


async def _generation_error(_: Request, error: Exception) -> Response:
    return answer(ApiError(500, str(error), "server_error", "engine_failed"))
