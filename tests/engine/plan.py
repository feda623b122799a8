"""From a request body to what will be said: the pieces of each choice. Pure."""

import json
from dataclasses import dataclass
from typing import Any

from tests.engine import schemas, words
from tests.engine.directives import Directives, Tool

REASONING, CONTENT, TOOL = "reasoning", "content", "tool"


class BadRequestError(ValueError):
    """What the engine refuses with 400, in its own words."""


@dataclass(frozen=True)
class Piece:
    """One token of one kind; a tool piece is a part of a call's arguments."""

    kind: str
    text: str
    call: int = 0
    """Which of the choice's calls, where it is a tool's."""


@dataclass(frozen=True)
class Choice:
    index: int
    pieces: tuple[Piece, ...]
    finish: str
    calls: tuple[str, ...] = ()
    """Names of the tools called."""
    stopped_by: str | None = None
    """The stop string that ended it, which vLLM tells as `stop_reason`."""

    def text(self, kind: str = CONTENT) -> str:
        return "".join(piece.text for piece in self.pieces if piece.kind == kind)

    def arguments(self, call: int) -> str:
        return "".join(piece.text for piece in self.pieces if piece.kind == TOOL and piece.call == call)

    def call_id(self, call: int) -> str:
        return f"call_{words.token_id(f'{self.arguments(call)}{self.index}{call}'):08x}"


def prompt_of(body: dict[str, Any]) -> str:
    """The last user message's text. BadRequestError on messages of the wrong shape."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(part, dict) for part in messages):
        raise BadRequestError("messages must be a non-empty list of objects")
    users = [message for message in messages if message.get("role") == "user"]
    return text_of(users[-1].get("content")) if users else ""


def text_of(content: object) -> str:
    """A message's content: a string or a list of parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def chat(body: dict[str, Any], directives: Directives, echo: str) -> list[Choice]:
    """The choices of a chat completion. `echo` is the answer where the prompt asks to see the request."""
    count = _count(body, "n", 1)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    called = _called(body, directives)
    choices = []
    for index in range(count):
        if called:
            pieces = tuple(
                Piece(TOOL, token, place)
                for place, (_, arguments) in enumerate(called)
                for token in words.tokens(json.dumps(arguments, ensure_ascii=False))
            )
            names = tuple(name for name, _ in called)
            choices.append(Choice(index, (*_thoughts(body, directives), *pieces), "tool_calls", names))
            continue
        said, finish, stopped_by = _said(body, directives, index, echo, limit)
        choices.append(Choice(index, (*_thoughts(body, directives), *said), finish, stopped_by=stopped_by))
    return choices


def completions(body: dict[str, Any], prompts: list[tuple[str, Directives]], echo: str) -> list[Choice]:
    """The choices of a text completion: `index` runs over prompts times n."""
    count = _count(body, "n", 1)
    limit = body.get("max_tokens", 16)
    choices = []
    for place, (prompt, directives) in enumerate(prompts):
        for index in range(count):
            said, finish, stopped_by = _said(body, directives, index, echo, limit)
            prefix = tuple(Piece(CONTENT, token) for token in words.tokens(prompt)) if body.get("echo") else ()
            choices.append(Choice(place * count + index, (*prefix, *said), finish, stopped_by=stopped_by))
    return choices


def _said(
    body: dict[str, Any], directives: Directives, index: int, echo: str, limit: int | None
) -> tuple[tuple[Piece, ...], str, str | None]:
    """The answer's tokens within `limit` and before any stop string, why it ended, and the string that ended it."""
    if directives.echo:
        found = words.tokens(echo)
    elif directives.say is not None:
        found = words.tokens(directives.say)
    elif (due := _due(body, directives.plain)) is not None:
        found = words.tokens(due)
    else:
        varied = (body.get("temperature") or 0) > 0
        found = words.answer(
            directives.plain, body.get("seed") if varied else None, index if varied else 0, directives.tokens
        )
    finish, stopped_by = "stop", None
    if limit is not None and len(found) > limit:
        found, finish = found[: max(0, limit)], "length"
    text = "".join(found)
    if cut := [(at, stop) for stop in _stops(body) if (at := text.find(stop)) >= 0]:
        at, stopped_by = min(cut)
        found, finish = words.tokens(text[:at]), "stop"
    return tuple(Piece(CONTENT, token) for token in found), finish, stopped_by


