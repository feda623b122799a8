"""A chat or generate request as the engine's OpenAI request: checked first, so that bad input never wakes a model.

Pure: from the decoded request and what the catalogue knows of the model to the body the engine gets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import msgspec

from dormouse_router.catalog.record import Record
from dormouse_router.dialects import chunks
from dormouse_router.dialects.ollama import context, describe, infill, messages, names, options, prompting
from dormouse_router.dialects.ollama.durations import keep_alive
from dormouse_router.dialects.ollama.errors import bad_request
from dormouse_router.dialects.ollama.requests import ChatRequest, Common, GenerateRequest, Message
from dormouse_router.gateway import CHAT, COMPLETIONS

_EFFORTS = ("low", "medium", "high", "max")
_TOP_LOGPROBS = 20


@dataclass(frozen=True)
class Plan:
    """What to send, and how the client wants the answer."""

    path: str
    body: dict[str, Any]
    stream: bool
    keep_alive: float | None
    chat: bool
    """The answer is `message` (chat), else `response` (generate)."""
    think: bool | None = None
    """False: reasoning the engine sends all the same is left out."""
    tagged: bool = False
    """The model may write its reasoning into its text, between tags."""
    top_logprobs: int = 0
    """Alternatives to each token that the client asked for."""
    quiet: bool = False
    """num_predict 0: the prompt is evaluated and nothing shown."""
    turns: tuple[context.Turn, ...] | None = None
    """The conversation so far, which `context` shall carry on; None: no context in the answer."""
    truncate: bool = True
    rendering: prompting.Rendering | None = None
    """How the prompt was made, where a template of Ollama's made it."""

    @property
    def opened(self) -> bool:
        """The prompt ends with the tag after which the model thinks, so its text begins without one."""
        return self.rendering is not None and prompting.opens_thinking(self.body["prompt"])

    @property
    def payload(self) -> bytes:
        """`body` as it is sent."""
        return msgspec.json.encode(self.body)


def chat_plan(request: ChatRequest, record: Record, name: str, today: date) -> Plan:
    """The plan of /api/chat with messages. `name` is the model's as the client wrote it."""
    turns = request.messages or []
    if template := record.defaults.template:
        _text_only(name, tools=bool(request.tools), images=messages.has_images(turns))
        said = messages.to_openai(turns)
        return _written(request, record, name, prompting.Rendering(prompting.prompter(template), said, today))
    if messages.has_images(turns):
        _need(record, name, "vision")
    body: dict[str, Any] = {"model": record.called, "messages": messages.to_openai(turns)}
    if request.tools:
        _need(record, name, "tools")
        body["tools"] = [_tool(tool) for tool in request.tools]
    return _plan(request, record, name, body, chat=True)


def generate_plan(request: GenerateRequest, record: Record, name: str, today: date) -> Plan:
    """The plan of /api/generate with a prompt, a suffix or images."""
    if request.raw:
        if request.template or request.system or request.context:
            raise bad_request("raw mode does not support template, system, or context")
        if request.images:
            raise bad_request("raw mode does not support images: leave raw out, or use /api/chat")
    if template := _template(request, record):
        return _written_prompt(request, record, name, prompting.Rendering(prompting.prompter(template), [], today))
    if request.images:
        _need(record, name, "vision")
    if request.suffix:
        _need(record, name, "insert")
    if request.raw or request.suffix:
        body: dict[str, Any] = {"model": record.called, **_gap(request, record)}
        return _plan(request, record, name, body, chat=False)
    turns = _turns(request)
    body = {"model": record.called, "messages": _with_images(turns, request.images)}
    return _plan(request, record, name, body, chat=False, turns=tuple(turns))


def _template(request: GenerateRequest, record: Record) -> str | None:
    """The template to write the prompt by; None: the engine does it, by the model's own."""
    if request.raw:
        return None
    if request.template and not record.defaults.template and request.template == describe.template(record):
        return None
    return request.template or record.defaults.template


def _written_prompt(request: GenerateRequest, record: Record, name: str, rendering: prompting.Rendering) -> Plan:
    """The plan of /api/generate by a template."""
    _text_only(name, tools=False, images=bool(request.images))
    if not request.suffix:
        turns = _turns(request)
        return _written(request, record, name, replace(rendering, messages=list(turns)), tuple(turns))
    if not rendering.prompter.fills:
        raise bad_request(f"{names.listed(name)} does not support insert: its template speaks of no .Suffix")
    return _written(request, record, name, replace(rendering, before=request.prompt or "", suffix=request.suffix))


def _written(
    request: Common,
    record: Record,
    name: str,
    rendering: prompting.Rendering,
    turns: tuple[context.Turn, ...] | None = None,
) -> Plan:
    """The plan of a request whose prompt the router writes itself."""
    known = rendering.prompter.capabilities(record.status.capabilities)
    think = _think(request.think, known, name)
    level = request.think if think and isinstance(request.think, str) else ""
    said = prompting.with_defaults(rendering.messages, record.defaults)
    rendering = replace(rendering, messages=said, think=think, level=level)
    body: dict[str, Any] = {"model": record.called, "prompt": rendering.prompt()}
    plan = _plan(request, record, name, body, chat=isinstance(request, ChatRequest), turns=turns)
    return replace(plan, rendering=rendering, think=think, tagged="thinking" in (known or ()))


