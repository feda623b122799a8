"""Tools and the choice among them, as the engine wants them and as the answer repeats them. Pure."""

from typing import Any

from msgspec import Raw

from dormouse_router.dialects.openai.responses.requests import Choice, Tool, bad_value, missing

_WORDS = ("none", "auto", "required")
LEFT_OUT = ("web_search", "web_search_preview")
"""Tools of OpenAI's own that clients offer unasked; a model can do without, so they are left out and not refused."""


def offered(tools: list[Tool] | None) -> list[Tool]:
    """The functions among `tools`. Refusal 400 for a tool that would have to run at OpenAI."""
    found = []
    for number, tool in enumerate(tools or ()):
        where = f"tools[{number}]"
        if tool.type.startswith(LEFT_OUT):
            continue
        if tool.type != "function":
            why = f"tools of type '{tool.type[:40]}' do not run here: send functions, and run them yourself"
            raise bad_value(f"{where}.type", why)
        if not tool.name:
            raise missing(f"{where}.name")
        if bytes(tool.parameters)[:1] not in (b"{", b"n", b""):
            raise bad_value(f"{where}.parameters", "send a JSON schema, an object")
        found.append(tool)
    return found


def to_chat(functions: list[Tool]) -> list[dict[str, Any]]:
    """The definitions for the engine."""
    return [{"type": "function", "function": _definition(tool)} for tool in functions]


def _definition(tool: Tool) -> dict[str, Any]:
    found: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        found["description"] = tool.description
    if _schema(tool) is not None:
        found["parameters"] = tool.parameters
    if tool.strict is not None:
        found["strict"] = tool.strict
    return found


def repeated(tool: Tool) -> dict[str, Any]:
    """The definition as the answer has it."""
    more = {"name": tool.name, "description": tool.description, "parameters": _schema(tool), "strict": tool.strict}
    return {"type": "function", **more}


def _schema(tool: Tool) -> Raw | None:
    return tool.parameters if bytes(tool.parameters).startswith(b"{") else None


def choice(wish: str | Choice | None, functions: list[Tool]) -> tuple[list[Tool], Any]:
    """The functions to offer, and the engine's `tool_choice` (None: its own). Refusal 400."""
    names = {tool.name for tool in functions}
    if wish is None or isinstance(wish, str):
        if wish not in (None, *_WORDS):
            raise bad_value("tool_choice", f"send {', '.join(_WORDS)}, or a function")
        if wish == "required" and not functions:
            raise bad_value("tool_choice", "'required' needs functions in tools")
        return functions, wish if functions else None
    if wish.type == "function":
        if wish.name not in names:
            raise bad_value("tool_choice.name", f"'{(wish.name or '')[:64]}' is not among the tools of the request")
        return functions, {"type": "function", "function": {"name": wish.name}}
    if wish.type == "allowed_tools":
        return _allowed(wish, functions)
    raise bad_value("tool_choice.type", f"'{wish.type[:40]}' is no choice here: send function or allowed_tools")


def _allowed(wish: Choice, functions: list[Tool]) -> tuple[list[Tool], Any]:
    allowed = {tool.name for tool in wish.tools or ()}
    left = [tool for tool in functions if tool.name in allowed]
    if not left:
        raise bad_value("tool_choice.tools", "none of them is among the tools of the request")
    if wish.mode not in ("auto", "required"):
        raise bad_value("tool_choice.mode", "send 'auto' or 'required'")
    return left, wish.mode