def _due(body: dict[str, Any], prompt: str) -> str | None:
    """The one right answer, where the request leaves no choice: JSON, the word on images or on a tool's result."""
    if (schema := schemas.wanted(body, prompt)) is not None:
        return json.dumps(schemas.made_up(schema, prompt), ensure_ascii=False)
    messages = body.get("messages") or []
    if messages and messages[-1].get("role") == "tool":
        place = _place(messages)
        return place and f"It is {text_of(messages[-1].get('content'))} in {place}."
    images = messages and messages[-1].get("role") == "user" and _images(messages[-1].get("content"))
    return f"I see {images} image{'s' if images > 1 else ''}." if images else None


def _place(messages: list[dict[str, Any]]) -> str | None:
    """The city that the last call of a tool asked about."""
    calls = [call for message in messages for call in message.get("tool_calls") or []]
    arguments = json.loads(calls[-1]["function"]["arguments"]) if calls else {}
    return arguments.get("city") if isinstance(arguments, dict) else None


def _images(content: object) -> int:
    parts = content if isinstance(content, list) else []
    return sum(part.get("type") == "image_url" for part in parts if isinstance(part, dict))


def _stops(body: dict[str, Any]) -> list[str]:
    stop = body.get("stop") or []
    return [stop] if isinstance(stop, str) else [text for text in stop if text]


def _thoughts(body: dict[str, Any], directives: Directives) -> tuple[Piece, ...]:
    wanted = (body.get("chat_template_kwargs") or {}).get("enable_thinking") is True
    wanted = wanted or body.get("reasoning_effort") not in (None, "none")
    text = directives.think or ("Let me think." if wanted else "")
    return tuple(Piece(REASONING, token) for token in words.tokens(text))


def _called(body: dict[str, Any], directives: Directives) -> list[tuple[str, dict[str, object]]]:
    """The tools to call and their arguments: told by the prompt or by tool_choice, or named in the prompt."""
    choice = body.get("tool_choice", "auto")
    tools = {tool["function"]["name"]: tool["function"] for tool in body.get("tools") or []}
    if not tools or choice == "none" or body["messages"][-1].get("role") == "tool":
        return []
    wanted = list(directives.tools)
    if isinstance(choice, dict):
        name = choice["function"]["name"]
        wanted = [tool for tool in wanted if tool.name == name] or [Tool(name, None)]
    elif not wanted:
        named = [tool for tool in tools if _named(tool, directives.plain)]
        wanted = [Tool(name, None) for name in (named or list(tools) if choice == "required" else named)[:1]]
    if body.get("parallel_tool_calls") is False:
        wanted = wanted[:1]
    return [(tool.name, _arguments(tool, tools, directives.plain)) for tool in wanted]


def _named(tool: str, prompt: str) -> bool:
    """Whether a prompt names a tool: by its name, by all of its words but the first, as weather does get_weather, or
    as the tool."""
    said = words.plain(prompt)
    parts = tool.lower().split("_")[1:]
    return tool in prompt or "the tool" in prompt or (bool(parts) and all(part in said for part in parts))


def _arguments(tool: Tool, tools: dict[str, Any], prompt: str) -> dict[str, object]:
    if tool.name not in tools:
        raise BadRequestError(f"tool {tool.name!r} is not among the tools of the request")
    if tool.arguments is not None:
        return tool.arguments
    made = schemas.made_up(tools[tool.name].get("parameters") or {}, prompt)
    if not isinstance(made, dict):
        raise BadRequestError(f"the parameters of tool {tool.name!r} are no object")
    return made


def _count(body: dict[str, Any], field: str, default: int) -> int:
    value = body.get(field) or default
    if not isinstance(value, int) or not 1 <= value <= 128:
        raise BadRequestError(f"{field} must be an integer from 1 to 128")
    return value