def _text_only(name: str, *, tools: bool, images: bool) -> None:
    """Refusal 400 for what no template can carry."""
    if tools:
        raise bad_request(
            f"{names.listed(name)} does not support tools: it has a template of its own, and calls are not read out of "
            "the text of its answers. Leave tools out, or call the model it is made of"
        )
    if images:
        raise bad_request(
            f"{names.listed(name)} does not support vision: its template makes a text of the prompt. Leave images out, "
            "or call the model without a template"
        )


def _plan(
    request: Common,
    record: Record,
    name: str,
    body: dict[str, Any],
    *,
    chat: bool,
    turns: tuple[context.Turn, ...] | None = None,
) -> Plan:
    sampling = options.sampling(request.options, record.context_length, record.defaults)
    body |= {"stream": True, "stream_options": chunks.USAGE} | sampling.parameters
    templated = "messages" in body
    if not templated:  # completions end after 16 tokens by default; Ollama goes on to the end of the context
        body.setdefault("max_tokens", record.context_length or options.LONGEST)
    think = _think(request.think, record.status.capabilities, name) if templated else None
    if think is not None:
        body["chat_template_kwargs"] = {"enable_thinking": think}
    if think and isinstance(request.think, str):
        body["reasoning_effort"] = request.think
    if response_format := _format(request.format):
        body["response_format"] = response_format
    top = _top(request.top_logprobs)
    if request.logprobs:
        body |= {"logprobs": True, "top_logprobs": top} if templated else {"logprobs": top}
    return Plan(
        path=CHAT if templated else COMPLETIONS,
        body=body,
        stream=request.stream is not False,
        keep_alive=keep_alive(request.keep_alive),
        chat=chat,
        think=think,
        tagged=templated and "thinking" in (record.status.capabilities or ()),
        top_logprobs=top,
        quiet=sampling.prompt_only,
        turns=turns,
        truncate=request.truncate is not False,
    )


def _gap(request: GenerateRequest, record: Record) -> dict[str, str]:
    """The prompt, or what an engine reads of a prompt and a suffix."""
    before, after = request.prompt or "", request.suffix or ""
    if not after:
        return {"prompt": before}
    inspected = record.status.inspected
    written = infill.prompt(inspected.infill if inspected else None, before, after)
    return {"prompt": before, "suffix": after} if written is None else {"prompt": written}


def _turns(request: GenerateRequest) -> list[context.Turn]:
    """System prompt, the turns that `context` brings, and the new prompt."""
    before = context.decode(request.context)
    if request.system:
        before = [turn for turn in before if turn["role"] != "system"]
        before.insert(0, {"role": "system", "content": request.system})
    return [*before, {"role": "user", "content": request.prompt or ""}]


def _with_images(turns: list[context.Turn], images: list[str] | None) -> list[dict[str, Any]]:
    *before, last = turns
    return [*before, messages.to_openai([Message(role=last["role"], content=last["content"], images=images)])[0]]


def _need(record: Record, name: str, capability: str) -> None:
    """Refusal 400 where the model is known not to be capable; nothing is known before it was inspected."""
    _need_of(record.status.capabilities, name, capability)


def _need_of(known: Sequence[str] | None, name: str, capability: str) -> None:
    if known is not None and capability not in known:
        # the first is about the request, the others about the model, which Ollama names in full
        shown = f'"{name}"' if capability == "thinking" else names.listed(name)
        raise bad_request(f"{shown} does not support {capability}")


def need_text(record: Record, name: str, verb: str) -> None:
    """Refusal 400 where the model does not talk: it embeds, or draws. `verb`: chat or generate."""
    known = record.status.capabilities
    if known and "completion" not in known:
        raise bad_request(f'"{name}" does not support {verb}')


def _think(wish: object, known: Sequence[str] | None, name: str) -> bool | None:
    """Whether the model shall think; None leaves it alone. Unset is on for a thinking model."""
    if wish is None:
        return True if known and "thinking" in known else None
    if isinstance(wish, bool) or wish in _EFFORTS:
        if wish:
            _need_of(known, name, "thinking")
        return bool(wish)
    raise bad_request('think must be true or false, or one of "low", "medium", "high" or "max"')


def _format(wish: object) -> dict[str, Any] | None:
    if wish is None or wish == "":
        return None
    if wish == "json":
        return {"type": "json_object"}
    if isinstance(wish, dict):
        return {"type": "json_schema", "json_schema": {"name": "format", "schema": wish, "strict": True}}
    raise bad_request('invalid format: expected "json" or a JSON Schema object')


def _top(wish: int | None) -> int:
    if not 0 <= (wish or 0) <= _TOP_LOGPROBS:
        raise bad_request("top_logprobs must be between 0 and 20")
    return wish or 0


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool definition as the engine wants it; its function must have a name."""
    function = tool.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise bad_request('each of tools must be {"type": "function", "function": {"name": ..., "parameters": {...}}}')
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return {**tool, "type": "function", "function": {**function, "parameters": parameters}}
