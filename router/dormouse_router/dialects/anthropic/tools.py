"""Tools and the choice among them, as the engine wants them. Pure."""

from typing import Any

import msgspec

from dormouse_router.dialects.anthropic.errors import bad_request
from dormouse_router.dialects.anthropic.requests import Tool, ToolChoice

_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def to_openai(tools: list[Tool] | None) -> list[dict[str, Any]]:
    """The definitions. Refusal 400 for one that has no schema: those run at Anthropic, or are built into its models."""
    return [_tool(tool, number) for number, tool in enumerate(tools or ())]


def _tool(tool: Tool, number: int) -> dict[str, Any]:
    where = f"tools.{number}"
    if not tool.name:
        raise bad_request(f"{where}.name: Field required")
    if tool.type not in (None, "custom"):
        raise bad_request(
            f"{where}.type: '{tool.type[:40]}' is a tool of Anthropic's own: send one with name and input_schema, "
            "and run it yourself"
        )
    given = bytes(tool.input_schema)
    if not given.startswith(b"{"):
        raise bad_request(f"{where}.input_schema: {'Input should be an object' if given else 'Field required'}")
    function: dict[str, Any] = {"name": tool.name, "parameters": msgspec.Raw(given)}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def choice(wish: ToolChoice | None, tools: list[dict[str, Any]]) -> dict[str, Any]:
    """The engine's parameters for `tool_choice`. Refusal 400 where it names no tool of the request."""
    if wish is None or not tools:
        if wish is not None and wish.type in ("any", "tool"):
            raise bad_request(f"tool_choice: '{wish.type}' needs tools: send some")
        return {}
    found: dict[str, Any] = {}
    if wish.type == "tool":
        if wish.name not in {tool["function"]["name"] for tool in tools}:
            raise bad_request(f"tool_choice.name: '{(wish.name or '')[:64]}' is not among the tools of the request")
        found["tool_choice"] = {"type": "function", "function": {"name": wish.name}}
    elif wish.type in _CHOICES:
        found["tool_choice"] = _CHOICES[wish.type]
    else:
        raise bad_request(f"tool_choice.type: must be auto, any, tool or none, not '{wish.type[:40]}'")
    if wish.disable_parallel_tool_use:
        found["parallel_tool_calls"] = False
    return found
