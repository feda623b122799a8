"""From a request body to what will be said: the pieces of each choice. Pure."""

import json
from dataclasses import dataclass
from typing import Any

from tests.engine import words
from tests.engine.directives import Directives

REASONING, CONTENT, TOOL = "reasoning", "content", "tool"


class BadRequestError(ValueError):
    """What the engine refuses with 400, in its own words."""


@dataclass(frozen=True)
class Piece:
    """One token of one kind; a tool piece is a part of the call's arguments."""

    kind: str
    text: str


@dataclass(frozen=True)
class Choice:
    index: int
    pieces: tuple[Piece, ...]
    finish: str
    tool: str | None = None
    """Name of the tool called, if one is."""
    stopped_by: str | None = None
    """The stop string that ended it, which vLLM tells as `stop_reason`."""

    def text(self, kind: str = CONTENT) -> str:
        return "".join(piece.text for piece in self.pieces if piece.kind == kind)

    @property
    def call_id(self) -> str:
        return f"call_{words.token_id(self.text(TOOL) + str(self.index)):08x}"


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
        if called is not None:
            name, arguments = called
            pieces = tuple(Piece(TOOL, token) for token in words.tokens(json.dumps(arguments)))
            choices.append(Choice(index, (*_thoughts(body, directives), *pieces), "tool_calls", name))
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


def _stops(body: dict[str, Any]) -> list[str]:
    stop = body.get("stop") or []
    return [stop] if isinstance(stop, str) else [text for text in stop if text]


def _thoughts(body: dict[str, Any], directives: Directives) -> tuple[Piece, ...]:
    wanted = (body.get("chat_template_kwargs") or {}).get("enable_thinking") is True
    text = directives.think or ("Let me think." if wanted else "")
    return tuple(Piece(REASONING, token) for token in words.tokens(text))


def _called(body: dict[str, Any], directives: Directives) -> tuple[str, dict[str, object]] | None:
    """The tool to call and its arguments: told by the prompt or by tool_choice, or named in the prompt."""
    choice = body.get("tool_choice", "auto")
    tools = {tool["function"]["name"]: tool["function"] for tool in body.get("tools") or []}
    if not tools or choice == "none" or body["messages"][-1].get("role") == "tool":
        return None
    told = directives.tool
    name = told.name if told else None
    if isinstance(choice, dict):
        name = choice["function"]["name"]
    elif name is None:
        named = [tool for tool in tools if tool in directives.plain]
        name = named[0] if named else (next(iter(tools)) if choice == "required" else None)
    if name is None:
        return None
    if name not in tools:
        raise BadRequestError(f"tool {name!r} is not among the tools of the request")
    given = told.arguments if told else None
    schema = tools[name].get("parameters") or {}
    return name, given if given is not None else words.made_up(schema, directives.plain)


def _count(body: dict[str, Any], field: str, default: int) -> int:
    value = body.get(field) or default
    if not isinstance(value, int) or not 1 <= value <= 128:
        raise BadRequestError(f"{field} must be an integer from 1 to 128")
    return value
